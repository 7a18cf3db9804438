"""A managed node that holds nothing, for tests of the lifecycle; a process of its own."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from mola_core.contracts.errors import DeviceError
from mola_nodes.lifecycle import MolaNode
from mola_nodes.params import Param
from mola_nodes.process import Ending, run_node


@dataclass(frozen=True)
class BareParams:
    """Parameters of the bare node."""

    device: Annotated[str, Param("File that stands for a device; activation fails without it")] = ""


class BareNode(MolaNode[BareParams]):
    """Activates when its device is there."""

    def __init__(self, ending: Ending) -> None:
        super().__init__("bare", params_type=BareParams, ending=ending)

    def activate(self, stack: object) -> None:
        if self.params.device and not Path(self.params.device).exists():
            raise DeviceError(f"device {self.params.device} is absent; plug it in")


if __name__ == "__main__":
    sys.exit(run_node(BareNode))
