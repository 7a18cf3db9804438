"""What a launch file's attributes mean at one moment of its execution."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mola_core.contracts.errors import ConfigError
from mola_core.launching.errors import LaunchFileError, Location, nearest
from mola_core.launching.expressions import evaluate_expression
from mola_core.launching.packages import package_prefix, package_share
from mola_core.launching.substitutions import Substitution, Template


@dataclass(slots=True)
class LaunchContext:
    """Launch configurations and environment, which elements change one after the other."""

    configurations: dict[str, str]
    environment: dict[str, str]
    directory: Path | None
    """Directory of the current file. None from its first ``<include>`` on: the releases of ROS 2 Jazzy disagree whether
    ``$(dirname)`` then names the including or the included file's directory, so neither is offered."""

    def scope(self) -> tuple[dict[str, str], dict[str, str]]:
        """A copy of what a scoped group puts back at its end."""
        return dict(self.configurations), dict(self.environment)

    def restore(self, scope: tuple[dict[str, str], dict[str, str]]) -> None:
        self.configurations, self.environment = scope


@dataclass(frozen=True, slots=True)
class Text:
    """An attribute's value, possibly with substitutions, and where it stands."""

    where: Location
    attribute: str
    template: Template
    source: str = ""
    """As it is written."""

    def evaluate(self, context: LaunchContext) -> str:
        """The value now.

        Raises:
            LaunchFileError: a substitution is unknown, has the wrong number of arguments, or cannot be resolved.
        """
        try:
            return _evaluate(self.template, context)
        except LaunchFileError:
            raise
        except (ConfigError, ValueError) as error:
            raise self.error(str(error)) from error

    def error(self, problem: str) -> LaunchFileError:
        return LaunchFileError(self.where, f"attribute {self.attribute!r}: {problem}")


def _evaluate(template: Template, context: LaunchContext) -> str:
    return "".join(part if isinstance(part, str) else _substitute(part, context) for part in template)


def _substitute(substitution: Substitution, context: LaunchContext) -> str:
    if substitution.name not in _SUBSTITUTIONS:
        raise ValueError(f"unknown substitution $({substitution.name} …); {nearest(substitution.name, _SUBSTITUTIONS)}")
    counts, resolve = _SUBSTITUTIONS[substitution.name]
    if len(substitution.arguments) not in counts:
        wanted = " or ".join(map(str, counts))
        raise ValueError(
            f"$({substitution.name} …) takes {wanted} argument(s), got {len(substitution.arguments)}; "
            "an argument that holds spaces must be quoted"
        )
    return resolve(substitution.arguments, context)


def _variable(arguments: tuple[Template, ...], context: LaunchContext) -> str:
    name = _evaluate(arguments[0], context)
    if name in context.configurations:
        return context.configurations[name]
    if len(arguments) == 2:
        return _evaluate(arguments[1], context)
    raise ValueError(f"$(var {name}) is not set; {nearest(name, context.configurations)}")


def _environment_variable(arguments: tuple[Template, ...], context: LaunchContext) -> str:
    name = _evaluate(arguments[0], context)
    if name in context.environment:
        return context.environment[name]
    if len(arguments) == 2:
        return _evaluate(arguments[1], context)
    raise ValueError(f"environment variable {name!r} is not set; export it, or give a default: $(env {name} default)")


def _find_share(arguments: tuple[Template, ...], context: LaunchContext) -> str:
    return str(package_share(_evaluate(arguments[0], context), environment=context.environment))


def _find_prefix(arguments: tuple[Template, ...], context: LaunchContext) -> str:
    return str(package_prefix(_evaluate(arguments[0], context), environment=context.environment))


def _directory_name(arguments: tuple[Template, ...], context: LaunchContext) -> str:
    del arguments
    if context.directory is None:
        raise ValueError(
            "$(dirname) within or after an <include> means different directories in different releases of ROS 2; "
            "keep it in a <let> before the <include>, or use $(find-pkg-share …)"
        )
    return str(context.directory)


def _expression(arguments: tuple[Template, ...], context: LaunchContext) -> str:
    modules = _evaluate(arguments[1], context) if len(arguments) == 2 else "math"
    if modules.strip() != "math":
        raise ValueError(f"$(eval) imports no module but math, got {modules!r}")
    return evaluate_expression(_evaluate(arguments[0], context))


_Resolve = Callable[[tuple[Template, ...], LaunchContext], str]
_SUBSTITUTIONS: dict[str, tuple[tuple[int, ...], _Resolve]] = {
    "var": ((1, 2), _variable),
    "env": ((1, 2), _environment_variable),
    "find-pkg-share": ((1,), _find_share),
    "find-pkg-prefix": ((1,), _find_prefix),
    "dirname": ((0,), _directory_name),
    "eval": ((1, 2), _expression),
}
