"""Datasets in the LeRobot v3.0 format: what the `lerobot` package loads, with our contract beside it.

Written episode by episode into a staging folder (:mod:`.staging`), assembled and put in place in one move (:mod:`.assembly`).
"""
