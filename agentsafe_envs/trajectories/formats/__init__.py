"""Formats of foreign trajectories, one file each; a new file is found without being named anywhere."""
