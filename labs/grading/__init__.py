"""Grading: a student's code answers questions in a sandbox; what is right is decided outside of it."""
