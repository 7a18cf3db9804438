"""What turns graphs into engines, one runtime a file."""
