"""One demonstration: the expert does the task in lockstep, and every period what is seen, felt and commanded becomes a row."""

import zlib
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from mola_core.contracts.types import CommandedState, RobotState
from mola_twin.expert.expert import make_expert
from mola_twin.expert.noise import MISTAKE, RecoveryNoise
from mola_twin.expert.trials import unmet
from mola_twin.generation.plan import Assignment, GenerationPlan
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
    """The commanded ``base_from_tcp`` and opening at the row's own stamp."""
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
    start = rig.reset(
        task=assignment.task,
        seed=assignment.seed,
        variant=plan.variant,
        arm_jitter_rad=plan.noise.arm_jitter_rad,
    )
    noise = RecoveryNoise(
        detour_probability=plan.noise.detour_probability,
        aim_m=plan.noise.aim_m,
        seed=zlib.crc32(assignment.key.encode()),  # tasks of one seed make different mistakes
    )
    if recorder is not None:
        recorder.begin()
    expert = make_expert(assignment.task, rig.site, noise=noise)
    limit_s = task_spec(assignment.task).time_limit_s
    rows = _Rows(plan)
    left = plan.hold_rows
    mistaken = False
    while True:
        observed = rig.observe(render=True, width=plan.view_width, height=plan.view_height)
        rows.add(
            state=observed.state,
            commanded=rig.commanded(),
            views={name: observed.frames[name].color for name in plan.cameras},
            mistake=mistaken,
        )
        if recorder is not None:
            recorder.add_row()
        chunk = expert.act(truth=observed.truth, state=observed.state, now_ns=rig.clock.now_ns())
        mistaken = expert.stage == MISTAKE
        verdict = rig.success()
        if chunk.final and verdict.done:
            if left == 0:
                return rows.finished(assignment, instruction=start.instruction)
            left -= 1
        elif chunk.final or rig.cell.elapsed_s >= limit_s:
            return FailedEpisode(assignment, f"{expert.stage}: {unmet(verdict.conditions)}")
        rig.step(chunk, duration_s=plan.period_ms / 1000)
        if not rig.engaged:
            return FailedEpisode(assignment, f"servo stopped in {expert.stage}: {rig.stop_reason}")


class _Rows:
    """Rows in the making."""

    def __init__(self, plan: GenerationPlan) -> None:
        self._state: list[np.ndarray] = []
        self._action: list[np.ndarray] = []
        self._mistake: list[bool] = []
        self._views: dict[str, list[np.ndarray]] = {name: [] for name in plan.cameras}

    def add(self, *, state: RobotState, commanded: CommandedState, views: dict[str, np.ndarray], mistake: bool) -> None:
        assert state.gripper_opening is not None  # noqa: S101  # the twin's gripper always answers
        assert commanded.gripper_opening is not None  # noqa: S101
        self._state.append(np.concatenate([state.joint_positions, state.base_from_tcp, [state.gripper_opening]]))
        self._action.append(np.concatenate([commanded.base_from_tcp, [commanded.gripper_opening]]))
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
