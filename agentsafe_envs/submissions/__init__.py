"""Submissions to the leaderboard: made from a run, and verified by anybody with one command."""
