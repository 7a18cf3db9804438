"""``mola view``: an episode, a dataset or the live graph in rerun's viewer."""
