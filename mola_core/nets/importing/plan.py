"""A plan of import: for each of our names, where it comes from. Nothing may be left over, missing, or of another shape."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from mola_core.contracts.errors import MolaError


class ImportRefusedError(MolaError):
    """Published weights that do not fit: a name is missing or unknown, a shape differs, or the file is none of the published kinds."""

    exit_code = 2


@dataclass(frozen=True)
class Taken:
    """A tensor of the source, perhaps changed on the way."""

    source: str
    change: Callable[[Tensor], Tensor] | None = None


@dataclass(frozen=True)
class Made:
    """A tensor that the source does not have and that has one right value."""

    value: Tensor


@dataclass(frozen=True)
class Plan:
    entries: Mapping[str, Taken | Made]
    """By our name."""
    dropped: tuple[str, ...] = ()
    """What names of the source begin with that are known and not needed."""

    def within(self, *, source: str, target: str) -> "Plan":
        """The same one storey deeper on both sides; prefixes with their dot."""
        entries = {
            target + name: Taken(source + entry.source, entry.change) if isinstance(entry, Taken) else entry
            for name, entry in self.entries.items()
        }
        return Plan(entries=entries, dropped=tuple(source + name for name in self.dropped))

    def joined(self, other: "Plan") -> "Plan":
        """Both, for a source that holds both."""
        return Plan(entries={**self.entries, **other.entries}, dropped=self.dropped + other.dropped)


def layer(ours: str, theirs: str, *, bias: bool = True) -> dict[str, Taken | Made]:
    """Weight, and bias where there is one, under new names."""
    parts = ("weight", "bias") if bias else ("weight",)
    return {f"{ours}.{part}": Taken(f"{theirs}.{part}") for part in parts}


def translated(
    weights: Mapping[str, Tensor], plan: Plan, *, shapes: Mapping[str, tuple[int, ...]], where: str
) -> dict[str, Tensor]:
    """``weights`` of the source under our names.

    Raises:
        ImportRefusedError: names the first missing, unknown or differently shaped tensors.
    """
    used = {entry.source for entry in plan.entries.values() if isinstance(entry, Taken)}
    missing = sorted(used - weights.keys())
    unknown = sorted(name for name in weights.keys() - used if not name.startswith(plan.dropped))
    for names, what in ((missing, "lacks"), (unknown, "has unknown")):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise ImportRefusedError(
                f"{where} {what} {', '.join(names[:3])}{more}; it is not the file this was written for, or of another size"
            )
    result = {}
    for name, entry in plan.entries.items():
        value = _value(entry, weights)
        if name not in shapes or tuple(value.shape) != tuple(shapes[name]):
            source = entry.source if isinstance(entry, Taken) else "a constant"
            wanted = shapes.get(name, "no such tensor")
            raise ImportRefusedError(f"{where}: {source} has shape {tuple(value.shape)}, {name} needs {wanted}")
        result[name] = value
    return result


def _value(entry: Taken | Made, weights: Mapping[str, Tensor]) -> Tensor:
    if isinstance(entry, Made):
        return entry.value
    value = weights[entry.source]
    return value if entry.change is None else entry.change(value)
