"""From elements to command lines, with the semantics of ROS 2's launch; nothing is started here."""

from pathlib import Path

import pytest

from mola_core.contracts.errors import ConfigError
from mola_core.launching import LaunchArgumentError, LaunchFileError, ParameterText, ProcessSpec, expand


def argv(process: ProcessSpec) -> list[str]:
    """The command line, parameter files spelt out."""
    return [part.content if isinstance(part, ParameterText) else part for part in process.argv]


def names(plan) -> list[str]:
    return [process.name for process in plan.processes]


def echoes(plan) -> list[list[str]]:
    return [argv(process)[1:] for process in plan.processes]


# --- nodes and executables


def test_a_node_gets_the_command_line_of_ros2_launch(run_file, prefix: Path) -> None:
    plan = run_file(
        """
        <arg name="topic" default="/t"/>
        <node pkg="demo" exec="talker" name="t" namespace="ns" args="-v $(var topic)x 'a b' y" ros_args="--log-level debug">
          <param name="p" value="1.5"/>
          <remap from="a" to="$(var topic)"/>
          <remap from="b" to="c"/>
        </node>
        """
    )
    (node,) = plan.processes
    parameters = "/ns/t:\n  ros__parameters:\n    p: 1.5\n"
    program = f"{prefix}/lib/demo/talker"
    assert argv(node) == [
        *(program, "-v", "/tx", "a b", "y"),
        *("--ros-args", "--log-level", "debug"),
        *("--ros-args", "-r", "__node:=t", "-r", "__ns:=/ns"),
        *("--params-file", parameters),
        *("-r", "a:=/t", "-r", "b:=c"),
    ]


def test_a_bare_node_gets_no_name_and_no_namespace(run_file, prefix: Path) -> None:
    plan = run_file('<node pkg="demo" exec="talker"/>')
    assert argv(plan.processes[0]) == [f"{prefix}/lib/demo/talker", "--ros-args"]


def test_process_options(run_file) -> None:
    plan = run_file(
        """
        <executable cmd="echo" name="plain"/>
        <executable cmd="echo hi" name="full" cwd="/tmp" output="screen" shell="false" respawn="true" respawn_delay="1.5"
                    on_exit="shutdown" launch-prefix="nice -n 3"><env name="A" value="$(env HOME)"/></executable>
        """
    )
    plain, full = plan.processes
    assert (plain.cwd, plain.respawn, plain.respawn_delay_s, plain.required) == (None, False, 0.0, False)
    assert "A" not in plain.environment
    assert argv(full) == ["nice", "-n", "3", "echo", "hi"]
    assert (full.cwd, full.respawn, full.respawn_delay_s, full.required) == (Path("/tmp"), True, 1.5, True)  # noqa: S108
    assert full.environment["A"] == "/home/robot"


def test_labels_are_those_of_ros2_launch_and_names_find_nodes(run_file) -> None:
    plan = run_file(
        """
        <node pkg="demo" exec="talker" name="left"/>
        <node pkg="demo" exec="talker" name="right" exec_name="mouth"/>
        <executable cmd="echo"/>
        <executable cmd="echo" name="said"/>
        """
    )
    assert [process.label for process in plan.processes] == ["talker-1", "mouth-2", "echo-3", "said-4"]
    assert names(plan) == ["left", "right", "echo", "said"]


def test_names_that_occur_twice_become_labels(run_file) -> None:
    plan = run_file('<executable cmd="echo"/><executable cmd="echo"/><executable cmd="true"/>')
    assert names(plan) == ["echo-1", "echo-2", "true"]


# --- scopes


@pytest.mark.parametrize(
    ("pushed", "namespace", "expected"),
    [
        (None, "ns", "/ns"),
        (None, "ns/", "/ns"),
        ("outer", None, "/outer"),
        ("outer", "inner", "/outer/inner"),
        ("outer", "/absolute", "/absolute"),
        ("/", "x", "/x"),
        ("/", None, "/"),
    ],
)
@pytest.mark.parametrize("tag", ["push_ros_namespace", "push-ros-namespace"])
def test_namespaces_are_joined(run_file, tag: str, pushed: str | None, namespace: str | None, expected: str) -> None:
    push = "" if pushed is None else f'<{tag} namespace="{pushed}"/>'
    attribute = "" if namespace is None else f'namespace="{namespace}"'
    plan = run_file(f'{push}<node pkg="demo" exec="talker" {attribute}/>')
    assert argv(plan.processes[0])[-1] == f"__ns:={expected}"


def test_a_group_scopes_variables_environment_and_namespace(run_file) -> None:
    plan = run_file(
        """
        <let name="v" value="out"/>
        <group>
          <let name="v" value="in"/><set_env name="E" value="in"/><unset_env name="HOME"/><push_ros_namespace namespace="in"/>
          <executable cmd="echo $(var v) $(env E) $(env HOME none)"/>
        </group>
        <executable cmd="echo $(var v) $(env E none) $(env HOME)"/>
        <node pkg="demo" exec="talker"/>
        """
    )
    assert echoes(plan) == [["in", "in", "none"], ["out", "none", "/home/robot"], ["--ros-args"]]
    assert plan.processes[0].environment.get("E") == "in"
    assert "E" not in plan.processes[1].environment


def test_an_unscoped_group_keeps_its_changes(run_file) -> None:
    plan = run_file('<group scoped="false"><let name="v" value="in"/></group><executable cmd="echo $(var v)"/>')
    assert echoes(plan) == [["in"]]


@pytest.mark.parametrize(
    ("value", "runs"), [("true", True), ("1", True), (" TRUE ", True), ("false", False), ("0", False)]
)
def test_conditions(run_file, value: str, runs: bool) -> None:
    body = '<arg name="c"/><executable cmd="echo if" if="$(var c)"/><executable cmd="echo unless" unless="$(var c)"/>'
    assert echoes(run_file(body, c=value)) == [["if" if runs else "unless"]]


def test_a_group_that_does_not_hold_changes_nothing(run_file) -> None:
    plan = run_file('<group if="0" scoped="0"><let name="v" value="in"/></group><executable cmd="echo $(var v no)"/>')
    assert echoes(plan) == [["no"]]


# --- arguments and includes


def test_precedence_given_over_default_and_first_value_over_later_defaults(run_file) -> None:
    body = '<arg name="a" default="1"/><arg name="a" default="2"/><executable cmd="echo $(var a)"/>'
    assert echoes(run_file(body)) == [["1"]]
    assert echoes(run_file(body, a="given")) == [["given"]]
    assert echoes(run_file('<let name="a" value="0"/>' + body)) == [["0"]]


INCLUDED = """
<arg name="need" description="what is needed"/><arg name="opt" default="o-$(var need)"/>
<let name="inside" value="leaks"/>
<executable cmd="echo $(dirname) $(var need) $(var opt)"/>
"""


def test_an_include_gets_its_arguments_and_leaks_them_into_what_follows(run_file, write, tmp_path: Path) -> None:
    write(INCLUDED, name="sub.launch.xml")
    plan = run_file(
        """
        <include file="$(dirname)/sub.launch.xml"><arg name="need" value="1"/></include>
        <executable cmd="echo $(var need) $(var inside)"/>
        """
        f'<include file="{tmp_path}/sub.launch.xml"><arg name="need" value="2"/></include>'
    )
    assert echoes(plan) == [[str(tmp_path), "1", "o-1"], ["1", "leaks"], [str(tmp_path), "2", "o-1"]]


def test_a_group_keeps_an_include_to_itself(run_file, write) -> None:
    write(INCLUDED, name="sub.launch.xml")
    plan = run_file(
        """
        <group><include file="$(dirname)/sub.launch.xml"><arg name="need" value="1"/></include></group>
        <executable cmd="echo $(var need none)"/>
        """
    )
    assert echoes(plan)[1] == ["none"]


def test_all_missing_arguments_are_named_at_once(run_file) -> None:
    with pytest.raises(LaunchArgumentError, match=r"missing argument 'a' \(first\).*missing argument 'b'"):
        run_file('<arg name="a" description="first"/><arg name="b"/><arg name="c" default=""/>')


def test_an_include_must_pass_what_the_included_file_needs(run_file, write) -> None:
    write(INCLUDED, name="sub.launch.xml")
    with pytest.raises(LaunchArgumentError, match=r"missing argument 'need' \(what is needed\)"):
        run_file('<let name="need" value="set, but not passed"/><include file="$(dirname)/sub.launch.xml"/>')


def test_a_missing_argument_behind_a_condition_is_missed_only_when_reached(run_file) -> None:
    body = '<arg name="on" default="0"/><group if="$(var on)"><arg name="a"/></group>'
    assert run_file(body).processes == ()
    with pytest.raises(LaunchArgumentError, match=r":2: missing argument 'a'"):
        run_file(body, on="1")


def test_an_unknown_argument_is_an_error_with_the_nearest_name(run_file) -> None:
    with pytest.raises(LaunchArgumentError, match="unknown argument 'polcy': did you mean 'policy'"):
        run_file('<arg name="policy" default=""/>', polcy="none")


def test_arguments_of_included_files_are_known(run_file, write) -> None:
    write('<arg name="deep" default="0"/><executable cmd="echo $(var deep)"/>', name="sub.launch.xml")
    body = '<arg name="on" default="1"/><include file="$(dirname)/sub.launch.xml" if="$(var on)"/>'
    assert echoes(run_file(body, deep="7")) == [["7"]]
    assert echoes(run_file(body, deep="7", on="0")) == []


def test_what_an_include_sets_cannot_be_given_from_outside(run_file, write) -> None:
    write('<arg name="fixed"/>', name="sub.launch.xml")
    body = '<include file="$(dirname)/sub.launch.xml"><arg name="fixed" value="1"/></include>'
    with pytest.raises(LaunchArgumentError, match="unknown argument 'fixed': known: none"):
        run_file(body, fixed="2")


def test_a_condition_on_an_include_does_not_excuse_what_it_fails_to_pass(run_file, write) -> None:
    write(INCLUDED, name="sub.launch.xml")
    with pytest.raises(LaunchArgumentError, match="missing argument 'need'"):
        run_file('<include file="$(dirname)/sub.launch.xml" if="0"/>')


def test_an_include_may_not_pass_what_nobody_declares(run_file, write) -> None:
    write('<arg name="speed" default="1"/>', name="sub.launch.xml")
    with pytest.raises(LaunchArgumentError, match=r":2: .*unknown argument 'sped': did you mean 'speed'"):
        run_file('<include file="$(dirname)/sub.launch.xml"><arg name="sped" value="2"/></include>')


def test_a_value_outside_of_the_choices_is_an_error(run_file) -> None:
    body = '<arg name="a" default="x"><choice value="x"/><choice value="y"/></arg>'
    assert run_file(body, a="y").processes == ()
    with pytest.raises(LaunchArgumentError, match=r":2: argument 'a' must be one of x, y; got 'z'"):
        run_file(body, a="z")


def test_a_circle_of_includes_is_an_error(run_file) -> None:
    with pytest.raises(LaunchFileError, match="nested more than"):
        run_file('<include file="$(dirname)/test.launch.xml"/>')


# --- mistakes


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("<bogus/>", "<bogus> is not supported inside <launch>; known: arg, executable"),
        ("<lifecycle_node/>", "<lifecycle_node> is not supported"),
        ('<timer period="1"/>', "<timer> is not supported"),
        ("text", "text 'text' stands outside"),
        (
            '<executable cmd="echo"><param name="a" value="1"/></executable>',
            "<param> is not supported inside <executable>",
        ),
        ('<node pgk="demo" exec="talker"/>', "<node> has no attribute 'pgk'; did you mean 'pkg'"),
        ('<node pkg="demo"/>', "<node> needs the attribute 'exec'"),
        ('<node pkg="demo" exec="talke"/>', "no executable 'talke'; did you mean 'talker'"),
        ('<node pkg="dem" exec="talker"/>', "package 'dem' is not under"),
        ('<node pkg="demo" exec="talker" name="1st"/>', "attribute 'name': '1st' is not a node name"),
        ('<node pkg="demo" exec="talker" namespace="a b"/>', "attribute 'namespace': '/a b' is not a namespace"),
        ('<node pkg="demo" exec="talker"><remap from="a"/></node>', "<remap> needs the attribute 'to'"),
        ('<node pkg="demo" exec="talker"><param value="1"/></node>', "<param> needs the attribute 'name'"),
        ('<node pkg="demo" exec="talker"><param name="a"/></node>', "<param> needs one of"),
        (
            '<node pkg="demo" exec="talker"><param name="a" from="f"/></node>',
            "<param> has no attribute 'name'; known: from",
        ),
        (
            '<node pkg="demo" exec="talker"><param name="a" value="1"><param name="b" value="1"/></param></node>',
            "give one of them",
        ),
        ('<push_ros_namespace namespace="1x"/>', "is not a namespace"),
        ("<executable/>", "<executable> needs the attribute 'cmd'"),
        ('<executable cmd="no-such-program-here"/>', "program 'no-such-program-here' is not on PATH"),
        ('<executable cmd=""/>', "program '' is not on PATH"),
        ('<executable cmd="echo \'open"/>', "No closing quotation"),
        ('<executable cmd="echo" shell="true"/>', 'shell="true" is not supported'),
        ('<executable cmd="echo" on_exit="restart"/>', "'on_exit' must be shutdown, got 'restart'"),
        ('<executable cmd="echo" output="file"/>', "'output' must be screen or log or both, got 'file'"),
        ('<executable cmd="echo" respawn="maybe"/>', "'respawn': must be true or false, got 'maybe'"),
        ('<executable cmd="echo" respawn_delay="-1"/>', "'respawn_delay' must be a number of seconds >= 0"),
        ('<executable cmd="echo" respawn_delay="nan"/>', "'respawn_delay' must be a number of seconds >= 0"),
        ('<executable cmd="echo" if="maybe"/>', "attribute 'if': must be true, 1, false or 0, got 'maybe'"),
        ('<executable cmd="echo" if="1" unless="0"/>', "both 'if' and 'unless'"),
        ('<executable cmd="echo $(var x"/>', "attribute 'cmd': '\\)' must follow"),
        ('<let name="sigterm_timeout" value="1"/>', "is a setting of ros2 launch that this runner does not have"),
        ('<arg name="$(env HOME)"/>', "substitutions are not allowed here"),
        ('<group scoped="perhaps"/>', "'scoped' must be true or false"),
        ('<include file="/no.launch.xml"/>', "launch file /no.launch.xml does not exist"),
        ('<include file="/dev/null/x.launch.py"/>', "does not exist"),
        ("<executable cmd='echo'", "not well-formed XML"),
        ("<executable cmd='echo'></node>", "not well-formed XML: mismatched tag"),
    ],
)
def test_a_mistake_names_file_line_and_what_is_wrong(run_file, body: str, problem: str) -> None:
    with pytest.raises(LaunchFileError, match=rf"test\.launch\.xml:[23]: .*{problem}") as caught:
        run_file(body)
    assert "\n" not in str(caught.value)


def test_the_line_is_that_of_the_element(run_file) -> None:
    with pytest.raises(LaunchFileError, match=r"test\.launch\.xml:5: <node> has no attribute 'x'"):
        run_file('<arg\n  name="a"\n  default="1"/>\n<node x="1"/>')


def test_python_launch_files_are_refused(run_file, tmp_path: Path) -> None:
    (tmp_path / "a.launch.py").write_text("")
    with pytest.raises(LaunchFileError, match=r"only XML launch files are supported, got a\.launch\.py"):
        run_file('<include file="$(dirname)/a.launch.py"/>')


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("<start/>", r":1: the root element must be <launch>, got <start>"),
        ('<launch versio="1"/>', r":1: <launch> has no attribute 'versio'; did you mean 'version'"),
        ("", r":1: not well-formed XML: no element found"),
        ('<!DOCTYPE x [<!ENTITY e "e">]>\n<launch/>', r":1: a document type is not supported"),
    ],
)
def test_a_wrong_document_is_refused(tmp_path: Path, content: str, problem: str) -> None:
    path = tmp_path / "x.launch.xml"
    path.write_text(content)
    with pytest.raises(LaunchFileError, match=problem):
        expand(path, {}, environment={})


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no\.launch\.xml cannot be read: No such file"):
        expand(tmp_path / "no.launch.xml", {})
