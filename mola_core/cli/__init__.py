"""The command line, ``mola``: finds commands, runs them, reports what they measure. It knows none of them itself.

A package adds a command with an entry point of group ``mola.commands``::

    twin = "mola_twin.cli:register"

``register(subparsers)`` adds an argparse parser of the entry point's name, with ``help`` (one line, for the table of
contents) and ``set_defaults(run=function)``; ``function(arguments) -> int`` returns the exit status. An entry point
named ``bench.servo`` adds the command ``mola bench servo``: several packages may share one first word. Modules that
register are imported to print help, so what is heavy is imported inside the function.
"""

from mola_core.cli.dispatch import main

__all__ = ["main"]
