import json

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from mola_core.cli import main
from mola_core.contracts.errors import ConfigError
from mola_core.nets.config import PixelTokensConfig
from mola_core.nets.mola import build_mola
from mola_core.training.naming import all_but, under
from mola_core.training.recipe import CosineSchedule, OptimizerSpec, PolicyStage
from mola_core.training.recipes import recipe_named, recipe_names
from mola_core.training.recipes.changes import changed, with_settings
from mola_core.training.recipes.full import PAPER_STAGE_1


def test_every_name_gives_a_recipe_that_is_called_so() -> None:
    for name in recipe_names():
        assert recipe_named(name).name == name


@pytest.mark.parametrize("name", [name for name in recipe_names() if name.startswith("twin-tiny")])
def test_every_variant_describes_a_model_that_can_be_built(name: str) -> None:
    recipe = recipe_named(name)
    with FakeTensorMode():
        model = build_mola(recipe.model)
    assert (model.mixture is None) == (recipe.model.mixture is None)


def test_the_full_recipe_trains_as_the_paper_and_the_release_say() -> None:
    recipe = recipe_named("full")
    assert (recipe.video.steps, recipe.video.batch_size) == (500_000, 6 * 8)
    assert (recipe.video.optimizer.learning_rate, recipe.video.optimizer.weight_decay) == (5e-6, 0.0)
    assert (recipe.video.log_sigma_mean, recipe.video.log_sigma_std, recipe.video.text_dropout) == (0.7, 1.6, 0.05)
    assert (recipe.idm.epochs, recipe.idm.batch_size, recipe.idm.schedule.warmup_steps) == (20, 256, 1000)
    assert (recipe.policy.batch_size, recipe.policy.commitment_weight) == (32, 0.1)
    assert recipe.policy.optimizer.betas == (0.9, 0.9)


def test_the_papers_mixture_has_its_table() -> None:
    assert sum(PAPER_STAGE_1.values()) == 322_361
    parts = recipe_named("full").mixture
    assert {part.dataset: part.weight for part in parts} == PAPER_STAGE_1


def test_settings_lead_inside_and_are_checked() -> None:
    recipe = with_settings(recipe_named("twin-tiny"), ["video.steps=7", "model.head.steps=3", "policy.precision=fp32"])
    assert (recipe.video.steps, recipe.model.head.steps, recipe.policy.precision) == (7, 3, "fp32")
    assert recipe.video.batch_size == recipe_named("twin-tiny").video.batch_size


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("video.stepz=7", "has no setting 'video.stepz'; did you mean 'video.steps'"),
        ("video.steps=-1", "video.steps: Input should be greater than or equal to 1"),
        ("video.steps", "a setting is written key=value"),
        ("video.cache_latents=true", "set cache_latents=false"),
        ("io.horizon=9", "model.horizon is 16, io asks for 9"),
        ("policy.epochs=3", "give steps or epochs, and not both"),
        ("policy.accumulate=5", "batch_size 96 is not a multiple of accumulate 5"),
        ("model.backbone.num_frames=4", "imagines 4 frames, io has 3"),
        ("model.backbone.width=96", "view third_person is 80 x 48, the backbone sees 96 x 48"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(setting: str, message: str) -> None:
    recipe = recipe_named("twin-tiny")
    with pytest.raises(ConfigError, match=message):
        with_settings(recipe, [setting])


def test_a_number_of_groups_that_no_network_would_have_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"norm_groups: Input should be 32"):
        with_settings(recipe_named("full"), ["model.backbone.norm_groups=16"])
    assert with_settings(recipe_named("full"), ["model.backbone.norm_groups=32"]) == recipe_named("full")


def test_the_hint_at_all_settings_is_a_command_that_exists(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(
        ConfigError, match="has no setting 'zzzz'; mola train recipes twin-tiny shows them all"
    ) as caught:
        with_settings(recipe_named("twin-tiny"), ["zzzz=1"])
    command = str(caught.value).partition("; mola ")[2].removesuffix(" shows them all")
    assert main(command.split()) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "twin-tiny"


def test_a_part_of_another_kind_takes_the_place_of_the_whole_part() -> None:
    tiny = recipe_named("twin-tiny")
    tokens = with_settings(tiny, ['model.mixture.tokens={"kind":"pixels","future_frame":2}']).model.mixture.tokens
    assert tokens == PixelTokensConfig(future_frame=2)
    settings = ["model.mixture.tokens.kind=pixels", "model.mixture.tokens.depth=2"]
    assert with_settings(tiny, settings).model.mixture.tokens == PixelTokensConfig(depth=2)
    assert with_settings(tiny, settings[::-1]).model.mixture.tokens == PixelTokensConfig(depth=2)
    with pytest.raises(ConfigError, match=r"pixels\.now_frame: Extra inputs are not permitted"):
        with_settings(tiny, [*settings, "model.mixture.tokens.now_frame=1"])
    same = with_settings(tiny, ['model.mixture.tokens={"kind":"features","patch":4}']).model.mixture.tokens
    assert same == tiny.model.mixture.tokens.model_copy(update={"patch": 4}), "of the same kind the rest stays"


def test_pixels_look_at_the_frames_that_features_were_of() -> None:
    for name in ("twin-tiny", "twin", "full"):
        before, after = recipe_named(name), recipe_named(f"{name}.pixels")
        tokens, features = after.model.mixture.tokens, before.model.mixture.tokens
        assert (tokens.kind, tokens.cameras, tokens.future_frame) == ("pixels", features.cameras, features.future_frame)
        assert after.idm.imagined_share == 0.0
        assert not after.policy.cache_features


def test_diffusion_policy_has_one_loss_and_no_imagination() -> None:
    recipe = recipe_named("twin.diffusion-policy")
    assert (recipe.model.backbone, recipe.model.mixture, recipe.idm, recipe.video) == (None, None, None, None)
    assert (recipe.model.head.kind, recipe.model.head.levels, recipe.model.head.steps) == ("ddpm", 100, 16)
    policy = recipe.policy
    assert (policy.readout_weight, policy.semantic_weight, policy.referred_weight, policy.openings) == (0, 0, 0, None)
    assert recipe_named("twin.own-encoder").model.head == recipe_named("twin").model.head


def test_an_unknown_recipe_suggests_the_nearest() -> None:
    with pytest.raises(ConfigError, match="there is no recipe 'twin-tinny'; did you mean 'twin-tiny'"):
        recipe_named("twin-tinny")
    with pytest.raises(ConfigError, match=r"did you mean 'twin\.vpp-like'"):
        recipe_named("twin.vpplike")


def test_a_part_can_be_replaced_or_taken_out() -> None:
    spec = PolicyStage(
        steps=1, batch_size=2, optimizer=OptimizerSpec(learning_rate=1e-3), schedule=CosineSchedule(warmup_steps=3)
    )
    recipe = changed(recipe_named("twin-tiny"), policy=spec, idm=None)
    assert (recipe.policy, recipe.idm) == (spec, None)


def test_all_but_names_the_fewest_parts() -> None:
    module = torch.nn.ModuleDict(
        {
            "a": torch.nn.Linear(2, 2),
            "b": torch.nn.ModuleDict({"c": torch.nn.Linear(2, 2), "d": torch.nn.Linear(2, 2)}),
        }
    )
    assert all_but(module, ["b.c"]) == ("a", "b.d")
    assert all_but(module, ["b"]) == ("a",)
    assert all_but(module, []) == ("a", "b")
    assert set(under(module.state_dict(), "b.c")) == {"weight", "bias"}
