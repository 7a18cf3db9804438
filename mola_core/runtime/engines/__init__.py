"""Runners of compiled networks behind one protocol; see :mod:`mola_core.runtime.engines.protocol`."""
