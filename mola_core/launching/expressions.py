"""``$(eval …)`` without ``eval``: arithmetic, comparisons and logic on literals, and nothing that can run long or reach out."""

import ast
import math
import operator
from collections.abc import Callable
from typing import Any

_UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.Not: operator.not_,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}
_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda left, right: left in right,
    ast.NotIn: lambda left, right: left not in right,
}
_MATH_FUNCTIONS = (
    *("acos", "asin", "atan", "atan2", "cos", "sin", "tan", "hypot", "degrees", "radians"),
    *("ceil", "copysign", "exp", "fabs", "floor", "fmod", "log", "sqrt"),
)
_FUNCTIONS: dict[str, Callable[..., Any]] = {name: getattr(math, name) for name in _MATH_FUNCTIONS}
_FUNCTIONS |= {function.__name__: function for function in (abs, bool, float, int, len, max, min, round, str)}
_CONSTANTS = {name: getattr(math, name) for name in ("pi", "e", "tau", "inf", "nan")}
_NUMBERS_ONLY = (ast.Mult, ast.Mod)  # on strings they repeat and format: megabytes from ten characters

SUPPORTED = (
    "literals, + - * / // %, comparisons, in, and, or, not, if else, lists, "
    f"math's {' '.join(_CONSTANTS)}, {' '.join(sorted(_FUNCTIONS))}"
)


def evaluate_expression(expression: str) -> str:
    """``str`` of the value of ``expression``, as Python would compute it.

    Raises:
        ValueError: it is not an expression, holds something else than :data:`SUPPORTED`, or has no value.
    """
    try:
        tree = ast.parse(expression.strip(), mode="eval")
        return str(_value(tree.body))
    except SyntaxError as error:
        raise ValueError(f"{expression!r} is not an expression: {error.msg}") from error
    except (ArithmeticError, TypeError, RecursionError, LookupError) as error:
        raise ValueError(f"{expression!r} has no value: {error}") from error


def _value(node: ast.expr) -> Any:
    rule = _RULES.get(type(node))
    if rule is None:
        raise _unsupported(node)
    return rule(node)


def _unsupported(node: ast.AST) -> ValueError:
    shown = ast.unparse(node) if isinstance(node, ast.expr) else type(node).__name__
    return ValueError(f"{shown!r} is not supported in $(eval); supported: {SUPPORTED}")


def _name(node: ast.Name) -> Any:
    if node.id not in _CONSTANTS:
        raise ValueError(f"{node.id!r} is not a name that $(eval) knows; a string needs quotes; supported: {SUPPORTED}")
    return _CONSTANTS[node.id]


def _attribute(node: ast.Attribute) -> Any:
    if isinstance(node.value, ast.Name) and node.value.id == "math" and node.attr in _CONSTANTS:
        return _CONSTANTS[node.attr]
    raise _unsupported(node)


def _call(node: ast.Call) -> Any:
    function = node.func
    name = function.id if isinstance(function, ast.Name) else None
    if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name) and function.value.id == "math":
        name = function.attr if function.attr in _MATH_FUNCTIONS else None
    if name not in _FUNCTIONS or node.keywords:
        raise _unsupported(node)
    return _FUNCTIONS[name](*[_value(argument) for argument in node.args])


def _unary(node: ast.UnaryOp) -> Any:
    if type(node.op) not in _UNARY:
        raise _unsupported(node)
    return _UNARY[type(node.op)](_value(node.operand))


def _binary(node: ast.BinOp) -> Any:
    if type(node.op) not in _BINARY:
        raise _unsupported(node)
    left, right = _value(node.left), _value(node.right)
    if isinstance(node.op, _NUMBERS_ONLY) and not (isinstance(left, int | float) and isinstance(right, int | float)):
        raise _unsupported(node)
    return _BINARY[type(node.op)](left, right)


def _compare(node: ast.Compare) -> bool:
    left = _value(node.left)
    for comparison, operand in zip(node.ops, node.comparators, strict=True):
        if type(comparison) not in _COMPARISONS:
            raise _unsupported(node)
        right = _value(operand)
        if not _COMPARISONS[type(comparison)](left, right):
            return False
        left = right
    return True


def _logic(node: ast.BoolOp) -> Any:
    stops_at = isinstance(node.op, ast.Or)
    value: Any = None
    for operand in node.values:
        value = _value(operand)
        if bool(value) == stops_at:
            break
    return value


_RULES: dict[type[ast.expr], Callable[[Any], Any]] = {
    ast.Constant: lambda node: node.value,
    ast.Name: _name,
    ast.Attribute: _attribute,
    ast.Call: _call,
    ast.UnaryOp: _unary,
    ast.BinOp: _binary,
    ast.Compare: _compare,
    ast.BoolOp: _logic,
    ast.IfExp: lambda node: _value(node.body if _value(node.test) else node.orelse),
    ast.List: lambda node: [_value(item) for item in node.elts],
    ast.Tuple: lambda node: tuple(_value(item) for item in node.elts),
}
