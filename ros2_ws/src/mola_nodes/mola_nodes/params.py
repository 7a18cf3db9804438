"""Typed node parameters: unit, range and description stand beside the type, in one frozen dataclass a node.

>>> @dataclass(frozen=True)
... class CameraParams:
...     site: Annotated[str, Param("Path of the site file")]
...     rate_hz: Annotated[float, Param("Frames", unit="Hz", minimum=1.0, maximum=90.0)] = 30.0
"""

import dataclasses
import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar, get_args, get_type_hints

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node
from rclpy.parameter import Parameter

from mola_core.contracts.errors import ConfigError

ParamsT = TypeVar("ParamsT")

_TYPES = {
    str: Parameter.Type.STRING,
    int: Parameter.Type.INTEGER,
    float: Parameter.Type.DOUBLE,
    bool: Parameter.Type.BOOL,
    list[str]: Parameter.Type.STRING_ARRAY,
}
_BUILT_IN = ("use_sim_time", "start_type_description_service", "qos_overrides.")


@dataclass(frozen=True, slots=True)
class Param:
    """What a parameter means, in the ``Annotated`` type of its field; without a default it must be given."""

    description: str
    unit: str = ""
    minimum: float | None = None
    maximum: float | None = None
    live: bool = False
    """May be set while the node runs; the node then listens for it itself."""


@dataclass(frozen=True)
class SiteParams:
    """What every node takes that touches the site."""

    site: Annotated[str, Param("Path of the site file, e.g. launch/sites/twin.yaml")]


def load_params(node: Node, params_type: type[ParamsT], *, overrides: Mapping[str, Parameter]) -> ParamsT:
    """Declare the fields of ``params_type`` on ``node`` and return their values.

    ``overrides`` is what command line and parameter files say, by name.

    Raises:
        ConfigError: an unknown, missing, wrongly typed or out-of-range parameter, named with its value and the cure.
    """
    fields = dataclasses.fields(params_type)  # type: ignore[arg-type]  # a dataclass by convention
    _refuse_unknown(node_name=node.get_name(), known=[field.name for field in fields], given=overrides)
    hints = get_type_hints(params_type, include_extras=True)
    values = {}
    for field in fields:
        kind, spec = get_args(hints[field.name])
        value = _value_of(field=field, kind=kind, spec=spec, override=overrides.get(field.name))
        _check_range(name=field.name, value=value, spec=spec)
        values[field.name] = value
        node.declare_parameter(field.name, value, _descriptor(kind=kind, spec=spec), ignore_override=True)
    return params_type(**values)


def _refuse_unknown(*, node_name: str, known: Iterable[str], given: Iterable[str]) -> None:
    for name in given:
        if name in known or name.startswith(_BUILT_IN):
            continue
        nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        cure = f"did you mean {nearest[0]!r}?" if nearest else f"it has {', '.join(sorted(known))}"
        raise ConfigError(f"node {node_name} has no parameter {name!r}; {cure}")


def _value_of(*, field: "dataclasses.Field[Any]", kind: Any, spec: Param, override: Parameter | None) -> Any:
    if override is None:
        if field.default is dataclasses.MISSING:
            raise ConfigError(f"parameter {field.name!r} is missing: {spec.description}; give {field.name}:=<value>")
        return field.default
    if kind is float and override.type_ is Parameter.Type.INTEGER:
        return float(override.value)
    if override.type_ is not _TYPES[kind]:
        wanted = _TYPES[kind].name.lower().replace("_", " ")
        raise ConfigError(f"parameter {field.name!r} must be of type {wanted}, got {override.value!r}")
    return list(override.value) if kind == list[str] else override.value


def _check_range(*, name: str, value: Any, spec: Param) -> None:
    if spec.minimum is None and spec.maximum is None:
        return
    low = -float("inf") if spec.minimum is None else spec.minimum
    high = float("inf") if spec.maximum is None else spec.maximum
    if not low <= value <= high:
        raise ConfigError(f"parameter {name!r} must be within [{low:g}, {high:g}] {spec.unit}, got {value:g}")


def _descriptor(*, kind: Any, spec: Param) -> ParameterDescriptor:
    unit = f" [{spec.unit}]" if spec.unit else ""
    descriptor = ParameterDescriptor(description=f"{spec.description}{unit}", read_only=not spec.live)
    if spec.minimum is None or spec.maximum is None:
        return descriptor
    if kind is float:
        descriptor.floating_point_range = [
            FloatingPointRange(from_value=float(spec.minimum), to_value=float(spec.maximum))
        ]
    elif kind is int:
        descriptor.integer_range = [IntegerRange(from_value=int(spec.minimum), to_value=int(spec.maximum))]
    return descriptor
