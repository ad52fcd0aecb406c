"""From episodes to numbers: rollout, measures, scorecard, comparison."""
