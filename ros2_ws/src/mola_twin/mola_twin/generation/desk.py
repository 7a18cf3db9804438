"""Where a generation keeps what it has done until the dataset is complete: ``<dataset>.generation/`` beside the writer's own folder.

``plan.json`` says what is being made, ``failed/`` which episodes did not succeed, ``labels/`` holds the labels by the episodes' keys.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import ValidationError

from mola_core.contracts.errors import ConfigError
from mola_core.data.labels.info import LabelInfo
from mola_core.data.labels.store import LabelFolder
from mola_core.data.lerobot.reader import LeRobotReader
from mola_core.data.lerobot.writer import LeRobotWriter
from mola_twin.generation.demonstration import FailedEpisode
from mola_twin.generation.plan import Assignment, GenerationPlan

SUMMARY = Path("meta") / "generation.json"


class GenerationDesk:
    """The state of one generation on disk; any number of processes may share it."""

    def __init__(self, dataset: Path, plan: GenerationPlan) -> None:
        self.dataset = dataset
        self.plan = plan
        self._folder = dataset.with_name(f"{dataset.name}.generation")

    def begin(self) -> None:
        """Start, or go on where an earlier run of the same plan stopped.

        Raises:
            ConfigError: another plan has been begun here.
            DatasetError: the dataset exists already.
        """
        path = self._folder / "plan.json"
        if path.exists() and _read_plan(path) != self.plan:
            raise ConfigError(
                f"{self._folder} was begun with another plan; repeat its arguments (plan.json) or delete it"
            )
        if not self.complete:
            self.writer()
        for name in ("failed", "labels"):
            (self._folder / name).mkdir(parents=True, exist_ok=True)
        path.write_text(self.plan.model_dump_json(indent=1), encoding="utf-8")

    @property
    def complete(self) -> bool:
        """Whether an earlier run had only its labels left to put in place."""
        return self.dataset.exists() and (self._folder / "plan.json").exists()

    def writer(self) -> LeRobotWriter:
        """A writer that goes on in the common staging folder."""
        plan = self.plan
        size = (plan.view_width, plan.view_height)
        cameras = dict.fromkeys(plan.cameras, size)
        return LeRobotWriter(self.dataset, contract=plan.contract, cameras=cameras, resume=True)

    def left(self) -> Iterator[Assignment]:
        """Episodes not done yet."""
        done = set(self.writer().staged_keys) | {path.stem for path in (self._folder / "failed").iterdir()}
        return (one for one in self.plan.episodes() if one.key not in done)

    def note_failure(self, failure: FailedEpisode) -> None:
        """Remember an episode that is left out."""
        content = {"task": failure.assignment.task, "seed": failure.assignment.seed, "outcome": failure.outcome}
        path = self._folder / "failed" / f"{failure.assignment.key}.json"
        scratch = path.with_suffix(".new")
        scratch.write_text(json.dumps(content), encoding="utf-8")
        scratch.rename(path)

    def failures(self) -> list[Mapping[str, object]]:
        """All episodes left out, and why."""
        paths = sorted((self._folder / "failed").glob("*.json"))
        return [json.loads(path.read_text(encoding="utf-8")) for path in paths]

    def labels_path(self, assignment: Assignment) -> Path:
        """Where an episode's labels wait."""
        return self._folder / "labels" / f"{assignment.key}.safetensors"

    def finish(self, info: LabelInfo | None) -> LeRobotReader:
        """Make the dataset of what is staged, its labels under ``info``, and clear the desk."""
        reader = LeRobotReader(self.dataset) if self.complete else self.writer().finalize()
        if info is not None:
            folder = LabelFolder(self.dataset, teacher=info.teacher)
            folder.begin(info)
            for entry in reader.episodes:
                self._place_labels(folder, key=str(entry.meta["key"]), episode=entry.index)
        summary = {"plan": self.plan.model_dump(mode="json"), "failed": self.failures()}
        (self.dataset / SUMMARY).write_text(json.dumps(summary, indent=1), encoding="utf-8")
        shutil.rmtree(self._folder)
        return reader

    def _place_labels(self, folder: LabelFolder, *, key: str, episode: int) -> None:
        source, target = self._folder / "labels" / f"{key}.safetensors", folder.episode_path(episode)
        if source.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            source.rename(target)


def read_summary(dataset: Path) -> GenerationPlan:
    """The plan that a finished dataset was made by. OSError, ValueError or KeyError where it has none."""
    content = json.loads((dataset / SUMMARY).read_text(encoding="utf-8"))
    return GenerationPlan.model_validate(content["plan"])


def _read_plan(path: Path) -> GenerationPlan:
    try:
        return GenerationPlan.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise ConfigError(
            f"{path} is no plan of a generation: {error.errors()[0]['msg']}; delete {path.parent}"
        ) from error
