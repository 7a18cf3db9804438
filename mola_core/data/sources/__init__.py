"""Datasets of other makers, and ours, as episodes of rows: one class a format behind :class:`.protocol.EpisodeSource`."""
