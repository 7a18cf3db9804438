"""From recordings to samples: episodes, LeRobot datasets, the one resampler, readers of foreign datasets. No torch."""
