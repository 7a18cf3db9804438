"""Foresights and latent actions in messages."""

from collections.abc import Set as AbstractSet

import numpy as np
from mola_interfaces.msg import Foresight as ForesightMsg
from mola_interfaces.msg import LatentActions, PolicyHealth

from mola_core.runtime.divergence import Divergence, DivergenceGuard, Measure
from mola_core.runtime.foresight import Foresight
from mola_core.runtime.policy import PolicyAnswer
from mola_core.runtime.tensors import on_host
from mola_nodes.conversions.tensors import message_from_tensor, tensor_from_message
from mola_nodes.conversions.wire import (
    MessageError,
    check_length,
    check_version,
    duration_from_ns,
    ns_from_duration,
    ns_from_time,
    time_from_ns,
)

_MEASURES = {
    Measure.NORMAL: PolicyHealth.NORMAL,
    Measure.SLOWED: PolicyHealth.SLOWED,
    Measure.STOPPED: PolicyHealth.STOPPED,
}


def message_from_foresight(foresight: Foresight, *, sequence: int, shadow: bool) -> ForesightMsg:
    """All of it; floats travel in half precision."""
    return ForesightMsg(
        version=ForesightMsg.VERSION,
        stamp=time_from_ns(foresight.stamp_ns),
        sequence=sequence,
        bundle_id=foresight.bundle_id,
        instruction=foresight.instruction,
        shadow=shadow,
        cameras=list(foresight.cameras),
        offsets=[duration_from_ns(offset) for offset in foresight.offsets_ns],
        tensors=[
            message_from_tensor(_halved(on_host(tensor)), name=name) for name, tensor in foresight.tensors.items()
        ],
        noise_seed=foresight.noise_seed,
        stages=list(foresight.timings_ms),
        stage_ms=[float(value) for value in foresight.timings_ms.values()],
    )


def foresight_from_message(message: ForesightMsg) -> Foresight:
    """The foresight; its tensors are read-only views into the message.

    Raises:
        MessageError: another version, lengths that do not agree, or a tensor that does not fill its shape.
    """
    check_version(message)
    check_length(name="stage_ms", values=message.stage_ms, length=len(message.stages))
    if not message.bundle_id:
        raise MessageError("a foresight without a bundle_id belongs to no actor")
    return Foresight(
        stamp_ns=ns_from_time(message.stamp),
        bundle_id=message.bundle_id,
        instruction=message.instruction,
        cameras=tuple(message.cameras),
        offsets_ns=tuple(ns_from_duration(offset) for offset in message.offsets),
        tensors={tensor.name: tensor_from_message(tensor) for tensor in message.tensors},
        noise_seed=message.noise_seed,
        timings_ms=dict(zip(message.stages, (float(value) for value in message.stage_ms), strict=True)),
    )


def latent_actions_message(
    answer: PolicyAnswer, *, bundle_id: str, sequence: int, enabled: AbstractSet[str]
) -> LatentActions:
    """Codes and latent actions of an answer, by modality."""
    names = list(answer.latents)
    return LatentActions(
        version=LatentActions.VERSION,
        stamp=time_from_ns(answer.stamp_ns),
        sequence=sequence,
        bundle_id=bundle_id,
        modalities=names,
        enabled=[name in enabled for name in names],
        latents=[
            message_from_tensor(answer.latents[name].astype(np.float32), name="latent actions (query width)")
            for name in names
        ],
        code_indices=[
            message_from_tensor(answer.codes[name].astype(np.int32), name="code indices (query)")
            for name in names
            if name in answer.codes
        ],
    )


def policy_health_message(bundle_id: str, divergence: Divergence, guard: DivergenceGuard) -> PolicyHealth:
    """One comparison of imagination and world, and what is done about it."""
    return PolicyHealth(
        version=PolicyHealth.VERSION,
        stamp=time_from_ns(divergence.stamp_ns),
        bundle_id=bundle_id,
        horizon=duration_from_ns(divergence.horizon_ns),
        divergence=divergence.value,
        persistence=divergence.persistence,
        measure=_MEASURES[guard.measure],
        speed=guard.speed,
    )


def _halved(tensor: np.ndarray) -> np.ndarray:
    return tensor.astype(np.float16) if tensor.dtype.kind == "f" else tensor
