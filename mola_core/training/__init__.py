"""The three training stages: one loop; stages supply modules, freeze lists and losses."""
