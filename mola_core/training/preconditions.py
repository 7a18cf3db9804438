"""What all stages of a call will need of the data, looked for before the first of them begins, without decoding a dataset."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from mola_core.contracts.errors import ConfigError
from mola_core.data.errors import DataError
from mola_core.data.opening import open_episodes
from mola_core.data.sample import WindowSpec
from mola_core.data.sources.protocol import EpisodeSource
from mola_core.data.views import may_enlarge
from mola_core.data.windows import WindowedSource
from mola_core.nets.config import FeatureTokensConfig
from mola_core.training.cell_reader import asked_of_cells
from mola_core.training.datasets import one_picture, require_period
from mola_core.training.demonstrations import policy_window
from mola_core.training.label_checks import require_drawable, require_flow, require_labels, require_sayable
from mola_core.training.openings import require_openings
from mola_core.training.recipe import IdmStage, MixturePart, Recipe, VideoStage
from mola_core.training.transitions import transition_window, wanted_labels


def require_data(recipe: Recipe, stages: Sequence[str], *, data: Mapping[str, Path], skip_bad: bool = False) -> None:
    """Refuse data that a later stage could not use, while nothing has been spent. All numbers of the demonstrations are read once.
    Bad files of foreign datasets are refused, too, unless ``skip_bad`` leaves them out.

    Raises:
        ConfigError: a dataset whose place has not been said, or that does not go with a stage's settings.
        ContractMismatchError: demonstrations made under another contract.
        DataError: no dataset at a place, pictures that cannot be read or are too small, too short episodes, numbers that are missing
            or not finite (named with episode, row and column), or labels that a stage needs are not there.
    """
    demonstrations = recipe.demonstrations or recipe.mixture
    early = [stage for stage in stages if stage != "policy"]
    needed = [*(recipe.mixture if early else ()), *(demonstrations if "policy" in stages else ())]
    missing = [name for name in dict.fromkeys(part.dataset for part in needed) if name not in data]
    if missing:
        raise ConfigError(
            f"recipe {recipe.name} needs the datasets {', '.join(missing)}; say where they lie: "
            f"{' '.join(f'--data {name}=PATH' for name in missing)}"
        )
    names = dict.fromkeys(part.dataset for part in needed)
    sources = {name: open_episodes(data[name], name=name, skip_bad=skip_bad) for name in names}
    for source in sources.values():
        _samples(source, one_picture(recipe.io), recipe).batch([0])  # the first picture stands for all
    if "policy" in stages:
        _require_demonstrations(recipe, demonstrations, sources)
    for part in recipe.mixture if early else ():
        source = sources[part.dataset]
        if "video" in stages and recipe.video is not None:
            _require_windows(recipe.video, source, recipe)
        if "idm" in stages and recipe.idm is not None:
            _require_transitions(recipe.idm, part, source, recipe)


def _require_windows(spec: VideoStage, source: EpisodeSource, recipe: Recipe) -> None:
    _samples(source, WindowSpec.of(recipe.io, pictures_only=True), recipe)
    if spec.cache_latents:
        _require_period(source, recipe, instead="video.cache_latents=false")


def _require_transitions(spec: IdmStage, part: MixturePart, source: EpisodeSource, recipe: Recipe) -> None:
    mixture = recipe.model.mixture
    if mixture is None:
        return
    window = transition_window(spec, recipe.io, mixture)
    samples = _samples(source, window, recipe)
    if spec.cache_features and spec.imagined_share < 1.0 and isinstance(mixture.tokens, FeatureTokensConfig):
        _require_period(source, recipe, instead="idm.cache_features=false")
    labels = require_labels(part, source, wanted_labels(mixture), cameras=window.labelled_cameras)
    require_drawable(labels, mixture)
    require_flow(labels, offsets=[samples.row_offsets[frame] for frame in window.labelled_frames[1:]])


def _require_demonstrations(
    recipe: Recipe, demonstrations: Sequence[MixturePart], sources: Mapping[str, EpisodeSource]
) -> None:
    for part in demonstrations:
        source = sources[part.dataset]
        source.contract.require(recipe.io.contract, what=f"dataset {source.path}", where=f"recipe {recipe.name}")
        asked = tuple(asked_of_cells(recipe.policy))
        if asked:
            require_sayable(require_labels(part, source, asked, cameras=[view.camera for view in recipe.io.views]))
    samples = [_samples(sources[part.dataset], policy_window(recipe.io), recipe) for part in demonstrations]
    openings = recipe.policy.openings
    if openings is not None:
        counts = [int((each.index[:, 1] < openings.rows).sum()) for each in samples]
        require_openings(counts, rows=openings.rows)
    for name in dict.fromkeys(part.dataset for part in demonstrations):
        _require_numbers(sources[name])


def _require_numbers(source: EpisodeSource) -> None:
    """Read the numbers of every episode, one in memory at a time; the source itself refuses what is not finite."""
    for episode, header in enumerate(source.episodes):
        numbers = source.numbers(episode)
        states, actions = len(numbers.state), len(numbers.action)
        if (states, actions) != (header.length, header.length):
            raise DataError(
                f"{source.path}, episode {episode}: {states} states and {actions} actions for {header.length} frames; repair it"
            )


def _samples(source: EpisodeSource, window: WindowSpec, recipe: Recipe) -> WindowedSource:
    """The training split under ``window``, without its labels.

    Raises:
        DataError: no camera of the window, or no episode long enough.
    """
    return WindowedSource(
        source,
        window.model_copy(update={"labels": ()}),
        cache_folder=None,
        split="train",
        validation_share=recipe.validation_share,
        offset_period_ns=recipe.io.contract.period_ns,
        may_enlarge=may_enlarge(source.contract, recipe.io.contract),
    )


def _require_period(source: EpisodeSource, recipe: Recipe, *, instead: str) -> None:
    require_period(source.contract.period_ns, recipe.io, name=source.name, instead=instead)
