"""Teachers, sanitised data and distilled students: the experiment, read from top to bottom."""
