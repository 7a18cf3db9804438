"""Single modalities of the mixture switched off and on while the robot runs, by a parameter."""

from collections.abc import Callable
from contextlib import ExitStack

from rcl_interfaces.msg import SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

from mola_core.contracts.errors import ConfigError
from mola_core.runtime.policy import Actor

PARAMETER = "modalities"
ALL = "all"


class ModalitySwitch:
    """Listens for the parameter; what was set counts from the next answer on."""

    def __init__(self, node: Node, *, known: Callable[[], tuple[str, ...]], initial: str, stack: ExitStack) -> None:
        """``known`` are the modalities of the bundle in service; empty while none is."""
        self._known = known
        self._wanted = initial
        node.add_on_set_parameters_callback(self._on_set)
        stack.callback(node.remove_on_set_parameters_callback, self._on_set)

    def enabled(self, actor: Actor) -> frozenset[str]:
        """Modalities of ``actor`` that are in use."""
        return chosen(self._wanted, known=actor.modalities)

    def apply(self, actor: Actor) -> None:
        """Tell ``actor``, every time: several take turns (in service, in the shadow, taken back), and telling costs nothing."""
        actor.enable(self.enabled(actor))

    def _on_set(self, parameters: list[Parameter]) -> SetParametersResult:
        for parameter in parameters:
            if parameter.name != PARAMETER:
                continue
            try:
                chosen(str(parameter.value), known=self._known())
            except ConfigError as error:
                return SetParametersResult(successful=False, reason=str(error))
            self._wanted = str(parameter.value)
        return SetParametersResult(successful=True)


def chosen(text: str, *, known: tuple[str, ...]) -> frozenset[str]:
    """The modalities that ``text`` names, separated by commas; ``all`` and ``none`` mean what they say.

    Raises:
        ConfigError: one that the model does not have.
    """
    if text == ALL or not known:
        return frozenset(known)
    names = frozenset(name.strip() for name in text.split(",") if name.strip()) - {"none"}
    unknown = names - set(known)
    if unknown:
        raise ConfigError(
            f"{PARAMETER}: {', '.join(sorted(unknown))} is not of this model; it has {', '.join(known)}; or say all, or none"
        )
    return names
