"""From recorded episodes to datasets, and what can be said of a dataset."""
