"""From episodes to numbers: rollout, row store, statistics, scorecard."""
