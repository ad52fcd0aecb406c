"""What can be done between a teacher's trajectories and a student, one defence a file.

Each takes rows, or tokens, and gives back rows or tokens; none needs to know the habit but the keyword filter and the
inoculation prompt. ``docs/defences.md`` lists them. How much of a transfer each leaves is in
``baselines/results/cloud-defences.md``.
"""
