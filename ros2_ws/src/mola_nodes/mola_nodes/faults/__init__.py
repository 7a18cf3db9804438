"""What happens to the arm when something dies: faults put into a running graph, and one table of the outcome."""
