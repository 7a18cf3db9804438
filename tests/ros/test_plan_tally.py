"""What counts as a plan: an answer of the policy, not the messages in which it is said again."""

from dataclasses import replace

import numpy as np
from mola_interfaces.msg import ActionChunk as ActionChunkMsg

from mola_core.contracts.clock import NS_PER_MS
from mola_core.contracts.types import ActionChunk, ActionSpace
from mola_nodes.conversions.motion import message_from_chunk
from mola_nodes.plan_tally import PlanTally
from mola_nodes.policy.rollout import shortened

BEGIN_NS = 10**18
PLAN = ActionChunk(
    sequence=1,
    source="mola",
    bundle_id="twin/8",
    stamp_ns=BEGIN_NS,
    alive_stamp_ns=BEGIN_NS,
    start_ns=BEGIN_NS + 40 * NS_PER_MS,
    period_ns=40 * NS_PER_MS,
    space=ActionSpace.TCP,
    targets=np.zeros((16, 6)),
    gripper_openings=np.ones(16),
    execute_steps=8,
    final=False,
)


def said(chunk: ActionChunk, *, after_ms: int, sequence: int) -> ActionChunkMsg:
    alive_ns = chunk.stamp_ns + after_ms * NS_PER_MS
    return message_from_chunk(replace(chunk, sequence=sequence, alive_stamp_ns=alive_ns))


def test_a_plan_that_is_said_three_times_is_one() -> None:
    tally = PlanTally()
    news = [tally.note(said(PLAN, after_ms=33 * number, sequence=number)) for number in range(3)]
    later = replace(PLAN, stamp_ns=BEGIN_NS + 90 * NS_PER_MS, start_ns=PLAN.start_ns + 90 * NS_PER_MS)
    news.append(tally.note(said(later, after_ms=0, sequence=3)))
    assert news == [True, False, False, True]
    assert (tally.plans, tally.messages) == (2, 4)


def test_coming_to_rest_is_the_end_of_a_plan_and_not_another_one() -> None:
    tally = PlanTally()
    tally.note(message_from_chunk(PLAN))
    tail = shortened(PLAN, until_ns=PLAN.start_ns + 250 * NS_PER_MS)
    at_rest = replace(tail, stamp_ns=BEGIN_NS + 500 * NS_PER_MS, alive_stamp_ns=BEGIN_NS + 500 * NS_PER_MS)
    assert not tally.note(message_from_chunk(at_rest))
    assert (tally.plans, tally.messages) == (1, 2)


def test_two_sources_and_two_bundles_are_told_apart() -> None:
    tally = PlanTally()
    other = replace(PLAN, source="operator", bundle_id="")
    assert [tally.note(message_from_chunk(chunk)) for chunk in (PLAN, other, PLAN, other)] == [True, True, False, False]
    assert tally.note(message_from_chunk(replace(PLAN, bundle_id="twin/9")))
