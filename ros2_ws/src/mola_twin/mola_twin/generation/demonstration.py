"""One demonstration: the expert does the task in lockstep, and every period what is seen, felt and commanded becomes a row."""

import zlib
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from mola_core.contracts.errors import ChunkRejectedError
from mola_core.contracts.preprocess import view_of
from mola_core.contracts.types import ActionChunk, ActionSpace, RobotState
from mola_twin.expert.bursts import Bursts
from mola_twin.expert.expert import make_expert
from mola_twin.expert.noise import MISTAKE, RecoveryNoise
from mola_twin.expert.trials import unmet
from mola_twin.generation.plan import Assignment, GenerationPlan, NoisePlan
from mola_twin.labels.scene_recorder import SceneRecorder
from mola_twin.lockstep import LockstepRig
from mola_twin.tasks.instructions import task_spec


@dataclass(frozen=True)
class Demonstration:
    """A successful episode, R rows long."""

    assignment: Assignment
    instruction: str
    state: Float32[np.ndarray, "R 13"]
    action: Float32[np.ndarray, "R 7"]
    """The ``base_from_tcp`` and opening that the expert means at the row's own stamp; what is executed may be pushed off it."""
    mistake: Bool[np.ndarray, "R"]
    """Whether that was commanded on a detour, which is there to be recovered from and not to be imitated."""
    views: dict[str, UInt8[np.ndarray, "R height width 3"]]

    @property
    def mistakes(self) -> list[list[int]]:
        """The mistaken rows as half-open ranges."""
        edges = np.flatnonzero(np.diff(self.mistake.astype(np.int8), prepend=0, append=0))
        return [[int(first), int(last)] for first, last in edges.reshape(-1, 2)]


@dataclass(frozen=True, slots=True)
class FailedEpisode:
    """An episode that did not end in success and is left out."""

    assignment: Assignment
    outcome: str


def demonstrate(
    rig: LockstepRig, assignment: Assignment, plan: GenerationPlan, *, recorder: SceneRecorder | None = None
) -> Demonstration | FailedEpisode:
    """Run one episode; the same assignment and plan give the same rows, bit for bit. ``recorder`` labels each of them."""
    manner = _manner(assignment, plan.noise)
    start = rig.reset(
        task=assignment.task, seed=assignment.seed, variant=plan.variant, arm_jitter_rad=manner.arm_jitter_rad
    )
    if recorder is not None:
        recorder.begin()
    expert = make_expert(assignment.task, rig.site, noise=manner.noise)
    limit_s = task_spec(assignment.task).time_limit_s
    rows = _Rows(plan)
    left = plan.hold_rows
    mistaken = False
    while True:
        observed = rig.observe()
        views = {name: _view(rig, name, plan) for name in plan.cameras}
        if recorder is not None:
            recorder.add_row()
        chunk = expert.act(truth=observed.truth, state=observed.state, now_ns=rig.clock.now_ns())
        if chunk.space is not ActionSpace.TCP:
            return FailedEpisode(assignment, f"{expert.stage}: moved in joint space, which no action row can say")
        rows.add(state=observed.state, meant=chunk, views=views, mistake=mistaken)
        mistaken = expert.stage == MISTAKE
        if mistaken and any(item.held for item in observed.truth.objects.values()):
            return FailedEpisode(assignment, "what was to be missed was taken")
        verdict = rig.success()
        if chunk.final and verdict.done:
            if left == 0:
                return rows.finished(assignment, instruction=start.instruction)
            left -= 1
        elif chunk.final or rig.cell.elapsed_s >= limit_s:
            return FailedEpisode(assignment, f"{expert.stage}: {unmet(verdict.conditions)}")
        _execute(rig, chunk, pushed=manner.bursts.push(chunk, stage=expert.stage), duration_s=plan.period_ms / 1000)
        if not rig.engaged:
            return FailedEpisode(assignment, f"servo stopped in {expert.stage}: {rig.stop_reason}")


@dataclass(frozen=True)
class _Manner:
    """How one episode is disturbed."""

    bursts: Bursts
    noise: RecoveryNoise
    arm_jitter_rad: float


def _manner(assignment: Assignment, noise: NoisePlan) -> _Manner:
    seed = zlib.crc32(assignment.key.encode())  # tasks of one seed are disturbed differently
    rng = np.random.default_rng(seed)
    calm = rng.uniform() < noise.calm_share
    return _Manner(
        bursts=Bursts(scale=0.0 if calm else noise.bursts * float(rng.uniform(0.4, 1.3)), seed=seed),
        noise=RecoveryNoise(
            detour_probability=noise.detour_probability,
            aim_m=noise.aim_m,
            miss_probability=noise.miss_probability,
            seed=seed,
        ),
        arm_jitter_rad=noise.arm_jitter_rad if rng.uniform() < 0.5 else 0.0,
    )


def _view(rig: LockstepRig, name: str, plan: GenerationPlan) -> UInt8[np.ndarray, "height width 3"]:
    """What the live preprocessing makes of the camera's stream."""
    stream = rig.site.cameras[name]
    color = rig.frame(name, width=stream.width, height=stream.height).color
    return view_of(color, view_width=plan.view_width, view_height=plan.view_height)


def _execute(rig: LockstepRig, chunk: ActionChunk, *, pushed: ActionChunk, duration_s: float) -> None:
    """Do ``pushed``, or ``chunk`` where the door refuses that (outside the workspace, too far)."""
    try:
        rig.step(pushed, duration_s=duration_s)
    except ChunkRejectedError:
        rig.step(chunk, duration_s=duration_s)


class _Rows:
    """Rows in the making."""

    def __init__(self, plan: GenerationPlan) -> None:
        self._state: list[np.ndarray] = []
        self._action: list[np.ndarray] = []
        self._mistake: list[bool] = []
        self._views: dict[str, list[np.ndarray]] = {name: [] for name in plan.cameras}

    def add(self, *, state: RobotState, meant: ActionChunk, views: dict[str, np.ndarray], mistake: bool) -> None:
        assert state.gripper_opening is not None  # noqa: S101  # the twin's gripper always answers
        self._state.append(np.concatenate([state.joint_positions, state.base_from_tcp, [state.gripper_opening]]))
        self._action.append(np.concatenate([meant.targets[0], meant.gripper_openings[:1]]))
        self._mistake.append(mistake)
        for name, view in views.items():
            self._views[name].append(view)

    def finished(self, assignment: Assignment, *, instruction: str) -> Demonstration:
        return Demonstration(
            assignment=assignment,
            instruction=instruction,
            state=np.array(self._state, dtype=np.float32),
            action=np.array(self._action, dtype=np.float32),
            mistake=np.array(self._mistake),
            views={name: np.stack(views) for name, views in self._views.items()},
        )
