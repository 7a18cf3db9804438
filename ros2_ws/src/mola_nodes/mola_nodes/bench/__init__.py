"""Measurements beside a named reference in the same run; each module registers its own ``mola bench …``."""
