"""Goals of the policy action, and what is said back."""

from mola_interfaces.action import RunPolicy

from mola_core.contracts.errors import ConfigError
from mola_nodes.conversions.wire import duration_from_ns, ns_from_duration, time_from_ns


def time_limit_ns(goal: RunPolicy.Goal) -> int:
    """How long the policy may take.

    Raises:
        ConfigError: not positive.
    """
    limit_ns = ns_from_duration(goal.time_limit)
    if limit_ns <= 0:
        raise ConfigError(f"time_limit must be positive, got {limit_ns} ns")
    return limit_ns


def feedback_message(*, stamp_ns: int, phase: str, elapsed_ns: int, chunks_sent: int) -> RunPolicy.Feedback:
    """What the policy is doing; ``stamp_ns`` is that of the oldest input of its last chunk."""
    return RunPolicy.Feedback(
        stamp=time_from_ns(stamp_ns), phase=phase, elapsed=duration_from_ns(elapsed_ns), chunks_sent=chunks_sent
    )


def result_message(*, outcome: int, reason: str, elapsed_ns: int, chunks_sent: int) -> RunPolicy.Result:
    """How it ended; ``outcome`` is one of the constants of ``RunPolicy.Result``."""
    return RunPolicy.Result(
        success=outcome == RunPolicy.Result.SUCCEEDED,
        outcome=outcome,
        reason=reason,
        duration=duration_from_ns(elapsed_ns),
        chunks_sent=chunks_sent,
    )
