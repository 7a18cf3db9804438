"""Episodes, datasets and the live graph in rerun's viewer: cameras, the arm in space, what was planned, how late it was."""
