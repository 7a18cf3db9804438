"""What a generated dataset consists of; the same plan gives the same dataset."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from mola_core.contracts.io_spec import DataContract
from mola_twin.tasks.seeds import require_training_seeds


class NoisePlan(BaseModel):
    """How demonstrations leave the straight way, so that they also show the way back; see :mod:`mola_twin.expert.bursts`."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    bursts: float = Field(default=1.0, ge=0.0, le=3.0)
    """Size of the pushes; each episode draws its own between 0.4 and 1.3 of it."""
    calm_share: float = Field(default=0.25, ge=0.0, le=1.0)
    """Episodes without pushes."""
    arm_jitter_rad: float = Field(default=0.015, ge=0.0, le=0.2)
    """Standard deviation of each joint from home at the start, in half of the episodes."""
    detour_probability: float = Field(default=0.0, ge=0.0, le=1.0)
    """Approaches that first go to a wrong place (:mod:`mola_twin.expert.noise`); the way there is marked as a mistake."""
    aim_m: float = Field(default=0.0, ge=0.0, le=0.05)
    """Standard deviation of where the tool first stops before it descends."""
    miss_probability: float = Field(default=0.0, ge=0.0, le=1.0)
    """Episodes whose first attempt closes the fingers beside the thing; what comes before it is begun again is marked as a mistake."""


class LeadPlan(BaseModel):
    """A policy that drives first; see :mod:`mola_twin.generation.lead`."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    policy: str
    """Folder of a checkpoint or bundle."""
    identity: str
    """Of what lies there."""
    shortest_s: float = Field(default=1.0, ge=0.0, le=60.0)
    longest_s: float = Field(default=12.0, ge=0.0, le=60.0)
    """Each episode draws its own time in between."""
    longest_delay_s: float = Field(default=0.0, ge=0.0, le=1.0)
    """What it decides comes into force that much later, as on a rig; each episode draws its own delay, from 0 on."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.longest_s < self.shortest_s:
            raise ValueError(f"longest_s {self.longest_s:g} is below shortest_s {self.shortest_s:g}")
        return self


class GenerationPlan(BaseModel):
    """Every task is done once from each seed; one that is named twice, once more from as many further seeds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tasks: tuple[str, ...] = Field(min_length=1)
    first_seed: int
    num_seeds: int = Field(ge=1)
    variant: str = "id"
    cameras: tuple[str, ...] = Field(min_length=1)
    view_width: int = Field(ge=16, le=424)
    view_height: int = Field(ge=16, le=240)
    period_ms: int = Field(default=100, ge=20, le=1000)
    until: Literal["home", "done"] = "home"
    """When a demonstration ends: once the expert is home again, or when the task is done. The way home passes where every task begins,
    with a picture that hardly differs: a policy that learns it may stay at home from the start."""
    hold_rows: int = Field(default=5, ge=0, le=50)
    """Rows kept after that: at home, what doing nothing looks like."""
    beginning_rows: int | None = Field(default=None, ge=2, le=200)
    """Keep only so many rows of each: what is seen at the start of many scenes, for little time. None: to the end."""
    noise: NoisePlan = NoisePlan()
    lead: LeadPlan | None = None
    """None: the expert does everything."""
    label_stride: int = Field(default=0, ge=0, le=16)
    """Exact label maps have one cell for so many pixels of the view, each way; 0: none."""

    @model_validator(mode="after")
    def _stride_divides(self) -> Self:
        if self.label_stride and (self.view_width % self.label_stride or self.view_height % self.label_stride):
            raise ValueError(f"{self.label_stride} does not divide the view of {self.view_width}x{self.view_height}")
        return self

    @property
    def label_size(self) -> tuple[int, int]:
        """(width, height) of the label maps; there must be some."""
        return self.view_width // self.label_stride, self.view_height // self.label_stride

    @property
    def contract(self) -> DataContract:
        """Of the dataset."""
        return DataContract(cameras=self.cameras, period_ns=self.period_ms * 1_000_000)

    def episodes(self) -> "Iterator[Assignment]":
        """All episodes, in an order in which any part is balanced."""
        most = max(Counter(self.tasks).values())
        require_training_seeds(self.first_seed, self.num_seeds * most)
        for seed in range(self.first_seed, self.first_seed + self.num_seeds):
            named: Counter[str] = Counter()
            for task in self.tasks:
                yield Assignment(task=task, seed=seed + named[task] * self.num_seeds)
                named[task] += 1


@dataclass(frozen=True, slots=True)
class Assignment:
    """One episode to make."""

    task: str
    seed: int

    @property
    def key(self) -> str:
        """Name of its file."""
        return f"{self.seed:08d}-{self.task}"
