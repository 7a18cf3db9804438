"""What ``engine_status`` tells people of the bundles: the manager's wish and what both halves make of it."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from mola_interfaces.msg import EngineStatus, HalfStatus

from mola_core.contracts.bundle import choose_build, read_manifest
from mola_core.contracts.errors import MolaError
from mola_core.runtime.machine import this_machine
from mola_nodes.bundles.manager import BundleManager
from mola_nodes.conversions.wire import time_from_ns

_ACTOR, _IMAGINATION = "actor", "imagination"


def engine_status_message(manager: BundleManager, *, halves: Mapping[str, HalfStatus], stamp_ns: int) -> EngineStatus:
    """Where everything is. Inference times are sums of the halves' own figures, for nobody times an answer through both: the sum of
    their 99th percentiles is a time that at most 2 % of answers exceed, the sum of their longest one that none does.
    """
    wish = manager.swap.wish
    actor, imagination = halves.get(_ACTOR), halves.get(_IMAGINATION)
    message = EngineStatus(
        version=EngineStatus.VERSION,
        stamp=time_from_ns(stamp_ns),
        state=_state_of(manager),
        reason=manager.swap.reason,
        active_bundle=wish.active if manager.swap.settled else _serving(halves),
        staged_bundle=wish.staged or manager.trying,
        previous_bundle=wish.previous,
        last_swap_gap_ms=-1.0 if actor is None else actor.swap_gap_ms,
    )
    message.runtime, message.device = _runtime_of(manager, message.active_bundle)
    for name in ("p50", "p99", "max"):
        setattr(message, f"inference_{name}_ms", _sum(actor, imagination, f"run_{name}_ms"))
    return message


def _state_of(manager: BundleManager) -> int:
    if manager.trying or (manager.swap.wish.staged and not manager.swap.staged_is_ready):
        return int(EngineStatus.LOADING)
    if manager.swap.staged_is_ready:
        return int(EngineStatus.STAGED)
    if manager.swap.reason:
        return int(EngineStatus.FAILED)
    return int(EngineStatus.SERVING if manager.swap.wish.active else EngineStatus.EMPTY)


def _serving(halves: Mapping[str, HalfStatus]) -> str:
    names = {status.serving for status in halves.values()}
    return names.pop() if len(names) == 1 else ""


def _sum(first: HalfStatus | None, second: HalfStatus | None, field: str) -> float:
    values = [float(getattr(half, field)) for half in (first, second) if half is not None]
    return sum(values) if len(values) == 2 and min(values) >= 0 else -1.0


def _runtime_of(manager: BundleManager, bundle_id: str) -> tuple[str, str]:
    """Runtime and device of the build that serves here; empty where nothing does."""
    try:
        return _chosen(manager.shelf.path_of(bundle_id)) if bundle_id else ("", "")
    except MolaError:
        return "", ""


@cache
def _chosen(path: Path) -> tuple[str, str]:
    build = choose_build(read_manifest(path), this_machine())
    return f"{build.runtime} {build.precision}", build.arch
