"""A scripted expert that sees the truth: closed-loop waypoint policies for the five tasks, and their trials."""
