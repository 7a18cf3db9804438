"""A policy drives first and the expert takes over: demonstrations of the way back from where a policy really gets to.

What people do who watch a policy and take the stick when it goes wrong (HG-DAgger, Kelly et al. 2019). Rows under the policy are
there to be seen and not to be imitated.
"""

import itertools
import zlib
from dataclasses import replace

import numpy as np

from mola_core.contracts.clock import NS_PER_S
from mola_core.contracts.errors import ConfigError
from mola_core.contracts.rig import EpisodeStart, LockstepRig, RigView
from mola_core.contracts.types import ActionChunk
from mola_core.evaluation.policies import WITHOUT_POLICY, PolicyChoice, identity_of, open_source
from mola_core.evaluation.sources import PolicySource
from mola_twin.generation.plan import LeadPlan

_SOONER_S = (0.5, 2.0)


def lead_plan(policy: str, *, longest_s: float, longest_delay_s: float = 0.0) -> LeadPlan:
    """The plan of a lead by the checkpoint or bundle in the folder ``policy``.

    Raises:
        ConfigError: it is one of the words that stand for no policy.
        EvaluationError: there is none.
    """
    if policy in WITHOUT_POLICY:
        raise ConfigError(f"--lead {policy} is no policy: give the folder of a checkpoint or bundle")
    identity = identity_of(PolicyChoice(policy))
    return LeadPlan(policy=policy, identity=identity, longest_s=longest_s, longest_delay_s=longest_delay_s)


class Lead:
    """One policy that leads in one episode after the other."""

    def __init__(self, plan: LeadPlan) -> None:
        """Open the policy. Raises as :func:`mola_core.evaluation.policies.open_policy`."""
        self.plan = plan
        source = open_source(PolicyChoice(plan.policy))
        assert isinstance(source, PolicySource)  # noqa: S101  # ``lead_plan`` asked for its identity, words have none
        self._source = source
        self._sequence = itertools.count()
        self._chunk: ActionChunk | None = None
        self._coming: ActionChunk | None = None
        """Decided, and not yet in force."""
        self._decided_ns, self._delay_ns = 0, 0

    def until_s(self, key: str) -> tuple[float, float]:
        """For how long the policy leads in the episode ``key``, and how much sooner it has to end if that went wrong, s."""
        rng = np.random.default_rng([zlib.crc32(key.encode()), 1])
        return float(rng.uniform(self.plan.shortest_s, self.plan.longest_s)), float(rng.uniform(*_SOONER_S))

    def begin(self, start: EpisodeStart) -> None:
        """An episode begins; the same one again leads to the same, bit for bit."""
        self._source.begin(start)
        self._sequence = itertools.count()
        self._chunk = self._coming = None
        rng = np.random.default_rng([zlib.crc32(f"{start.task}:{start.seed}".encode()), 2])
        self._delay_ns = round(rng.uniform(0.0, self.plan.longest_delay_s) * NS_PER_S)
        self._source.settle_ns = self._delay_ns  # told as on a rig what is executed meanwhile

    def act(self, rig: LockstepRig, view: RigView) -> ActionChunk:
        """What to do for the next period, having seen ``view``; call it every period."""
        now_ns = view.stamp_ns
        if self._chunk is None or now_ns - self._decided_ns >= self._source.execute_ns:
            self._coming, self._decided_ns = self._source.decide(rig, view).chunk, now_ns
        if self._chunk is None or (self._coming is not None and now_ns - self._decided_ns >= self._delay_ns):
            self._chunk, self._coming = self._coming, None
        assert self._chunk is not None  # noqa: S101  # decided above, at the latest now
        return replace(self._chunk, sequence=next(self._sequence), alive_stamp_ns=now_ns)
