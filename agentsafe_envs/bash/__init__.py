"""The Bash world: a real shell in a sandbox, watched from outside."""
