"""Variants of a recipe, each a few lines: the paper's ablations and the baselines.

Every function takes the recipe that it changes, so that ``twin`` and ``full`` are ablated alike. Names on the command line are
``<recipe>.<variant>``, ``twin.flow-depth`` for instance.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

from mola_core.contracts.errors import ConfigError
from mola_core.nets.config import (
    DEPTH,
    FLOW,
    SEMANTIC,
    ArHeadConfig,
    AutoencoderConfig,
    DdpmHeadConfig,
    EdmHeadConfig,
    ImageEncoderConfig,
    KeypointsConfig,
    LanguageConfig,
    MemberConfig,
    PixelTokensConfig,
    SmallVideoConfig,
    WanConfig,
)
from mola_core.training.recipe import AutoencoderStage, CosineSchedule, OptimizerSpec, Recipe
from mola_core.training.recipes.changes import changed

Change = Callable[[Recipe], Recipe]
_SMALLEST_PATCH, _PATCHES_DOWN = 8, 16
"""Of pixels a token: about as many tokens a picture as the full-size video model has cells of features."""
_MEMBERS = {member.name: member for member in (FLOW, DEPTH, SEMANTIC)}


def with_members(*members: MemberConfig) -> Change:
    """Another mixture (tables 5 and 13)."""
    return lambda recipe: changed(recipe, model={"mixture": {"members": [member.model_dump() for member in members]}})


def vpp_like(recipe: Recipe) -> Recipe:
    """No inverse dynamics: video features go straight to the head (first row of table 5)."""
    return changed(recipe, model={"mixture": None}, idm=None)


def single_rgb(recipe: Recipe) -> Recipe:
    """One inverse dynamics model that learns from pictures alone (table 13)."""
    return with_members(MemberConfig(name="rgb", targets=()))(recipe)


def single_multimodal(recipe: Recipe) -> Recipe:
    """One inverse dynamics model and one codebook with all modalities' losses (table 13)."""
    return with_members(MemberConfig(name="all", targets=("semantic", "depth", "flow")))(recipe)


def direct(recipe: Recipe) -> Recipe:
    """The modalities' features go to the head without inverse dynamics or codebook (table 13)."""
    return with_members(*(member.model_copy(update={"bottleneck": "none"}) for member in _MEMBERS.values()))(recipe)


def from_scratch(recipe: Recipe) -> Recipe:
    """MoIDM without pretraining (figure 5)."""
    return changed(recipe, idm=None, policy={"mixture": "from_scratch"})


def frozen(recipe: Recipe) -> Recipe:
    """MoIDM stays as stage II left it (figure 5)."""
    return changed(recipe, policy={"mixture": "frozen"})


def video_steps(number: int) -> Change:
    """Denoising passes when acting (table 10)."""
    return lambda recipe: changed(recipe, acting={"video_steps": number})


def ar_head(recipe: Recipe) -> Recipe:
    """An autoregressive transformer over discretised actions (table 11)."""
    head = ArHeadConfig(dit=recipe.model.head.dit.model_copy(update={"causal": True}))
    return changed(recipe, model={"head": head})


def edm_head(recipe: Recipe) -> Recipe:
    """The same network as an EDM denoiser, as the release trains it."""
    return changed(recipe, model={"head": EdmHeadConfig(dit=recipe.model.head.dit)})


def release(recipe: Recipe) -> Recipe:
    """The action model as it was published: EDM head that masks everything causally, no words, no state."""
    dit = recipe.model.head.dit.model_copy(update={"causal": True, "causal_context": True, "words": False})
    return changed(recipe, model={"head": EdmHeadConfig(dit=dit), "state_size": 0})


def wan(recipe: Recipe) -> Recipe:
    """Wan2.2 5B as imagination, taken as published (table 12): 17 pictures in 5 latent frames, one after the present is the future."""
    frames = 17
    view, offsets = recipe.io.views[0], tuple(range(1, frames))
    language = LanguageConfig(encoder="umt5", length=64, token_width=4096, pooled_width=4096)
    model = {
        "backbone": WanConfig(height=view.height, width=view.width, num_frames=frames),
        "language": language,
        "visual": {"queries_per_frame": 45},
        "mixture": {"tokens": {"future_frame": 2}},
    }
    policy = {"mixture": "from_scratch"}
    return changed(recipe, io={"foresight_offsets": offsets}, model=model, idm=None, policy=policy)


def pixels(recipe: Recipe) -> Recipe:
    """The paper's own interface: inverse dynamics models look at the present and at the decoded imagined frame, through a ViT."""
    mixture = recipe.model.mixture
    if mixture is None:
        raise ConfigError(f"recipe {recipe.name} has no mixture that could look at pixels; derive it from one that has")
    before, view = mixture.tokens, recipe.io.views[0]
    tokens = PixelTokensConfig(
        cameras=before.cameras,
        width=mixture.idm.width,
        patch=max(_SMALLEST_PATCH, view.height // _PATCHES_DOWN),
        depth=mixture.decoders.depth,
        heads=mixture.idm.heads,
        future_frame=before.future_frame,
    )
    idm = (
        None if recipe.idm is None else {"imagined_share": 0.0}
    )  # true frames: what is decoded in stage III is close to them
    return changed(recipe, model={"mixture": {"tokens": tokens}}, idm=idm, policy={"cache_features": False})


def unet(recipe: Recipe) -> Recipe:
    """The small spatio-temporal UNet over a learned autoencoder in place of the stacked one: slower, and generative in earnest."""
    view, frames = recipe.io.views[0], 1 + len(recipe.io.foresight_offsets)
    backbone = SmallVideoConfig(
        height=view.height,
        width=view.width,
        num_frames=frames,
        num_cameras=len(recipe.io.views),
        token_width=recipe.model.language.token_width,
        autoencoder=AutoencoderConfig(widths=(32, 64, 96)),
        widths=(64, 96),
        attention_levels=(1,),
        tap_levels=(1,),
        predict="change",
    )
    autoencoder = AutoencoderStage(
        steps=2_000,
        batch_size=32,
        optimizer=OptimizerSpec(learning_rate=1e-3, weight_decay=1e-4),
        schedule=CosineSchedule(warmup_steps=100),
    )
    video = {"cache_latents": True, "jitter": None}
    tokens = {"patch": 1}
    visual = {"imagined": "whole"} if isinstance(recipe.model.visual, KeypointsConfig) else {}
    model = {"backbone": backbone, "mixture": {"tokens": tokens}, "visual": visual}
    return changed(recipe, model=model, autoencoder=autoencoder, video=video)


def own_encoder(recipe: Recipe) -> Recipe:
    """No imagination at all: the recipe's own head, with its readout loss, on an image encoder of its own (outside baseline)."""
    view, width = recipe.io.views[0], recipe.model.head.dit.width
    encoder = ImageEncoderConfig(height=view.height, width=view.width, token_width=width)
    without = {"backbone": None, "mixture": None, "visual": encoder}
    policy = {"semantic_weight": 0.0, "referred_weight": 0.0}
    return changed(recipe, model=without, autoencoder=None, video=None, idm=None, policy=policy)


def diffusion_policy(recipe: Recipe) -> Recipe:
    """Diffusion Policy with a transformer (Chi et al. 2023; outside baseline): noise prediction, DDIM, one loss, no imagination.

    As published: an encoder for each camera with group norms, learned along; 100 noise levels on the squared-cosine schedule and 16
    DDIM steps. Otherwise: one observed instant in place of two, grid cells read by attention in place of a ResNet's spatial softmax,
    the instruction beside them, for there are many tasks, and other light in place of random crops.
    """
    dit = recipe.model.head.dit.model_copy(update={"state_dropout": 0.0})
    alone = {"readout_weight": 0.0, "openings": None, "reach": None, "state_noise": 0.0}
    return changed(own_encoder(recipe), model={"head": DdpmHeadConfig(dit=dit)}, policy=alone)


@dataclass(frozen=True)
class Variant:
    """A named change."""

    summary: str
    change: Change
    only: str | None = None
    """The one recipe that it makes sense for; None: every one."""

    def applies_to(self, recipe: str) -> bool:
        """Whether ``recipe`` can be changed so."""
        return self.only in {None, recipe}


def _modalities() -> dict[str, Variant]:
    """All combinations of one and two; all three are the recipe itself."""
    found: dict[str, Variant] = {}
    for number in (1, 2):
        for names in combinations(_MEMBERS, number):
            change = with_members(*(_MEMBERS[name] for name in names))
            found["-".join(names)] = Variant(
                f"of the inverse dynamics models only {' and '.join(names)} (table 5)", change
            )
    return found


def _steps() -> dict[str, Variant]:
    return {
        f"video-steps-{number}": Variant(f"{number} denoising passes when acting (table 10)", video_steps(number))
        for number in (2, 10, 20)
    }


VARIANTS: dict[str, Variant] = {
    "vpp-like": Variant("no inverse dynamics: video features straight to the head (table 5)", vpp_like),
    **_modalities(),
    "single-rgb": Variant("one inverse dynamics model that learns from pictures alone (table 13)", single_rgb),
    "single-multimodal": Variant(
        "one inverse dynamics model with all modalities' losses (table 13)", single_multimodal
    ),
    "direct": Variant("the modalities' features to the head, without inverse dynamics (table 13)", direct),
    "from-scratch": Variant("inverse dynamics models without pretraining (figure 5)", from_scratch),
    "frozen": Variant("inverse dynamics models stay as pretrained (figure 5)", frozen),
    **_steps(),
    "ar-head": Variant("autoregressive action tokens (table 11)", ar_head),
    "edm-head": Variant("the head as an EDM denoiser, as the release trains it", edm_head),
    "release": Variant("the action model as it was published, for its weights (mola model import)", release),
    "wan": Variant("Wan2.2 5B as imagination, taken as published (table 12)", wan, only="full"),
    "pixels": Variant("inverse dynamics models look at decoded frames, as the paper writes", pixels),
    "unet": Variant("a generative UNet over a learned autoencoder as imagination", unet),
    "own-encoder": Variant("no imagination: the head on an image encoder of its own (outside baseline)", own_encoder),
    "diffusion-policy": Variant(
        "no imagination: noise prediction, DDIM, one loss (outside baseline)", diffusion_policy
    ),
}
