"""Installs mola_nodes where ``ros2 run`` and the index of ament look for it."""

from setuptools import find_packages, setup

PACKAGE = "mola_nodes"

setup(
    name=PACKAGE,
    version="0.1.0",
    packages=find_packages(exclude=["test"]),
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (f"share/{PACKAGE}", ["package.xml"]),
    ],
    package_data={PACKAGE: ["py.typed"]},
    extras_require={"test": ["pytest"]},
    zip_safe=False,
    entry_points={
        "console_scripts": [
            "bundle_manager_node = mola_nodes.bundle_manager_node:main",
            "camera_node = mola_nodes.camera_node:main",
            "controller_node = mola_nodes.controller_node:main",
            "episode_recorder_node = mola_nodes.episode_recorder_node:main",
            "imagination_node = mola_nodes.imagination_node:main",
            "lifecycle_manager_node = mola_nodes.lifecycle_manager_node:main",
            "mola_process = mola_nodes.mola_process:main",
            "policy_node = mola_nodes.policy_node:main",
            "scripted_policy_node = mola_nodes.scripted_policy_node:main",
            "teleop_node = mola_nodes.teleop_node:main",
            "reset_overlay_node = mola_nodes.reset_overlay_node:main",
        ],
        "mola.commands": [
            "bench.acting = mola_nodes.bench.acting:register",
            "bench.record = mola_nodes.bench.record:register",
            "bench.servo = mola_nodes.bench.servo:register",
            "bench.sitting = mola_nodes.bench.sitting:register",
            "bench.splice = mola_nodes.bench.splice:register",
            "bench.swap = mola_nodes.bench.swap:register",
            "bench.teleop = mola_nodes.bench.teleop:register",
            "bench.transport = mola_nodes.bench.transport:register",
            "dataset.replay = mola_nodes.replay.command:register",
            "demo = mola_nodes.demo.command:register",
            "engine.list = mola_nodes.bundles.command:register_list",
            "engine.load = mola_nodes.bundles.command:register_load",
            "engine.promote = mola_nodes.bundles.command:register_promote",
            "engine.rollback = mola_nodes.bundles.command:register_rollback",
            "engine.unload = mola_nodes.bundles.command:register_unload",
            "faults = mola_nodes.faults.command:register",
            "record = mola_nodes.record.command:register",
            "run = mola_nodes.policy.command:register",
            "teleop = mola_nodes.teleop.command:register",
            "view = mola_nodes.viewing.command:register",
        ],
        "mola.doctor": [],
    },
)
