"""Which arguments a launch file takes, found by reading it and what it includes without executing either.

As with ``ros2 launch`` this looks everywhere, also behind conditions that do not hold. An included file whose path cannot be
known beforehand is not looked into, and then no argument can be called unknown.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from mola_core.contracts.errors import ConfigError
from mola_core.launching.context import LaunchContext
from mola_core.launching.description import Action, DeclareArgument, Description, Group, Include, Let
from mola_core.launching.errors import LaunchArgumentError, LaunchFileError, nearest
from mola_core.launching.loading import included_description

_DEEPEST_INCLUDE = 32


@dataclass(frozen=True, slots=True)
class Declaration:
    """An ``<arg>`` found somewhere."""

    argument: DeclareArgument
    conditional: bool
    """It has a condition, or the group directly around it has one; upstream looks no further either."""
    passed: bool
    """An include on the way to it gives it, so that the caller's value would not arrive."""

    @property
    def required(self) -> bool:
        """Whether the launch file cannot run unless the caller gives it."""
        return self.argument.default is None and not self.conditional and not self.passed


@dataclass(frozen=True, slots=True)
class Signature:
    """All arguments of a launch file, each once, in order."""

    declarations: tuple[Declaration, ...]
    complete: bool
    """False: an included file could not be looked into."""

    def check(self, description: Description, given: Iterable[str]) -> None:
        """Refuse what is unknown and what is missing.

        Raises:
            LaunchArgumentError: naming all of it.
        """
        names = list(given)
        known = {declaration.argument.name for declaration in self.declarations if not declaration.passed}
        problems = [
            f"unknown argument {name!r}: {nearest(name, known)}"
            for name in names
            if self.complete and name not in known
        ]
        problems += [
            f"missing argument {declaration.argument.name!r}{_described(declaration)}: "
            f"give {declaration.argument.name}:=<value>"
            for declaration in self.declarations
            if declaration.required and declaration.argument.name not in names
        ]
        if problems:
            raise LaunchArgumentError(f"launch file {description.path}: {'; '.join(problems)}")


def signature(description: Description, context: LaunchContext) -> Signature:
    """The arguments of ``description`` when it begins with ``context``, which is not changed."""
    search = _Search()
    scratch = LaunchContext(dict(context.configurations), dict(context.environment), description.path.parent)
    search.visit(description.actions, context=scratch, conditional=False, passed=frozenset())
    return Signature(declarations=tuple(search.found.values()), complete=search.complete)


def _described(declaration: Declaration) -> str:
    return f" ({declaration.argument.description})" if declaration.argument.description else ""


class _Search:
    def __init__(self) -> None:
        self.found: dict[str, Declaration] = {}
        self.complete = True
        self._depth = 0

    def visit(
        self, actions: Iterable[Action], *, context: LaunchContext, conditional: bool, passed: frozenset[str]
    ) -> None:
        for action in actions:
            match action:
                case DeclareArgument():
                    held_back = conditional or action.condition is not None
                    self._declare(action, Declaration(action, held_back, action.name in passed), context)
                case Let():
                    self._assign(action, context)
                case Group():
                    scope = context.scope()
                    held_back = action.condition is not None
                    self.visit(action.actions, context=context, conditional=held_back, passed=passed)
                    if action.scoped:
                        context.restore(scope)
                case Include():
                    self._include(action, context=context, passed=passed)

    def _declare(self, argument: DeclareArgument, declaration: Declaration, context: LaunchContext) -> None:
        first = self.found.get(argument.name)
        if first is None or first.passed:
            self.found[argument.name] = declaration
        if argument.default is not None and argument.name not in context.configurations:
            try:
                context.configurations[argument.name] = argument.default.evaluate(context)
            except ConfigError:
                return  # known only when executed

    def _assign(self, action: Let, context: LaunchContext) -> None:
        try:
            context.configurations[action.name.evaluate(context)] = action.value.evaluate(context)
        except ConfigError:
            return  # known only when executed

    def _include(self, action: Include, *, context: LaunchContext, passed: frozenset[str]) -> None:
        if self._depth >= _DEEPEST_INCLUDE:
            raise LaunchFileError(action.where, f"includes are nested more than {_DEEPEST_INCLUDE} deep; a circle?")
        try:
            description = included_description(action, context)
        except ConfigError:
            self.complete = False  # executing it says what is wrong, if it is executed
            return
        inner = LaunchContext(dict(context.configurations), dict(context.environment), None)
        names = set()
        for name, value in action.arguments:
            try:
                names.add(name.evaluate(inner))
                inner.configurations[name.evaluate(inner)] = value.evaluate(inner)
            except ConfigError:
                continue  # known only when executed
        inner.directory = description.path.parent
        self._depth += 1
        self.visit(description.actions, context=inner, conditional=False, passed=passed | names)
        self._depth -= 1
