"""What stage II asks of a mixture: that its latent actions suffice to draw the future."""

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn

from mola_core.nets.config import FeatureTokensConfig
from mola_core.nets.mola import Mola, build_pretraining
from mola_core.nets.tokens import Transition
from mola_core.training.draws import Draws
from mola_core.training.frozen_video import features_at
from mola_core.training.label_targets import known_in, targets_in
from mola_core.training.recipe import IdmStage
from mola_core.training.stage import Batch
from mola_core.training.tensors import as_pictures, instruction_in
from mola_core.training.transitions import mixture_of
from mola_core.training.whole import Whole


class IdmObjective(nn.Module):
    """Reconstruction of the future by every member, and its codebook's commitment."""

    def __init__(self, model: Mola, spec: IdmStage) -> None:
        super().__init__()
        pretraining = build_pretraining(model)
        self.model = model
        self.rgb, self.modalities = pretraining.rgb, pretraining.modalities
        self._pretraining = (
            pretraining,
        )  # in a tuple, and so not registered: its parts are ours already, under one name each
        self._spec = spec

    def sums(self, batch: Batch, draws: Draws) -> dict[str, Tensor]:
        """How many transitions have a future."""
        return {"transitions": batch["mask"].to(draws.device).sum()}

    def forward(self, batch: Batch, draws: Draws, whole: Whole) -> dict[str, Tensor]:
        spec = self._spec
        future = as_pictures(batch["future"])  # B c 3 H W
        size = (future.shape[-2], future.shape[-1])
        imagined = draws.chance("imagined", spec.imagined_share)
        losses = self._pretraining[0].losses(
            self.transition(self._with_features(batch, draws), imagined=imagined),
            future=future,
            labels=targets_in(batch, mixture_of(self.model).decoders, size=size),
            known=known_in(batch, size=size),
            mask=batch["mask"],
            count=whole.count("transitions"),
        )
        total, said = future.new_zeros(()), {}
        weights = {"rgb": spec.rgb_weight, "commitment": spec.commitment_weight}
        for member, terms in losses.items():
            for term, value in terms.items():
                total = total + weights.get(term, spec.modality_weight) * value
                said[f"{member}_{term}"] = value
        return {"loss": total, **said, **self._perplexities(future.device)}

    def _with_features(self, batch: Batch, draws: Draws) -> Batch:
        """What a cache would have held, by the frozen video model; the batch itself where it holds that already."""
        if "window" not in batch:
            return batch
        tokens, spec = mixture_of(self.model).tokens, self._spec
        if not isinstance(tokens, FeatureTokensConfig):
            return batch
        frames, instruction = [tokens.now_frame, tokens.future_frame], instruction_in(batch)
        features: Batch = {}
        with torch.no_grad():
            clean = self.model.encoded(as_pictures(batch["window"]))  # B C T c h w
            noise = draws.normal("features", clean.shape[1:])
            if spec.imagined_share < 1.0:
                true = features_at(self.model, clean, sigma=spec.feature_sigma, instruction=instruction, noise=noise)
                features["true_features"] = true[:, :, frames]
            if spec.imagined_share > 0.0:
                guess = self.model.imagine_from(clean[:, :, 0], instruction=instruction, noise=noise).features
                features["imagined_features"] = guess[:, :, frames]
        return batch | features

    def transition(self, batch: Batch, *, imagined: Bool[Tensor, "B"]) -> Transition:
        """Tokens of both frames; ``imagined`` says for which items the future is an imagined one."""
        if "true_features" not in batch and "imagined_features" not in batch:
            return self._tokens(self._all_cameras(batch["now"]), self._all_cameras(batch["future"]))
        true, guess = batch.get("true_features"), batch.get("imagined_features")
        if true is None or guess is None:
            chosen = (guess if true is None else true).float()  # type: ignore[union-attr]  # one of them is there
        else:
            chosen = torch.where(imagined[:, None, None, None, None, None], guess.float(), true.float())
        return self._tokens(chosen[:, :, 0], chosen[:, :, 1])

    def _tokens(self, now: Float[Tensor, "B C D y x"], future: Float[Tensor, "B C D y x"]) -> Transition:
        """Of features (F h w) or pixels (3 H W)."""
        if self.model.tokens is None:
            raise ValueError("a model without a mixture looks at no transition")
        transition: Transition = self.model.tokens(now, future)
        return transition

    def _all_cameras(self, frames: UInt8[Tensor, "B c H W 3"]) -> Float[Tensor, "B C 3 H W"]:
        """Pictures of the tokens' cameras at their numbers among all cameras."""
        config = mixture_of(self.model).tokens
        pictures = as_pictures(frames)
        every = pictures.new_zeros(pictures.shape[0], self.model.config.num_cameras, *pictures.shape[2:])
        every[:, list(config.cameras)] = pictures
        return every

    def drawn(self, batch: Batch, *, imagined: bool) -> dict[str, dict[str, Float[Tensor, "B c _ H W"]]]:
        """What each member draws of the future, by ``rgb`` and modality."""
        batch = self._with_features(batch, Draws(seed=0, places=range(len(batch["mask"])), device=batch["mask"].device))
        where = torch.full((len(batch["mask"]),), imagined, device=batch["mask"].device)
        return self._pretraining[0].pictures(self.transition(batch, imagined=where))

    def _perplexities(self, device: torch.device) -> dict[str, Tensor]:
        if self.model.mixture is None:
            return {}
        usage = self.model.mixture.code_usage()
        return {f"{name}_perplexity": torch.tensor(codes.perplexity, device=device) for name, codes in usage.items()}
