"""From action chunks to 500 Hz joint targets: kinematics, chunk buffer, limits, servo. numpy only, no torch."""
