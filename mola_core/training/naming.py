"""Parts of a module by name: what to freeze, and what to take from another checkpoint."""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from mola_core.training.stage import is_under


def all_but(module: nn.Module, keep: Sequence[str]) -> tuple[str, ...]:
    """The fewest names of submodules and parameters that cover everything outside of ``keep``."""
    return tuple(_outside(module, "", keep))


def _outside(module: nn.Module, prefix: str, keep: Sequence[str]) -> list[str]:
    found = [prefix + name for name, _ in module.named_parameters(recurse=False) if not is_under(prefix + name, keep)]
    for name, child in module.named_children():
        path = prefix + name
        if is_under(path, keep):
            continue
        if any(is_under(kept, [path]) for kept in keep):
            found += _outside(child, f"{path}.", keep)
        else:
            found.append(path)
    return found


def under(weights: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Those inside ``prefix``, by their names there."""
    return {name.removeprefix(f"{prefix}."): value for name, value in weights.items() if name.startswith(f"{prefix}.")}
