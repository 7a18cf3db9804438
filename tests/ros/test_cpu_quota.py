"""What is granted of the processor is found in both kinds of control groups, also where a container shows its own as the root."""

from pathlib import Path

import pytest

from mola_nodes.demo.cpu_quota import CpuQuota, cpu_quota


def groups(tmp_path: Path, own: str, files: dict[str, str]) -> CpuQuota | None:
    root = tmp_path / "cgroup"
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    (tmp_path / "own").write_text(own)
    return cpu_quota(root=root, own=tmp_path / "own")


STAT = "usage_usec 2500000\nuser_usec 2000000\nsystem_usec 500000\n"


@pytest.mark.parametrize(
    ("own", "files", "cores", "used_ns"),
    [
        ("0::/a/b\n", {"a/b/cpu.max": "150000 100000\n", "a/b/cpu.stat": STAT}, 1.5, 2_500_000_000),
        ("0::/../../x\n", {"cpu.max": "50000 100000\n", "cpu.stat": STAT}, 0.5, 2_500_000_000),
        (
            "0::/a/b\n",
            {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "200000 100000\n", "a/cpu.stat": STAT},
            2.0,
            2_500_000_000,
        ),
        (
            "3:cpuacct:/\n2:cpu:/slow\n0::/\n",
            {
                "cpu/slow/cpu.cfs_quota_us": "28000\n",
                "cpu/slow/cpu.cfs_period_us": "20000\n",
                "cpuacct/cpuacct.usage": "7\n",
            },
            1.4,
            7,
        ),
    ],
)
def test_the_tightest_limit_counts(tmp_path: Path, own: str, files: dict[str, str], cores: float, used_ns: int) -> None:
    quota = groups(tmp_path, own, files)
    assert quota is not None
    assert quota.cores == pytest.approx(cores)
    assert quota.used_ns() == used_ns


@pytest.mark.parametrize(
    ("own", "files"),
    [
        ("0::/a\n", {"a/cpu.max": "max 100000\n"}),
        (
            "2:cpu:/\n",
            {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n", "cpuacct/cpuacct.usage": "7"},
        ),
        ("", {}),
    ],
)
def test_without_a_limit_there_is_none(tmp_path: Path, own: str, files: dict[str, str]) -> None:
    assert groups(tmp_path, own, files) is None


def test_a_system_without_control_groups_has_no_limit(tmp_path: Path) -> None:
    assert cpu_quota(root=tmp_path, own=tmp_path / "none") is None
