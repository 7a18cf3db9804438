"""Types of ``<param>``: what upstream's launch makes of each was recorded by running it (ROS 2 Jazzy)."""

import itertools
from pathlib import Path
from typing import Any

import pytest
import yaml

from mola_core.launching import LaunchFileError, ParameterText


def parameter_files(run_file, body: str, node: str = "", **arguments: str) -> list[Any]:
    declared = '<arg name="x" default=""/>'
    plan = run_file(f'{declared}<node pkg="demo" exec="talker" {node}>{body}</node>', **arguments)
    parts = plan.processes[0].argv
    return [
        yaml.safe_load(part.content) if isinstance(part, ParameterText) else part
        for before, part in itertools.pairwise(parts)
        if before == "--params-file"
    ]


def value_of(run_file, attributes: str, **arguments: str) -> Any:
    (content,) = parameter_files(run_file, f'<param name="p" {attributes}/>', **arguments)
    return content["/**"]["ros__parameters"]["p"]


def same(actual: Any, expected: Any) -> bool:
    return type(actual) is type(expected) and actual == expected


@pytest.mark.parametrize(
    ("attributes", "value"),
    [
        ('value="1"', 1),
        ('value="1.0"', 1.0),
        ('value="1e3"', "1e3"),
        ('value="true"', True),
        ('value="on"', True),
        ("value=\"'5'\"", "5"),
        ('value="some text"', "some text"),
        ('value=""', ""),
        ('value="0x10"', 16),
        ('value="[1, 2]"', [1, 2]),
        ('value="[]"', []),
        ('value="a;b" value-sep=";"', ["a", "b"]),
        ('value="1,2" value-sep=","', [1, 2]),
        ('value="1,a" value-sep="," type="list_of_str"', ["1", "a"]),
        ('value="1.5,2" value-sep="," type="list_of_float"', [1.5, 2.0]),
        ('value="3" type="float"', 3.0),
        ('value="7" type="str"', "7"),
        ('value="a: b" type="str"', "a: b"),
        ('value="1" type="bool"', True),
        ('value="[true, false]" type="list_of_bool"', [True, False]),
        (r'value="a\\b"', "a\\b"),
    ],
)
def test_literal_values(run_file, attributes: str, value: Any) -> None:
    assert same(value_of(run_file, attributes), value)


@pytest.mark.parametrize(
    ("attributes", "x", "value"),
    [
        ('value="$(var x)"', "5", 5),
        ('value="$(var x)"', "[1, 2]", [1, 2]),
        ('value="$(var x)"', "", ""),
        ('value="$(var x)" type="str"', "5", "5"),
        ('value="$(var x)" type="float"', "5", 5.0),
        ('value="$(var x)" type="bool"', "0", False),
        ('value="at $(var x)"', "5", "at 5"),
        ('value="[1, $(var x)]"', "5", [1, 5]),
        ("value=\"['a', '$(var x)']\" type=\"list_of_str\"", "5", ["a", "5"]),
    ],
)
def test_substituted_values_are_read_again(run_file, attributes: str, x: str, value: Any) -> None:
    assert same(value_of(run_file, attributes, x=x), value)


@pytest.mark.parametrize(
    ("attributes", "x"),
    [
        ('value="null"', ""),
        ('value="{a: 1}"', ""),
        ('value="2020-01-01"', ""),
        ('value="[1, 2.0]"', ""),
        ('value="[[1]]"', ""),
        ('value="abc" type="int"', ""),
        ('value="1.5" type="int"', ""),
        ('value="2" type="bool"', ""),
        ('value="[1, 2]" type="list_of_float"', ""),
        ('value="[]" type="list_of_float"', ""),
        ('value="1,a" value-sep=","', ""),
        ('value="1,2" value-sep="," type="int"', ""),
        ('value="$(var x)" type="list_of_int"', "[1]"),
        ('value="$(var x)" type="int"', "2.0"),
        ('value="$(var x)"', "a: b"),
        ('value="[1, $(var x)]"', "a"),
        ('value="1" type="floaty"', ""),
    ],
)
def test_values_that_upstream_refuses_are_refused(run_file, attributes: str, x: str) -> None:
    with pytest.raises(LaunchFileError, match=r"test\.launch\.xml:2: attribute '(value|type)': "):
        value_of(run_file, attributes, x=x)


def test_nested_parameters_are_joined_by_dots(run_file) -> None:
    body = (
        '<param name="a"><param name="b" value="1"/><param name="$(var x)"><param name="d" value="2"/></param></param>'
    )
    (content,) = parameter_files(run_file, body, x="c")
    assert content == {"/**": {"ros__parameters": {"a.b": 1, "a.c.d": 2}}}


def test_each_parameter_is_a_file_in_order_so_that_later_ones_win(run_file, tmp_path: Path) -> None:
    file = tmp_path / "p.yaml"
    file.write_text("/**: {ros__parameters: {a: 0}}")
    body = f'<param name="a" value="1"/><param from="{file}"/><param name="a" value="2"/>'
    first, second, third = parameter_files(run_file, body)
    assert second == str(file)
    assert [content["/**"]["ros__parameters"]["a"] for content in (first, third)] == [1, 2]


@pytest.mark.parametrize(
    ("node", "target"),
    [
        ("", "/**"),
        ('name="n"', "/**"),
        ('namespace="ns"', "/**"),
        ('name="n" namespace="ns"', "/ns/n"),
        ('name="n" namespace="/"', "/n"),
    ],
)
def test_parameters_are_addressed_to_the_node_when_it_is_fully_named(run_file, node: str, target: str) -> None:
    (content,) = parameter_files(run_file, '<param name="p" value="1"/>', node=node)
    assert list(content) == [target]


def test_a_missing_parameter_file_is_an_error(run_file) -> None:
    with pytest.raises(LaunchFileError, match=r"attribute 'from': parameter file /no\.yaml does not exist"):
        parameter_files(run_file, '<param from="/no.yaml"/>')
