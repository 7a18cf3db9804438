"""A person, a session, a servo core and an arm that follows as the twin's does: all of it in lockstep."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from mola_core.contracts.clock import NS_PER_MS
from mola_core.contracts.errors import ConfigError
from mola_core.contracts.geometry import pose_from_transform, rotvec_from_rotation
from mola_core.contracts.site import ServoSpec, Site, load_site
from mola_core.contracts.teleop import HandGuidance, LeaderJoints, Press, TeleopCommand, Twist, TwistFrame
from mola_core.contracts.types import ActionChunk, ActionSpace, CommandedState, RobotMode, SafetyMode
from mola_core.control.brake import plan_brake
from mola_core.control.kinematics import forward_kinematics
from mola_core.control.motion import JointMotion, MotionLimits
from mola_core.control.servo_core import ServoCore
from mola_core.control.servo_types import ServoState
from mola_core.control.teleop.frames import TwistFrames
from mola_core.control.teleop.session import RigView, TeleopSession, TeleopStep
from mola_core.control.teleop.settings import EngageMode, TeleopSettings
from mola_core.control.teleop.stoppable import rest_time, stoppable_speeds
from mola_core.control.validation import prepare_chunk
from mola_twin.controller.joint_dynamics import JointDynamics

SITE = load_site(Path(__file__).parents[2] / "launch" / "sites" / "twin.yaml")
HOME = np.array(SITE.arm.home)
STEP_NS = 2 * NS_PER_MS
READ_STEPS, REPORT_STEPS = 5, 8
LATENCY_NS = 5 * NS_PER_MS
STILL = Twist(np.zeros(6), TwistFrame.BASE)


def twist(x: float = 0.0, y: float = 0.0, z: float = 0.0, *, turn: float = 0.0, frame: TwistFrame = TwistFrame.BASE):
    return Twist(np.array([x, y, z, 0.0, 0.0, turn]), frame)


@dataclass
class Reading:
    joint_positions: np.ndarray
    robot_mode: RobotMode = RobotMode.RUNNING
    safety_mode: SafetyMode = SafetyMode.NORMAL


class Bench:
    """Reports and chunks take 5 ms; the device is read every 10 ms, the command reported every 16 ms."""

    def __init__(self, *, site: Site = SITE, **settings: object) -> None:
        self.site = site
        self.session = TeleopSession(site, device="test", settings=TeleopSettings(**settings))
        self.core = ServoCore(site)
        self.arm = JointDynamics(HOME.tolist())
        self.now_ns = 10**15
        self.command = TeleopCommand(self.now_ns, STILL, None, enabled=False, alive=True)
        self.is_read = True
        self.steps: list[TeleopStep] = []
        self.sent: list[np.ndarray] = []
        self.chunks: list[ActionChunk] = []
        self._reports: list[tuple[int, CommandedState]] = []
        self._mail: list[tuple[int, ActionChunk]] = []
        self._report: CommandedState | None = None
        self._ticks = 0
        self.opening: float | None = 1.0
        self.core.resume()
        self.run(0.1)

    @property
    def view(self):
        return self.steps[-1].view

    @property
    def base_from_tcp(self) -> np.ndarray:
        return forward_kinematics(self.arm.positions, SITE.arm.tcp_offset)

    def hold(self, motion=STILL, **changes: object) -> "Bench":
        self.command = replace(self.command, motion=motion, enabled=True, **changes)
        return self

    def release(self) -> "Bench":
        self.command = replace(self.command, enabled=False)
        return self

    def run(self, seconds: float, *, watch: Callable[[], None] = lambda: None) -> "Bench":
        for _ in range(round(seconds / 0.002)):
            self.now_ns += STEP_NS
            self._ticks += 1
            self._tick()
            watch()
        return self

    def _tick(self) -> None:
        servo = self.core.tick(self.now_ns, Reading(np.array(self.arm.positions)))
        self.sent.append(servo.joint_target)
        self.arm.servo(servo.joint_target, lookahead_s=0.05, gain=1000.0)
        self.arm.step(0.002)
        if self._ticks % REPORT_STEPS == 0:
            chunk = self.core.executed_chunk
            report = CommandedState(
                stamp_ns=self.now_ns,
                joint_positions=servo.joint_target,
                base_from_tcp=pose_from_transform(forward_kinematics(servo.joint_target, SITE.arm.tcp_offset)),
                gripper_opening=servo.gripper_target,
                source="" if chunk is None else chunk.source,
                chunk_sequence=0,
                bundle_id="",
            )
            self._reports.append((self.now_ns + LATENCY_NS, report))
        while self._reports and self._reports[0][0] <= self.now_ns:
            self._report = self._reports.pop(0)[1]
        if self._ticks % READ_STEPS == 0:
            self._read()
        while self._mail and self._mail[0][0] <= self.now_ns:
            chunk = self._mail.pop(0)[1]
            commanded = np.array(self.core.motion.positions)
            self.core.offer(prepare_chunk(chunk, site=self.site, now_ns=self.now_ns, commanded=commanded))

    def _read(self) -> None:
        if self.is_read:
            self.command = replace(self.command, stamp_ns=self.now_ns)
        engaged = self.core.state in (ServoState.HOLDING, ServoState.EXECUTING)
        rig = RigView(
            commanded=self._report,
            servo_problem="" if engaged else "the arm is stopped; resume it",
            measured_opening=self.opening,
        )
        step = self.session.step(self.command, rig=rig, now_ns=self.now_ns)
        self.command = replace(self.command, pressed=())
        self.steps.append(step)
        if step.chunk is not None:
            self.chunks.append(step.chunk)
            self._mail.append((self.now_ns + LATENCY_NS, step.chunk))


# --- motion -------------------------------------------------------------------------------------------------------------


def test_the_tcp_moves_as_the_stick_says_and_stands_when_it_is_let_go():
    bench = Bench()
    start = bench.base_from_tcp
    bench.hold(twist(y=0.03)).run(1.0).hold().run(0.5)
    moved = bench.base_from_tcp[:3, 3] - start[:3, 3]
    assert moved[1] == pytest.approx(0.03 * 1.0, abs=0.004)
    assert np.abs(moved[[0, 2]]).max() < 1e-3
    assert bench.arm.speed < 1e-3
    assert bench.core.state is ServoState.EXECUTING
    assert bench.core.counters.filtered_ticks == 0


def test_a_turn_keeps_the_tcp_where_it_is():
    bench = Bench()
    start = bench.base_from_tcp
    bench.hold(twist(turn=0.1)).run(1.0).hold().run(0.5)
    turn = rotvec_from_rotation(bench.base_from_tcp[:3, :3] @ start[:3, :3].T)
    np.testing.assert_allclose(turn, [0.0, 0.0, 0.1], atol=0.015)
    assert np.abs(bench.base_from_tcp[:3, 3] - start[:3, 3]).max() < 1.5e-3


@pytest.mark.parametrize("direction", [twist(x=0.4), twist(y=0.4), twist(z=0.4), twist(z=-0.4), twist(turn=2.0)])
@pytest.mark.parametrize("moving_s", [0.07, 0.12, 0.5])
def test_the_arm_rests_within_150_ms_of_letting_go(direction: Twist, moving_s: float):
    bench = Bench()
    bench.hold(direction).run(0.1 + moving_s)
    assert bench.arm.speed > 0.02
    bench.release()
    speeds: list[float] = []
    bench.run(0.4, watch=lambda: speeds.append(bench.arm.speed))
    rest_s = 0.002 * (1 + max(index for index, speed in enumerate(speeds) if speed >= 0.01))
    assert rest_s <= 0.150
    assert bench.core.state is ServoState.HOLDING
    assert bench.core.counters.stops == 0


def test_what_cannot_be_stopped_in_time_is_slowed_down_in_its_own_direction():
    bench = Bench()
    start = bench.base_from_tcp
    bench.hold(twist(x=-0.3, y=0.3)).run(1.0)
    assert 0.05 < bench.view.speed_share < 0.5
    moved = bench.base_from_tcp[:3, 3] - start[:3, 3]
    assert moved[1] == pytest.approx(-moved[0], abs=3e-3)


def test_more_time_to_stop_allows_more_speed():
    quick, slow = (stoppable_speeds(SITE.arm, within_s=seconds) for seconds in (0.15, 0.25))
    assert (slow > 2 * quick).all()
    assert (slow <= SITE.arm.velocity_max).all()
    with pytest.raises(ConfigError, match=r"cannot rest within 60 ms .*lookahead_s 0.05, gain 1000.* allow more time"):
        stoppable_speeds(SITE.arm, within_s=0.06)


@pytest.mark.parametrize(("lookahead_s", "gain"), [(0.05, 1000.0), (0.03, 2000.0), (0.1, 300.0)])
@pytest.mark.parametrize("jerk", [150.0, 400.0])
def test_the_time_to_rest_is_that_of_the_twins_arm(lookahead_s: float, gain: float, jerk: float):
    servo = ServoSpec(lookahead_s=lookahead_s, gain=gain)
    limits = MotionLimits((-9.0,) * 6, (9.0,) * 6, (2.0,) * 6, (8.0,) * 6, (jerk,) * 6)
    for speed in (0.1, 0.4):
        arm, target = JointDynamics([0.0] * 6), 0.0
        for _ in range(500):
            target += 0.002 * speed
            arm.servo([target] * 6, lookahead_s=lookahead_s, gain=gain)
            arm.step(0.002)
        brake = plan_brake(JointMotion([target] * 6, [speed] * 6, [0.0] * 6), limits)
        rest_s = 0.0
        for tick in range(1, 600):
            arm.servo(brake.positions_at(0.002 * tick), lookahead_s=lookahead_s, gain=gain)
            arm.step(0.002)
            rest_s = 0.002 * tick if arm.speed >= 0.01 else rest_s
        assert rest_time(speed, acceleration=8.0, jerk=jerk, servo=servo) == pytest.approx(rest_s, abs=0.008)


def test_the_workspace_is_a_wall_along_which_one_slides():
    box = SITE.workspace.model_copy(update={"tcp_max": (-0.12, 0.08, 0.7)})
    bench = Bench(site=SITE.model_copy(update={"workspace": box}), stop_within_s=0.25)
    start = bench.base_from_tcp
    bench.hold(twist(y=0.2, z=0.05)).run(3.0)
    assert 0.07 < bench.base_from_tcp[1, 3] < 0.08
    assert bench.base_from_tcp[2, 3] > start[2, 3] + 0.1
    assert bench.core.counters.filtered_ticks == 0
    assert bench.core.state is ServoState.EXECUTING


def test_at_the_end_of_its_reach_the_arm_stands_and_may_be_led_back():
    bench = Bench(stop_within_s=0.25)
    bench.hold(twist(x=-0.3, z=0.3)).run(4.0)
    far = bench.base_from_tcp
    assert bench.view.engaged
    bench.hold(twist(x=0.2)).run(1.0)
    assert bench.base_from_tcp[0, 3] > far[0, 3] + 0.02
    assert bench.core.counters.stops == 0


def test_the_table_is_met_without_a_stop():
    bench = Bench(stop_within_s=0.25)
    bench.hold(twist(z=-0.1)).run(4.0)
    low = bench.base_from_tcp[2, 3]
    assert low < 0.03
    bench.hold(twist(z=0.1)).run(1.0)
    assert bench.base_from_tcp[2, 3] > low + 0.03
    assert bench.core.counters.stops == 0


def test_the_path_goes_on_from_the_command_and_not_from_the_arm():
    bench = Bench()
    bench.hold(twist(y=0.05)).run(0.6)
    jumps = np.abs(np.diff(np.array(bench.sent), n=2, axis=0)).max() / 0.002**2
    assert jumps < 4.0  # rad/s^2: starting from the lagging arm would jerk back at each chunk


# --- frames -------------------------------------------------------------------------------------------------------------


def test_frames_turn_the_same_push_into_different_directions():
    frames = TwistFrames(SITE, view="third_person")
    base_from_tcp = forward_kinematics(HOME, SITE.arm.tcp_offset)
    push = Twist(np.array([0.0, 0.0, 0.1, 0.0, 0.0, 0.0]), TwistFrame.CHOSEN)
    in_base = frames.in_base(push, chosen=TwistFrame.BASE, base_from_tcp=base_from_tcp)
    in_tool = frames.in_base(push, chosen=TwistFrame.TCP, base_from_tcp=base_from_tcp)
    np.testing.assert_allclose(in_base[:3], [0, 0, 0.1])
    np.testing.assert_allclose(in_tool[:3], [0, 0, -0.1], atol=1e-3)  # the tool points down


def test_in_the_view_of_the_camera_right_is_right_and_up_is_up():
    frames = TwistFrames(SITE, view="third_person")
    base_from_cam = SITE.cameras["third_person"].parent_from_camera
    for axis, optical in ((0, [1, 0, 0]), (1, [0, 0, 1]), (2, [0, -1, 0])):
        velocity = np.zeros(6)
        velocity[axis] = 0.1
        moved = frames.in_base(Twist(velocity, TwistFrame.VIEW), chosen=TwistFrame.BASE, base_from_tcp=np.eye(4))
        np.testing.assert_allclose(base_from_cam[:3, :3].T @ moved[:3], 0.1 * np.array(optical), atol=1e-12)


def test_the_wrist_cameras_view_turns_with_the_tool():
    frames = TwistFrames(SITE, view="wrist")
    push = Twist(np.array([0.1, 0.0, 0.0, 0.0, 0.0, 0.0]), TwistFrame.VIEW)
    base_from_tcp = forward_kinematics(HOME, SITE.arm.tcp_offset)
    turned = base_from_tcp.copy()
    turned[:3, :3] = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]) @ turned[:3, :3]
    first, second = (
        frames.in_base(push, chosen=TwistFrame.BASE, base_from_tcp=pose) for pose in (base_from_tcp, turned)
    )
    np.testing.assert_allclose(second[:2], [-first[1], first[0]], atol=1e-12)


def test_a_camera_that_the_site_does_not_have_is_named():
    with pytest.raises(ConfigError, match=r"no camera 'front' to steer by; it has third_person, wrist"):
        TwistFrames(SITE, view="front")


# --- buttons ------------------------------------------------------------------------------------------------------------


def test_buttons_change_speed_and_frame():
    bench = Bench(speed_scale=0.5)
    bench.command = replace(bench.command, pressed=(Press.FASTER, Press.NEXT_FRAME))
    bench.run(0.02)
    assert (bench.view.speed_scale, bench.view.frame) == (0.625, "tool")
    for _ in range(20):
        bench.session.press(Press.SLOWER)
    bench.session.press(Press.NEXT_FRAME)
    bench.run(0.02)
    assert (bench.view.speed_scale, bench.view.frame) == (0.1, "camera")


def test_the_gripper_opens_and_closes_only_while_engaged():
    bench = Bench()
    bench.command = replace(bench.command, gripper_opening=0.0)
    bench.run(0.2)
    assert not bench.chunks
    bench.hold().run(0.1)
    assert bench.chunks[-1].gripper_openings[0] == 0.0
    bench.hold(gripper_opening=None).run(0.1)
    assert bench.chunks[-1].gripper_openings[0] == 0.0


def test_without_a_word_of_the_gripper_nothing_is_invented():
    bench = Bench()
    bench.opening = None
    bench.hold(twist(y=0.05)).run(0.2)
    assert "gripper has not said" in bench.view.reason
    assert not bench.chunks


# --- engaging -----------------------------------------------------------------------------------------------------------


def test_a_switch_held_from_the_start_or_during_a_stop_must_be_pressed_anew():
    bench = Bench()
    bench.core.stop("test")
    bench.hold(twist(y=0.05)).run(0.1)
    assert bench.view.reason == "the arm is stopped; resume it"
    bench.core.resume()
    bench.run(0.5)
    assert not bench.view.engaged
    assert bench.arm.speed == 0.0
    bench.release().run(0.05).hold(twist(y=0.05)).run(0.3)
    assert bench.view.engaged
    assert bench.arm.speed > 0.05


def test_a_device_that_is_lost_lets_go():
    bench = Bench()
    bench.hold(twist(y=0.05)).run(0.5)
    bench.command = replace(bench.command, alive=False, enabled=False)
    bench.run(0.3)
    assert bench.core.state is ServoState.HOLDING
    assert bench.arm.speed < 0.01
    assert "is it plugged in?" in bench.view.reason
    assert bench.chunks[-1].is_release


def test_a_device_that_is_no_longer_read_lets_go():
    bench = Bench()
    bench.hold(twist(y=0.05)).run(0.5)
    bench.is_read = False
    bench.run(0.4)
    assert "last read" in bench.view.reason
    assert bench.arm.speed < 0.01
    assert bench.core.state is ServoState.HOLDING
    bench.is_read = True
    bench.run(0.2)
    assert not bench.view.engaged  # the switch is still held, and must be pressed anew


def test_a_clutch_engages_with_one_press_and_lets_go_with_the_next():
    bench = Bench(engage=EngageMode.CLUTCH)
    bench.hold(twist(y=0.05)).run(0.05).release().run(0.3)
    assert bench.view.engaged
    bench.hold().run(0.05)
    assert not bench.view.engaged
    bench.release().run(0.3)
    assert not bench.view.engaged
    assert bench.arm.speed < 0.01


def test_a_policy_in_motion_is_taken_over_without_a_jerk_and_marked():
    bench = Bench()
    swing = np.array([0.3, 0.05, 0.08, 0.05, 0.1, 0.2])

    def policy(number: int) -> None:
        rows = np.arange(16) * 0.05 + 0.06
        now_s = (bench.now_ns - 10**15) * 1e-9
        targets = HOME + swing * (1 - np.cos(0.8 * (now_s + rows - 0.1)))[:, None] * 0.5
        chunk = ActionChunk(
            number, "policy", "", bench.now_ns, bench.now_ns, bench.now_ns + 60 * NS_PER_MS, 50 * NS_PER_MS,
            space=ActionSpace.JOINT, targets=targets, gripper_openings=np.ones(16), execute_steps=8, final=False,
        )  # fmt: skip
        bench.core.offer(prepare_chunk(chunk, site=SITE, now_ns=bench.now_ns, commanded=HOME))

    for number in range(10):
        policy(number)
        bench.run(0.1)
    assert bench.arm.speed > 0.03
    bench.hold(twist(y=0.05)).run(0.05)
    assert bench.view.takeover
    bench.run(0.5)
    assert bench.core.counters.stops == 0
    assert bench.core.executed_chunk.source == "teleop/test"
    bench.release().run(0.3)
    assert not bench.view.takeover


# --- leader and hand ----------------------------------------------------------------------------------------------------


def test_a_leader_engages_only_near_the_arm_and_is_followed():
    bench = Bench()
    far = HOME + np.array([0.0, 0.0, 0.4, 0.0, 0.0, 0.0])
    bench.hold(LeaderJoints(far)).run(0.2)
    assert bench.view.reason == "the leader's elbow_joint is 0.4 rad from the arm's; bring it to within 0.15"
    near = HOME + np.array([0.1, 0.0, 0.1, 0.0, 0.0, 0.0])
    bench.hold(LeaderJoints(near)).run(3.0)
    assert bench.view.engaged
    np.testing.assert_allclose(bench.arm.positions, near, atol=2e-3)
    assert bench.core.counters.filtered_ticks == 0


def test_a_leader_that_rushes_ahead_is_followed_no_faster_than_the_arm_can_stop():
    bench = Bench()
    bench.hold(LeaderJoints(HOME)).run(0.1)
    bench.hold(LeaderJoints(HOME + 0.5)).run(0.6)
    bench.release()
    speeds: list[float] = []
    bench.run(0.4, watch=lambda: speeds.append(bench.arm.speed))
    assert speeds[0] > 0.05
    assert 0.002 * (1 + max(index for index, speed in enumerate(speeds) if speed >= 0.01)) <= 0.150


def test_guidance_by_hand_sends_a_wish_and_no_chunk():
    bench = Bench()
    bench.hold(HandGuidance()).run(0.1)
    assert bench.steps[-1].hand_guidance
    assert not bench.chunks
    bench.release().run(0.05)
    assert not bench.steps[-1].hand_guidance
