"""Weights of picture models, from a folder or by name; never a pickle that may run code."""

from collections.abc import Callable
from typing import Any

from safetensors import SafetensorError

from mola_core.data.downloads import said_of_damage
from mola_core.teachers.pictures import torch_device
from mola_core.teachers.protocol import TeacherError, TeacherSettings


def pretrained(load: Callable[..., Any], settings: TeacherSettings, *, usual: str) -> Any:
    """``load`` (a ``from_pretrained`` of transformers) on the settings' weights, in evaluation mode on their device.

    Raises:
        TeacherError: no weights were named, or they are missing, damaged or of another architecture.
    """
    if settings.weights is None:
        raise TeacherError(f"this teacher needs weights: --weights PATH of a downloaded {usual}, or that name itself")
    try:
        loaded = load(settings.weights, use_safetensors=True, output_loading_info=True)
    except SafetensorError as error:
        raise TeacherError(said_of_damage(settings.weights, error)) from error
    except (OSError, ValueError, RuntimeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise TeacherError(
            f"no weights at {settings.weights!r} ({reason}); download {usual} and give its folder"
        ) from error
    model, report = loaded
    wrong = [*report["missing_keys"], *report["unexpected_keys"], *report["mismatched_keys"]]
    if wrong:
        raise TeacherError(
            f"weights at {settings.weights!r} do not fit {type(model).__name__}: {len(wrong)} tensors, as {wrong[0]}"
        )
    return model.to(torch_device(settings.device)).eval()
