"""A run directory: its rows, the agent they belong to, and how they are read."""
