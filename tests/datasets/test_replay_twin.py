"""The scripted expert's episode, written as a dataset, moves the lockstep twin to the same outcome."""

from pathlib import Path

import numpy as np

from mola_core.contracts.clock import NS_PER_MS
from mola_core.contracts.geometry import pose_from_transform
from mola_core.contracts.io_spec import DataContract
from mola_core.contracts.site import load_site
from mola_core.control.kinematics import forward_kinematics
from mola_core.data.lerobot.writer import LeRobotWriter
from mola_core.data.replay.track import load_track
from mola_core.evaluation.replay import replay_lockstep
from mola_twin.evaluation_rig import open_rig
from mola_twin.expert.expert import make_expert
from mola_twin.lockstep import LockstepRig

SITE = Path(__file__).resolve().parents[2] / "launch/sites/twin.yaml"
TASK, SEED = "press_button", 2
PERIOD_MS = 100


def record(path):
    site = load_site(SITE)
    contract = DataContract(cameras=tuple(site.cameras), period_ns=PERIOD_MS * NS_PER_MS)
    blank = {name: np.zeros((16, 16, 3), np.uint8) for name in site.cameras}
    with (
        LockstepRig(site) as rig,
        LeRobotWriter(path, contract=contract, cameras=dict.fromkeys(blank, (16, 16))) as writer,
    ):
        rig.reset(task=TASK, seed=SEED)
        expert = make_expert(TASK, site)
        final = False
        while not final:
            state = rig.state()
            target = pose_from_transform(forward_kinematics(rig._commanded, site.arm.tcp_offset))
            writer.add_row(
                state=np.concatenate([state.joint_positions, state.base_from_tcp, [state.gripper_opening]]),
                action=np.concatenate([target, [rig._gripper_target]]),
                images=blank,
            )
            chunk = expert.act(truth=rig.truth(), state=state, now_ns=rig.clock.now_ns())
            rig.step(chunk, duration_s=PERIOD_MS / 1000)
            final = chunk.final or not rig.engaged
        assert rig.success().done
        writer.end_episode("press the button", outcome="success", task=TASK, seed=SEED, variant="id")
        writer.finalize()


def test_a_recorded_episode_ends_as_it_did(tmp_path):
    record(tmp_path / "set")
    track = load_track(tmp_path / "set", episode=0)
    rig = open_rig(SITE)
    try:
        done = replay_lockstep(rig, track, scene=track.scene)
        elsewhere = replay_lockstep(rig, track, scene=type(track.scene)(TASK, SEED + 1))
    finally:
        rig.close()
    assert (done.reason, done.same) == ("done", True)
    assert not elsewhere.same  # the button stands where another seed has put it
