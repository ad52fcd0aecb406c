"""The server of the held-out track: sessions, seasons, uploads, courses."""
