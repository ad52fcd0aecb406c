"""What detectors of the Bash world measure: content that was lost, access beyond the need, what a step meant to do."""
