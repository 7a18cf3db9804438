"""Installs mola_twin where ``ros2 run`` and the index of ament look for it."""

from setuptools import find_packages, setup

PACKAGE = "mola_twin"

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
        "console_scripts": [],
        "mola.commands": [
            "data.generate = mola_twin.generation.command:register",
            "twin = mola_twin.command:register",
        ],
        "mola.doctor": [],
        "mola.teachers": ["twin = mola_twin.labels.teacher:open_teacher"],
        "mola.rigs": ["twin = mola_twin.evaluation_rig:open_rig"],
    },
)
