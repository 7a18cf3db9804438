"""A download that broke off is one sentence that names the file, whichever loader meets it."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from mola_core.contracts.errors import MolaError
from mola_core.data.downloads import said_of_damage
from mola_core.nets.importing.reading import read_diffusers, read_tensors
from mola_core.nets.language import ClipText, Umt5Text
from mola_core.teachers.cotracker import load_weights
from mola_core.teachers.protocol import TeacherSettings, open_teacher
from tests.core.test_teachers import tiny_depth_anything, tiny_sam2
from tests.engines.tiny_clip import write_tiny_clip

Load = Callable[[Path], object]
"""What reads the folder that a maker has filled."""


def teacher(name: str) -> Load:
    def load(folder: Path) -> object:
        given = {"dataset": folder, "cameras": ("wrist",), "view": (64, 32), "stride": 4, "weights": str(folder)}
        return open_teacher(name, TeacherSettings(**given))  # type: ignore[arg-type]

    return load


def write_umt5(folder: Path) -> Path:
    from transformers import PreTrainedTokenizerFast, UMT5Config, UMT5EncoderModel  # noqa: PLC0415  # seconds to import

    words = Tokenizer(WordLevel({"<pad>": 0, "</s>": 1, "<unk>": 2}, unk_token="<unk>"))  # noqa: S106  # no password
    marks = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=words, **marks).save_pretrained(folder / "tokenizer")
    config = UMT5Config(vocab_size=8, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    UMT5EncoderModel(config).save_pretrained(folder / "text_encoder")
    return folder / "text_encoder" / "model.safetensors"


def write_clip(folder: Path) -> Path:
    return write_tiny_clip(folder) / "model.safetensors"


def write_depth_anything(folder: Path) -> Path:
    tiny_depth_anything().save_pretrained(folder)  # type: ignore[operator]
    return folder / "model.safetensors"


def write_sam2(folder: Path) -> Path:
    tiny_sam2().save_pretrained(folder)  # type: ignore[operator]
    return folder / "model.safetensors"


def write_pickle(folder: Path) -> Path:
    torch.save(torch.nn.Linear(2, 1).state_dict(), folder / "weights.pth")
    return folder / "weights.pth"


def write_diffusers(folder: Path) -> Path:
    path = folder / "diffusion_pytorch_model.safetensors"
    save_file({"weight": torch.ones(4, 4)}, path)
    return path


@pytest.mark.parametrize("left", [0, 4, 0.5, -1], ids=["nothing", "a few bytes", "half", "all but a byte"])
@pytest.mark.parametrize(
    ("write", "load", "said"),
    [
        (write_depth_anything, teacher("depth_anything_v2"), "it has {size} bytes .*; delete it and download it again"),
        (write_sam2, teacher("sam2"), "it has {size} bytes .*; delete it and download it again"),
        (write_clip, ClipText, "it has {size} bytes .*; delete it and download it again"),
        (write_umt5, Umt5Text, "it has {size} bytes .*; delete it and download it again"),
        (
            write_pickle,
            lambda folder: load_weights(torch.nn.Linear(2, 1), folder / "weights.pth"),
            r"it has {size} bytes\).*; download scaled_offline\.pth of CoTracker3 again",
        ),
        (write_pickle, lambda folder: read_tensors(folder / "weights.pth"), "cannot be read as plain tensors: .*; fetch it again"),
        (write_diffusers, read_diffusers, "cannot be read as plain tensors: .*; fetch it again"),
    ],
    ids=["depth_anything_v2", "sam2", "clip", "umt5", "cotracker3", "published", "video"],
)  # fmt: skip
def test_a_download_that_broke_off_is_named(
    write: Callable[[Path], Path], load: Load, said: str, left: float, tmp_path: Path
) -> None:
    file = write(tmp_path)
    whole = file.read_bytes()
    kept = whole[: int(left * len(whole)) if left == 0.5 else int(left)]
    file.write_bytes(kept)
    with pytest.raises(MolaError, match=said.format(size=len(kept))) as caught:
        load(tmp_path)
    assert str(file) in str(caught.value)


def test_of_weights_in_the_hubs_cache_the_file_is_named_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    file = tmp_path / "models--someone--model" / "snapshots" / "1" / "model.safetensors"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"half")
    said = said_of_damage("someone/model", SafetensorError("header too small"))
    assert said.startswith(f"{file} is damaged or was not downloaded whole: it has 4 bytes")
