"""Imagination and policy in one process: foresights are handed over as they lie, on the device where they were made.

The node classes are those of the two-process graph; only the hand-over differs.
"""

from typing import NoReturn

from mola_nodes.imagination.delivery import LocalDelivery
from mola_nodes.imagination_node import ImaginationNode
from mola_nodes.policy.foresights import NewestForesights
from mola_nodes.policy_node import PolicyNode
from mola_nodes.process import run_node


def main() -> NoReturn:
    """Entry point of the executable."""
    foresights = NewestForesights()
    run_node(
        lambda ending: ImaginationNode(ending, delivery=LocalDelivery(foresights)),
        lambda ending: PolicyNode(ending, foresights=foresights),
    )
