"""System calls of a step: read from strace, and resolved to paths."""
