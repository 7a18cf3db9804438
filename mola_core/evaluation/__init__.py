"""Rollouts, protocols and statistics: how well a policy does, in the twin or a benchmark."""
