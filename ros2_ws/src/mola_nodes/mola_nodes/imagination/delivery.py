"""How foresights leave the imagination: over the graph, or as they lie to a policy in the same process."""

import itertools
from dataclasses import replace
from typing import Protocol

from rclpy.publisher import Publisher

from mola_core.runtime.foresight import Foresight
from mola_core.runtime.tensors import on_host
from mola_nodes.conversions.foresight import message_from_foresight
from mola_nodes.policy.foresights import NewestForesights


class Delivery(Protocol):
    """In two steps, since only the first may take long. Called from several threads."""

    def prepare(self, foresight: Foresight) -> Foresight:
        """What can be delivered without waiting for a device."""
        ...

    def deliver(self, foresight: Foresight, *, shadow: bool) -> None:
        """Hand over what :meth:`prepare` gave; ``shadow`` says that it is the staged bundle's.

        Raises:
            MolaError: its own data cannot be handed over.
        """
        ...


class GraphDelivery:
    """Publishes them, from the host's memory."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._sequence = itertools.count()

    def prepare(self, foresight: Foresight) -> Foresight:
        """See :class:`Delivery`."""
        return replace(foresight, tensors={name: on_host(tensor) for name, tensor in foresight.tensors.items()})

    def deliver(self, foresight: Foresight, *, shadow: bool) -> None:
        """See :class:`Delivery`."""
        self._publisher.publish(message_from_foresight(foresight, sequence=next(self._sequence), shadow=shadow))


class LocalDelivery:
    """Hands them over on the device where they were made."""

    def __init__(self, foresights: NewestForesights) -> None:
        self._foresights = foresights

    def prepare(self, foresight: Foresight) -> Foresight:
        """See :class:`Delivery`."""
        return foresight

    def deliver(self, foresight: Foresight, *, shadow: bool) -> None:
        """See :class:`Delivery`."""
        self._foresights.note(foresight, shadow=shadow)
