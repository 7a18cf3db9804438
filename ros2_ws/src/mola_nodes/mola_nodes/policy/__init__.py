"""What every source of a policy's chunks shares: the newest inputs, the run from goal to rest, the action server."""
