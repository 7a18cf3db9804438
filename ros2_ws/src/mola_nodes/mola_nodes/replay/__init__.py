"""Recorded motions once more, through the graph's own door to the arm or on the lockstep rig."""
