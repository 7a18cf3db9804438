"""Rollouts on disk, one JSON line each, so that an interrupted campaign goes on where it was.

The first line holds the conditions; a file under other conditions is refused. A last line cut short by a kill is dropped and
its rollout runs again.
"""

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mola_core.cli.report import git_state
from mola_core.evaluation.conditions import Conditions
from mola_core.evaluation.errors import EvaluationError
from mola_core.evaluation.rollout import Rollout

FORMAT = 1


class ResultsFile:
    """Results of one campaign. Not thread-safe."""

    def __init__(self, path: Path, conditions: Conditions) -> None:
        self.path = path
        self._conditions = conditions
        self.rollouts: dict[tuple[str, int], Rollout] = {}

    def open(self) -> None:
        """Read what is there, or begin the file.

        Raises:
            EvaluationError: the file holds results under other conditions, or is no file of results.
        """
        if not self.path.exists() or not self.path.stat().st_size:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            header = {"format": FORMAT, "conditions": asdict(self._conditions), "git": git_state()}
            self.path.write_text(json.dumps(header) + "\n", encoding="utf-8")
            return
        text = self.path.read_text(encoding="utf-8")
        lines = text.splitlines()
        self._check(lines[0])
        for number, line in enumerate(lines[1:], start=2):
            last = number == len(lines)
            record = self._record(line, number=number, may_be_torn=last and not text.endswith("\n"))
            if record is not None:
                self.rollouts[record.task, record.seed] = record
        self._drop_torn_line(text)

    def add(self, rollout: Rollout) -> None:
        """Append one, on disk before this returns."""
        self.rollouts[rollout.task, rollout.seed] = rollout
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(rollout)) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def _check(self, line: str) -> None:
        try:
            header = json.loads(line)
            conditions = Conditions(**header["conditions"])
        except (ValueError, KeyError, TypeError) as error:
            raise EvaluationError(f"{self.path} is not a file of rollouts ({error}); choose another --out") from error
        if conditions != self._conditions:
            ours, theirs = asdict(self._conditions), asdict(conditions)
            parts = [f"{name} {theirs[name]!r} against {ours[name]!r}" for name in ours if ours[name] != theirs[name]]
            raise EvaluationError(
                f"{self.path} holds results under other conditions: {'; '.join(parts)}; choose another --out"
            )

    def _record(self, line: str, *, number: int, may_be_torn: bool) -> Rollout | None:
        try:
            fields: dict[str, Any] = json.loads(line)
            return Rollout(**fields)
        except (ValueError, TypeError) as error:
            if may_be_torn:
                return None
            raise EvaluationError(f"{self.path}, line {number}, is not a rollout ({error}); delete the line") from error

    def _drop_torn_line(self, text: str) -> None:
        if not text.endswith("\n"):
            self.path.write_text(text[: text.rfind("\n") + 1], encoding="utf-8")
