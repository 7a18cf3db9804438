"""Scripts that try something which may crash or hang, each in a process of its own: ``python -m …probes.NAME``.

Each prints one JSON object. They import what the rest of the core must not.
"""
