"""How old a plan grows before the next one replaces it, held against what a site still follows.

While a plan is executed it is said again with a fresh sign of life, but what it rests on stays as old as it is. From
``safety.max_observation_age_ms`` on the chunk door refuses it, and the arm stops as stale in the middle of what the model meant to do.
"""

from mola_core.contracts.clock import NS_PER_MS

INFERENCE_NS = 400 * NS_PER_MS
"""Allowed for an answer on a rig, from its oldest picture to its chunk; as much as ``late_ms``, beyond which a bundle is taken out."""


def oldest_plan_ns(*, executed_ns: int, inference_ns: int) -> int:
    """Age of a plan, from its oldest input on, when the next one replaces it.

    ``executed_ns`` passes from one question to the next, which is asked when the last meant row is due, or when the answer before has
    come where that is later; ``inference_ns`` from a question to its answer.
    """
    return max(executed_ns, inference_ns) + inference_ns


def why_outlived(*, executed_ns: int, inference_ns: int, limit_ns: int) -> str:
    """Why a site that follows no plan older than ``limit_ns`` would stop the arm; empty where it would not."""
    oldest_ns = oldest_plan_ns(executed_ns=executed_ns, inference_ns=inference_ns)
    if oldest_ns <= limit_ns:
        return ""
    return (
        f"a plan would be {oldest_ns / NS_PER_MS:.0f} ms old before the next replaces it ({executed_ns / NS_PER_MS:.0f} ms of rows, "
        f"an answer within {inference_ns / NS_PER_MS:.0f} ms), the site's max_observation_age_ms is {limit_ns / NS_PER_MS:.0f}"
    )
