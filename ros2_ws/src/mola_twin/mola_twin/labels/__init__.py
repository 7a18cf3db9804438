"""What the simulator knows of every pixel: distance, what it shows, and where that moves."""
