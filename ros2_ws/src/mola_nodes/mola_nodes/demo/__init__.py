"""The first thing that a newcomer sees: the whole graph on the twin, one episode a task, one table, one video."""
