"""Labs for a course: one source a lab, what students and teachers get of it, and grading."""
