"""``mola dataset replay``: a recorded episode drives the twin, or a running graph, or the lockstep rig once more."""

import argparse
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mola_core.contracts.errors import ConfigError

if TYPE_CHECKING:
    from mola_core.contracts.site import Site
    from mola_core.data.replay.track import Scene, Track
    from mola_nodes.demo.operator_client import OperatorClient

_SITE = Path("launch/sites/twin.yaml")
_LOG = Path("runs") / "replay" / "graph.log"
_ATTACH_S = 20.0


def register(subparsers: Any) -> None:
    """Add ``replay``."""
    parser = subparsers.add_parser("replay", help="let the arm do a recorded episode once more")
    parser.add_argument("recording", type=Path, help="folder of an episode or of a dataset")
    parser.add_argument("--episode", type=int, help="number of the episode in a dataset")
    parser.add_argument("--lockstep", action="store_true", help="on the rig that moves only when told to, no graph")
    parser.add_argument("--attach", action="store_true", help="on the graph that is running, instead of one of its own")
    parser.add_argument(
        "--no-world", action="store_true", help="with --attach: on a real rig, which no world can reset"
    )
    parser.add_argument("--task", help="the twin's task, where the recording does not say")
    parser.add_argument("--seed", type=int, help="seed of the scene, where the recording does not say")
    parser.add_argument("--variant", help="variant of the scene (id)")
    parser.add_argument("--site", type=Path, default=_SITE, help=f"site file ({_SITE})")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from mola_core.contracts.site import load_site  # noqa: PLC0415  # help stays fast
    from mola_core.data.replay.chunks import require_site  # noqa: PLC0415
    from mola_core.data.replay.track import load_track  # noqa: PLC0415

    _check(arguments)
    track = load_track(arguments.recording, episode=arguments.episode)
    site = load_site(arguments.site)
    require_site(track, site)
    scene = None if arguments.no_world else _scene(arguments, track)
    figures = _lockstep(arguments, track, scene) if arguments.lockstep else _on_graph(arguments, track, site, scene)
    figures = {"recording": track.name, "instruction": track.instruction, "recorded": track.outcome, **figures}
    return _report(figures, as_json=arguments.json)


def _check(arguments: argparse.Namespace) -> None:
    if arguments.lockstep and (arguments.attach or arguments.no_world):
        raise ConfigError("--lockstep has a rig of its own: it goes with neither --attach nor --no-world")
    if arguments.no_world and not arguments.attach:
        raise ConfigError("--no-world is for a real rig: it goes with --attach")
    if not arguments.site.is_file():
        raise ConfigError(f"site file {arguments.site} does not exist; run from the repository or give --site")


def _scene(arguments: argparse.Namespace, track: "Track") -> "Scene":
    from mola_core.data.replay.track import Scene  # noqa: PLC0415  # help stays fast

    known = track.scene
    task = arguments.task or (known.task if known else None)
    seed = arguments.seed if arguments.seed is not None else (known.seed if known else None)
    variant = arguments.variant or (known.variant if known else "id")
    if task is None or seed is None:
        raise ConfigError(f"{track.name} does not say how the twin was set up; give --task and --seed")
    return Scene(task=task, seed=seed, variant=variant)


def _lockstep(arguments: argparse.Namespace, track: "Track", scene: "Scene | None") -> dict[str, Any]:
    from mola_core.evaluation.replay import replay_lockstep  # noqa: PLC0415  # help stays fast
    from mola_core.evaluation.rigs import open_rig  # noqa: PLC0415

    assert scene is not None  # noqa: S101  # --no-world was refused above
    rig = open_rig("twin", site=arguments.site)
    try:
        done = replay_lockstep(rig, track, scene=scene)
    finally:
        rig.close()
    return {
        "mode": "lockstep",
        "success": done.success,
        "reason": done.reason,
        "same": done.same,
        "duration_s": done.duration_s,
        "scene": scene,
    }


def _on_graph(arguments: argparse.Namespace, track: "Track", site: "Site", scene: "Scene | None") -> dict[str, Any]:
    from mola_interfaces.action import RunPolicy  # noqa: PLC0415  # only here is ROS needed

    from mola_nodes.replay.graph_replay import GraphReplay  # noqa: PLC0415
    from mola_twin.world_client import WorldClient  # noqa: PLC0415

    with ExitStack() as stack:
        operator = (
            stack.enter_context(_operator()) if arguments.attach else _twin_of_its_own(arguments.site, site, stack)
        )
        world = None if scene is None else stack.enter_context(WorldClient(site.arm.host))

        def set_up() -> None:
            if world is not None and scene is not None:
                world.reset(task=scene.task, seed=scene.seed, variant=scene.variant)

        replay = GraphReplay(track, site=site, operator=operator, say=_say)
        end = replay.run(world=world, set_up=set_up)
    success = end.outcome == RunPolicy.Result.SUCCEEDED
    judged = scene is not None and track.outcome in {"success", "failure"}
    return {
        "mode": "graph",
        "success": success,
        "reason": end.reason,
        "same": success == (track.outcome == "success") if judged else None,
        "scene": scene,
    }


@contextmanager
def _operator() -> "Iterator[OperatorClient]":
    """Beside the graph that is running in this shell's domain."""
    from mola_nodes.demo.operator_client import OperatorClient  # noqa: PLC0415  # only here is ROS needed
    from mola_nodes.environment import join_graph  # noqa: PLC0415

    join_graph()
    with OperatorClient(name="replay") as operator:
        operator.wait_active(timeout_s=_ATTACH_S)
        yield operator


def _twin_of_its_own(path: Path, site: "Site", stack: ExitStack) -> "OperatorClient":
    from mola_nodes.running_twin import RunningTwin  # noqa: PLC0415  # only here is ROS needed

    words = {"policy": "none", "site": str(path.resolve())}
    twin = RunningTwin(log_path=_LOG, host=site.arm.host, arguments=words)
    return stack.enter_context(twin).operator


def _report(figures: dict[str, Any], *, as_json: bool) -> int:
    from mola_core.cli.report import measurement_report, print_json  # noqa: PLC0415  # help stays fast

    if as_json:
        print_json(measurement_report("dataset replay", figures))
    else:
        verdict = {True: "the same", False: "NOT the same", None: "nobody can tell"}[figures["same"]]
        print(f"{figures['recording']}: {figures['instruction']!r}")  # noqa: T201
        print(f"recorded: {figures['recorded']}; replayed: {figures['reason']} ({verdict})")  # noqa: T201
    return 0 if figures["same"] or (figures["same"] is None and figures["success"]) else 1


def _say(line: str) -> None:
    sys.stderr.write(f"  {line}\n")
