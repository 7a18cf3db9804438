"""What the policy imagines and the codes it reads from it, as a strip under the cameras' pictures."""

import threading
from collections.abc import Iterable
from functools import partial

import cv2
import numpy as np
from jaxtyping import UInt8
from mola_interfaces.msg import LatentActions
from sensor_msgs.msg import Image

from mola_nodes import graph
from mola_nodes.conversions.images import color_from_message
from mola_nodes.conversions.tensors import tensor_from_message
from mola_nodes.demo.operator_client import OperatorClient
from mola_nodes.demo.video import labelled

_CODE_HEIGHT = 26
_TEXT_COLOR = (235, 235, 235)
_CELL = 18
_SATURATION, _VALUE = 170, 230
_LABEL = "imagined: now, and what comes"

Rgb = UInt8[np.ndarray, "height width 3"]


class ImaginedStrip:
    """Follows previews and latent actions; :meth:`draw` gives a picture of the asked width, black where nothing came yet."""

    def __init__(self, *, operator: OperatorClient, roles: Iterable[str]) -> None:
        self._lock = threading.Lock()
        self._previews: dict[str, Rgb | None] = dict.fromkeys(roles)
        self._codes: dict[str, tuple[int, ...]] = {}
        self._bundle_id = ""
        for role in self._previews:
            operator.subscribe(graph.preview_topic(role), partial(self._note_preview, role))
        operator.subscribe(graph.LATENT_ACTIONS, self._note_codes)

    def _note_preview(self, role: str, message: Image) -> None:
        picture = color_from_message(message).copy()
        with self._lock:
            self._previews[role] = picture

    def _note_codes(self, message: LatentActions) -> None:
        codes = {
            name: tuple(int(code) for code in tensor_from_message(tensor).ravel())
            for name, tensor in zip(message.modalities, message.code_indices, strict=False)
        }
        with self._lock:
            self._codes, self._bundle_id = codes, message.bundle_id

    def draw(self, width: int, height: int) -> Rgb:
        """Imagined frames of all cameras side by side in ``height`` rows, and the codes of each modality below."""
        with self._lock:
            previews, codes, bundle_id = list(self._previews.values()), self._codes, self._bundle_id
        cell = width // max(len(previews), 1)
        row = np.zeros((height, width, 3), dtype=np.uint8)
        for number, picture in enumerate(previews):
            if picture is not None:
                fitted = labelled(_fitted(picture, width=cell, height=height), _LABEL)
                row[: fitted.shape[0], number * cell : number * cell + fitted.shape[1]] = fitted
        return np.vstack([row, _codes_bar(codes, bundle_id=bundle_id, width=width)])


def _fitted(picture: Rgb, *, width: int, height: int) -> Rgb:
    scale = min(width / picture.shape[1], height / picture.shape[0])
    size = (max(int(picture.shape[1] * scale), 1), max(int(picture.shape[0] * scale), 1))
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def _codes_bar(codes: dict[str, tuple[int, ...]], *, bundle_id: str, width: int) -> Rgb:
    """A coloured cell a code, by modality; equal codes have equal colours."""
    bar = np.zeros((_CODE_HEIGHT, width, 3), dtype=np.uint8)
    left = 8
    for name, indices in codes.items():
        cv2.putText(bar, name, (left, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.4, _TEXT_COLOR, 1, cv2.LINE_AA)
        left += 8 * len(name) + 6
        for index in indices:
            hue = (index * 47) % 180
            color = cv2.cvtColor(np.array([[[hue, _SATURATION, _VALUE]]], dtype=np.uint8), cv2.COLOR_HSV2RGB)[0, 0]
            bar[4 : 4 + _CELL, left : left + _CELL - 2] = color
            cv2.putText(bar, str(index), (left, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.28, (0, 0, 0), 1, cv2.LINE_AA)
            left += _CELL
        left += 10
    place = (max(left, width - 8 * len(bundle_id) - 8), 17)
    cv2.putText(bar, bundle_id, place, cv2.FONT_HERSHEY_SIMPLEX, 0.4, _TEXT_COLOR, 1, cv2.LINE_AA)
    return bar
