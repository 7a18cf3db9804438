"""Measurements around training, each beside a reference in the same run."""
