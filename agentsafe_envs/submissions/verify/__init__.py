"""The checks of a submission: a file each, found by iterating this folder; ``order`` says which comes first."""
