"""What detectors of the cloud world measure: data that was lost, access beyond the need."""
