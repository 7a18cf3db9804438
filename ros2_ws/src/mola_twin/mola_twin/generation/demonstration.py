"""One demonstration: the expert does the task in lockstep, and every period what is seen, felt and commanded becomes a row."""

import zlib
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8

from mola_core.contracts.errors import ChunkRejectedError
from mola_core.contracts.preprocess import view_of
from mola_core.contracts.rig import EpisodeStart, RigView
from mola_core.contracts.types import ActionChunk, ActionSpace
from mola_core.runtime.observation import state_row
from mola_twin.evaluation_rig import EvaluationRig
from mola_twin.expert.bursts import Bursts
from mola_twin.expert.expert import UPRIGHT_RAD, make_expert
from mola_twin.expert.noise import MISTAKE, RecoveryNoise
from mola_twin.expert.pick_place import wanted_in_hand
from mola_twin.expert.trials import unmet
from mola_twin.generation.lead import Lead
from mola_twin.generation.plan import Assignment, GenerationPlan, NoisePlan
from mola_twin.labels.scene_recorder import SceneRecorder
from mola_twin.lockstep import LockstepRig
from mola_twin.tasks.instructions import task_spec
from mola_twin.tasks.truth import Truth

_TILTED_RAD = 0.35
"""A policy tilts the tool a little; the expert rights it on the way."""


@dataclass(frozen=True)
class Demonstration:
    """A successful episode, R rows long, or the beginning of one."""

    assignment: Assignment
    instruction: str
    state: Float32[np.ndarray, "R 13"]
    action: Float32[np.ndarray, "R 7"]
    """The ``base_from_tcp`` and opening that the expert means at the row's own stamp; what is executed may be pushed off it."""
    mistake: Bool[np.ndarray, "R"]
    """Whether that was commanded on a detour or by a leading policy, which is there to be recovered from and not to be imitated."""
    views: dict[str, UInt8[np.ndarray, "R height width 3"]]
    outcome: str = "success"
    """``begun`` where only the beginning was asked for."""

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
    rig: LockstepRig,
    assignment: Assignment,
    plan: GenerationPlan,
    *,
    recorder: SceneRecorder | None = None,
    lead: Lead | None = None,
) -> Demonstration | FailedEpisode:
    """Run one episode; the same assignment and plan give the same rows, bit for bit. ``recorder`` labels each of them."""
    manner = _manner(assignment, plan.noise)
    scene = _Scene.begin(rig, assignment, plan, manner=manner, recorder=recorder)
    if lead is not None:
        until_s, sooner_s = lead.until_s(assignment.key)
        end = scene.follow(lead, until_s=until_s)
        if end is not None and end.avoidable:
            # once more, and not as far: what led there is what the expert has to show the way out of
            scene = _Scene.begin(rig, assignment, plan, manner=manner, recorder=recorder)
            end = scene.follow(lead, until_s=end.elapsed_s - sooner_s)
        if end is not None:
            return FailedEpisode(assignment, end.why)
    why = scene.show(manner, upright_rad=UPRIGHT_RAD if lead is None else _TILTED_RAD)
    if why:
        return FailedEpisode(assignment, why)
    outcome = "success" if plan.beginning_rows is None else "begun"
    return scene.rows.finished(assignment, instruction=scene.instruction, outcome=outcome)


@dataclass(frozen=True)
class _LeadEnd:
    """Why a policy's lead ended before the expert could take over."""

    why: str
    elapsed_s: float
    avoidable: bool = True
    """Whether the expert can prevent it by taking over sooner."""


@dataclass(frozen=True)
class _Scene:
    """An episode under way."""

    rig: LockstepRig
    assignment: Assignment
    plan: GenerationPlan
    instruction: str
    recorder: SceneRecorder | None
    rows: "_Rows"

    @classmethod
    def begin(
        cls,
        rig: LockstepRig,
        assignment: Assignment,
        plan: GenerationPlan,
        *,
        manner: "_Manner",
        recorder: SceneRecorder | None,
    ) -> "_Scene":
        start = rig.reset(
            task=assignment.task, seed=assignment.seed, variant=plan.variant, arm_jitter_rad=manner.arm_jitter_rad
        )
        if recorder is not None:
            recorder.begin()
        return cls(rig, assignment, plan, instruction=start.instruction, recorder=recorder, rows=_Rows(plan))

    def follow(self, lead: Lead, *, until_s: float) -> _LeadEnd | None:
        """Let the policy act until ``until_s``, and on for as long as it holds what the task does not ask for; None: take over."""
        rig, one = self.rig, self.assignment
        limit_s = task_spec(one.task).time_limit_s
        lead.begin(
            EpisodeStart(
                task=one.task,
                seed=one.seed,
                variant=self.plan.variant,
                instruction=self.instruction,
                time_limit_s=limit_s,
            )
        )
        seen = EvaluationRig(rig)  # the policy sees what an evaluation shows it
        while rig.cell.elapsed_s < until_s or _holds_another(rig.truth()):
            view, now = seen.observe(), rig.commanded()
            action = np.concatenate([now.base_from_tcp, [now.gripper_opening]])
            self._add(view, action=action, mistake=True)
            chunk = lead.act(seen, view)
            try:
                rig.step(chunk, duration_s=self.plan.period_ms / 1000)
            except ChunkRejectedError as error:
                return _LeadEnd(f"under the policy: {error}", rig.cell.elapsed_s)
            if not rig.engaged:
                return _LeadEnd(f"under the policy the servo stopped: {rig.stop_reason}", rig.cell.elapsed_s)
            if rig.success().done:
                return _LeadEnd("the policy did it alone", rig.cell.elapsed_s, avoidable=False)
            if rig.cell.elapsed_s >= limit_s:
                return _LeadEnd("the policy held something else to the end", rig.cell.elapsed_s, avoidable=False)
        return None

    def show(self, manner: "_Manner", *, upright_rad: float) -> str:
        """Let the expert do the task from here; why it did not, or nothing."""
        rig, task = self.rig, self.assignment.task
        expert = make_expert(task, rig.site, noise=manner.noise, upright_rad=upright_rad)
        seen = EvaluationRig(rig)
        limit_s = rig.cell.elapsed_s + task_spec(task).time_limit_s
        left = self.plan.hold_rows
        mistaken = False
        while True:
            view, truth = seen.observe(), rig.truth()
            chunk = expert.act(truth=truth, state=view.state, now_ns=view.stamp_ns)
            if chunk.space is not ActionSpace.TCP:
                return f"{expert.stage}: moved in joint space, which no action row can say"
            action = np.concatenate([chunk.targets[0], chunk.gripper_openings[:1]])
            self._add(view, action=action, mistake=mistaken)
            mistaken = expert.stage == MISTAKE
            if len(self.rows) == self.plan.beginning_rows:
                return ""
            if mistaken and _holds_something(truth):
                return "what was to be missed was taken"
            verdict = rig.success()
            if verdict.done and (chunk.final or self.plan.until == "done"):
                if left == 0:
                    return ""
                left -= 1
            elif chunk.final or rig.cell.elapsed_s >= limit_s:
                return f"{expert.stage}: {unmet(verdict.conditions)}"
            pushed = manner.bursts.push(chunk, stage=expert.stage)
            _execute(rig, chunk, pushed=pushed, duration_s=self.plan.period_ms / 1000)
            if not rig.engaged:
                return f"servo stopped in {expert.stage}: {rig.stop_reason}"

    def _add(self, view: RigView, *, action: Float[np.ndarray, "7"], mistake: bool) -> None:
        """A row, labelled, with what the live preprocessing makes of the cameras' streams."""
        if self.recorder is not None:
            self.recorder.add_row()
        width, height = self.plan.view_width, self.plan.view_height
        views = {name: view_of(view.frames[name], view_width=width, view_height=height) for name in self.plan.cameras}
        self.rows.add(state=state_row(view.state), action=action, views=views, mistake=mistake)


def _holds_something(truth: Truth) -> bool:
    return any(item.held for item in truth.objects.values())


def _holds_another(truth: Truth) -> bool:
    """Something is in the hand that the expert would not go on with."""
    wanted = wanted_in_hand(truth)
    return any(item.held for name, item in truth.objects.items() if name != wanted)


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

    def add(
        self,
        *,
        state: Float[np.ndarray, "13"],
        action: Float[np.ndarray, "7"],
        views: dict[str, np.ndarray],
        mistake: bool,
    ) -> None:
        self._state.append(state)
        self._action.append(action)
        self._mistake.append(mistake)
        for name, view in views.items():
            self._views[name].append(view)

    def __len__(self) -> int:
        return len(self._state)

    def finished(self, assignment: Assignment, *, instruction: str, outcome: str) -> Demonstration:
        return Demonstration(
            assignment=assignment,
            instruction=instruction,
            state=np.array(self._state, dtype=np.float32),
            action=np.array(self._action, dtype=np.float32),
            mistake=np.array(self._mistake),
            views={name: np.stack(views) for name, views in self._views.items()},
            outcome=outcome,
        )
