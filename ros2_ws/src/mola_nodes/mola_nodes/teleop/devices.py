"""From a word or a file to a device: those of the drivers, and the expert that needs the twin."""

from mola_core.contracts.site import Site
from mola_drivers.teleop.factory import make_teleop
from mola_drivers.teleop.protocol import TeleopDevice
from mola_drivers.teleop.specs import device_spec

EXPERT = "expert"


def make_device(description: str, *, site: Site, world_host: str) -> TeleopDevice:
    """A closed device for ``description``, the name of a kind or the path of a device file.

    Raises:
        ConfigError: no such kind, or the file is missing or holds what cannot be meant.
    """
    if description == EXPERT:
        from mola_twin.teleop.expert_device import ExpertTeleop  # noqa: PLC0415 (a rig has no use for the twin)

        return ExpertTeleop(site, world_host=world_host)
    return make_teleop(spec=device_spec(description))
