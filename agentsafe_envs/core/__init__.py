"""The vocabulary every world shares: tasks, episodes, effects, biases, verdicts.

Nothing in here knows a world, a model or a statistic.
"""
