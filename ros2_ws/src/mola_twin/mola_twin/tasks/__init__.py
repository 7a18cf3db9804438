"""The five tasks of the twin: instructions, randomised starts, what counts as done, and how each may be made harder."""
