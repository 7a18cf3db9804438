"""The operator's terminal: one screen that says all that matters while episodes are recorded."""
