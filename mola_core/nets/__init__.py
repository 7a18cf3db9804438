"""The networks: imagination, inverse dynamics models, action heads. One concept a file, shapes beside every line."""
