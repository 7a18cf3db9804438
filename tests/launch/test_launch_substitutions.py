"""``$(…)``: the grammar, and what each substitution yields."""

from pathlib import Path

import pytest

from mola_core.launching import LaunchFileError
from mola_core.launching.substitutions import Substitution, TemplateSyntaxError, parse_template


@pytest.mark.parametrize(
    ("text", "template"),
    [
        ("", ()),
        ("plain 'text' (here)", ("plain 'text' (here)",)),
        ("costs $5", ("costs $5",)),
        (r"\$(var x) \\ \'", ("$(var x) \\ '",)),
        ("a$(dirname)b", ("a", Substitution("dirname", ()), "b")),
        ("$(var x default)", (Substitution("var", (("x",), ("default",))),)),
        ("$(var x '')", (Substitution("var", (("x",), ())),)),
        ("$(var x 'a (b) \"c\"')", (Substitution("var", (("x",), ('a (b) "c"',))),)),
        ("$(var x $(env Y)/z)", (Substitution("var", (("x",), (Substitution("env", (("Y",),)), "/z"))),)),
        (
            "$(eval \"'$(var x)' == 'y'\")",
            (Substitution("eval", (("'", Substitution("var", (("x",),)), "' == 'y'"),)),),
        ),
    ],
)
def test_text_is_read_by_the_grammar_of_ros_2(text: str, template: tuple[object, ...]) -> None:
    assert parse_template(text) == template


@pytest.mark.parametrize(
    "text", ["$(", "$(var x", "$(1x)", "$(var  x)", "$(var x )", "$(eval (1))", "$(var 'x'y)", "$(var 'x)"]
)
def test_text_outside_the_grammar_is_refused_with_its_column(text: str) -> None:
    with pytest.raises(TemplateSyntaxError, match="column"):
        parse_template(text)


def echoed(run_file, text: str, **arguments: str) -> list[str]:
    plan = run_file(f'<arg name="x" default="1"/><executable cmd="echo {text}"/>', **arguments)
    return list(plan.processes[0].argv[1:])


def test_variables_and_their_defaults(run_file) -> None:
    assert echoed(run_file, "$(var x) $(var y none) $(var y $(var x))", x="two words") == [
        "two words",
        "none",
        "two words",
    ]


def test_environment_variables_and_their_defaults(run_file) -> None:
    assert echoed(run_file, "$(env HOME) $(env NOPE fallback)") == ["/home/robot", "fallback"]


def test_packages_and_the_directory_of_the_file(run_file, prefix: Path, tmp_path: Path) -> None:
    assert echoed(run_file, "$(find-pkg-prefix demo) $(find-pkg-share demo)/x $(dirname)") == [
        str(prefix),
        f"{prefix}/share/demo/x",
        str(tmp_path),
    ]


def test_what_is_substituted_is_never_split(run_file) -> None:
    assert echoed(run_file, "pre$(var x)post 'a b' c", x="1 2") == ["pre1 2post", "a b", "c"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("$(var unset)", "is not set"),
        ("$(env UNSET)", "'UNSET' is not set"),
        ("$(find-pkg-share dem)", "did you mean 'demo'"),
        ("$(dirnam)", r"unknown substitution \$\(dirnam …\); did you mean 'dirname'"),
        ("$(command ls)", "unknown substitution"),
        ("$(var x y z)", "takes 1 or 2 argument"),
        ("$(eval 1 + 1)", "must be quoted"),
        ("$(eval '1' os)", "imports no module but math"),
        ("$(eval 'open(1)')", "not supported in"),
    ],
)
def test_what_cannot_be_resolved_names_file_line_and_cure(run_file, text: str, problem: str) -> None:
    with pytest.raises(LaunchFileError, match=rf"test\.launch\.xml:2: attribute 'cmd'.*{problem}"):
        echoed(run_file, text)


@pytest.mark.parametrize("place", ["after", "within"])
def test_dirname_is_refused_where_releases_of_ros_2_disagree(run_file, write, place: str) -> None:
    write('<arg name="a" default=""/>', name="other.launch.xml")
    given = '<arg name="a" value="$(dirname)"/>' if place == "within" else ""
    body = f'<include file="$(dirname)/other.launch.xml">{given}</include><executable cmd="echo $(dirname)"/>'
    with pytest.raises(LaunchFileError, match="different directories in different releases"):
        run_file(body)
