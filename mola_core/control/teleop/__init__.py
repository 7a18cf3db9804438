"""From what a person's device says to action chunks: pure, without a clock, a thread or a device."""
