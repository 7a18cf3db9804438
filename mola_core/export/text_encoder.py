"""A text encoder that a bundle takes along: its tokenizer, one more graph, and what torch makes of a few sentences."""

from pathlib import Path

import onnx
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from mola_core.contracts.bundle import BundledLanguageRecord, ParityRecord
from mola_core.contracts.errors import ConfigError
from mola_core.export.errors import ExportError
from mola_core.export.graph_module import GraphModule
from mola_core.export.onnx import export_stage
from mola_core.export.reference import SENTENCES
from mola_core.nets.config import LanguageConfig
from mola_core.nets.language import CLIP_NAME, ClipText, require_widths
from mola_core.runtime import stages
from mola_core.runtime.engines.loading import EngineSource
from mola_core.runtime.engines.onnxruntime import OnnxRuntimeCpu
from mola_core.runtime.exported_text import ATTENDED, TOKEN_IDS, WEIGHTS_DIGEST, token_arrays
from mola_core.runtime.golden import Golden, parity_of, require_parity, write_golden
from mola_core.runtime.language import require_option
from mola_core.runtime.tensors import TensorSpec

GRAPH, TOKENIZER, GOLDEN = "onnx/language.onnx", "language/tokenizer.json", "golden/language.safetensors"
"""In the bundle."""


class TextModule(GraphModule):
    """token_ids, attended → instruction_tokens, instruction_pooled."""

    causal: Tensor

    def __init__(self, text: ClipText) -> None:
        super().__init__()
        self.model = text.model
        length = text.length
        self.inputs = (TensorSpec(TOKEN_IDS, (length,), "int64"), TensorSpec(ATTENDED, (length,), "bool"))
        self.outputs = (stages.TOKENS, stages.POOLED)
        self.register_buffer("causal", torch.ones(length, length, dtype=torch.bool).tril(), persistent=False)

    def forward(
        self, token_ids: Int[Tensor, "L"], attended: Bool[Tensor, "L"]
    ) -> tuple[Float[Tensor, "L D"], Float[Tensor, "P"]]:
        # the whole mask is given: what transformers makes of a shorter one depends on the values, which a graph cannot
        seen = self.causal & attended[None, :]  # L L
        added = torch.zeros(seen.shape).masked_fill(~seen, torch.finfo(torch.float32).min)
        out = self.model(input_ids=token_ids[None], attention_mask=added[None, None])
        return out.last_hidden_state[0], out.text_embeds[0]


def text_to_take(config: LanguageConfig, *, weights: Path | None) -> ClipText | None:
    """The encoder that a bundle of such a model takes along; None where every robot has it installed.

    Raises:
        ConfigError: ``weights`` are not needed, or are no folder.
        ExportError: ``weights`` are needed or of another encoder; or the encoder cannot be taken along.
    """
    require_option(config.encoder, weights=weights)
    if config.encoder == "minilm":
        return None
    if config.encoder != "clip":
        raise ExportError(
            f"the model's sentence encoder is {config.encoder}, which no bundle can take along; minilm and clip can be exported"
        )
    if weights is None:
        raise ExportError(
            "the model's sentence encoder is clip, which the bundle takes along; "
            f"give the folder of the weights of {CLIP_NAME}: --language-weights FOLDER"
        )
    return _clip(config, weights=weights)


def _clip(config: LanguageConfig, *, weights: Path) -> ClipText:
    try:
        text = ClipText(weights, length=config.length)
        require_widths(text, config)
    except ConfigError as error:
        raise ExportError(f"--language-weights {weights}: {error}") from error
    return text


def write_text(text: ClipText, folder: Path) -> Path:
    """Put graph, tokenizer and golden tensors into the draft; the path of the graph.

    Raises:
        ExportError: the encoder does not export.
    """
    golden = _golden(text, SENTENCES[0])
    export_stage(TextModule(text), folder / GRAPH, example=golden.inputs)
    (folder / TOKENIZER).parent.mkdir()
    (folder / TOKENIZER).write_text(text.tokenizer.to_str(), encoding="utf-8")
    write_golden(folder / GOLDEN, golden)
    return folder / GRAPH


def record_text(text: ClipText, folder: Path, *, check: bool) -> BundledLanguageRecord:
    """What the manifest says of it, once the weights of all graphs have found their place; compared with torch where ``check``.

    Raises:
        BundleError: the graph is not what torch computes.
    """
    # only now: a graph forgets what it says of itself when its weights move
    graph = onnx.load(folder / GRAPH, load_external_data=False)
    onnx.helper.set_model_props(graph, {WEIGHTS_DIGEST: text.weights_digest})
    onnx.save(graph, folder / GRAPH)
    return BundledLanguageRecord(
        encoder="clip",
        digest=text.digest,
        length=text.length,
        graph=GRAPH,
        tokenizer=TOKENIZER,
        golden=GOLDEN,
        parity=_parity(text, folder / GRAPH) if check else None,
    )


def _golden(text: ClipText, sentence: str) -> Golden:
    encoded = text.encode(sentence)
    return Golden(
        inputs=token_arrays(text.tokenizer, sentence),
        outputs={stages.TOKENS: encoded.tokens, stages.POOLED: encoded.pooled},
    )


def _parity(text: ClipText, graph: Path) -> ParityRecord:
    """The worst over a few sentences."""
    with OnnxRuntimeCpu(EngineSource(name="language", path=graph, device="cpu")) as engine:
        records = [parity_of(engine, _golden(text, sentence)) for sentence in SENTENCES]
    worst = ParityRecord(
        cosine=min(record.cosine for record in records),
        max_abs=max(record.max_abs for record in records),
        codes_equal=True,  # it has none
    )
    require_parity(worst, precision="fp32", what="the graph of language")
    return worst
