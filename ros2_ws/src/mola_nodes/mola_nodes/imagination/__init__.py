"""The node that imagines: newest frames in, foresights out."""
