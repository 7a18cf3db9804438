"""From a checkpoint to a bundle: stages, graphs, engines, parity."""
