"""What a distillation passed on: the student beside its base, its teacher and students of neutral teachers."""
