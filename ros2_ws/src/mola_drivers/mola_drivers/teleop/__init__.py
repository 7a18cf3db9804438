"""Teleoperation: the protocol and a scripted device; the hands-on devices come with recording."""
