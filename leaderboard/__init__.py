"""The leaderboard: submissions, the board built from them, and the server of the held-out track."""
