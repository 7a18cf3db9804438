"""How much of the processor this process may use, where that is less than all of it (``docker run --cpus``, cgroups 1 and 2)."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_ROOT, _OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
_NS_PER_US = 1000


@dataclass(frozen=True)
class CpuQuota:
    """What a control group grants its processes together."""

    cores: float
    """As many at once, in the mean over its period."""
    usage: Path
    """Where the kernel counts what they have used: ``cpu.stat`` or ``cpuacct.usage``."""

    def used_ns(self) -> int:
        """Since the group was made."""
        text = self.usage.read_text()
        if self.usage.name == "cpuacct.usage":
            return int(text)
        counts = dict(line.split() for line in text.splitlines())
        return int(counts["usage_usec"]) * _NS_PER_US


def cpu_quota(*, root: Path = _ROOT, own: Path = _OWN) -> CpuQuota | None:
    """The tightest of the groups that this process is in; None where none of them is limited."""
    try:
        groups = _groups(own.read_text())
    except OSError:
        return None
    found = [*_second_version(root, groups.get("", "/")), *_first_version(root, groups)]
    return min(found, key=lambda quota: quota.cores, default=None)


def _groups(text: str) -> dict[str, str]:
    """Controller → path of our group; the second version's has no name."""
    lines = (line.split(":", 2) for line in text.splitlines())
    return {controller: path for _, names, path in lines for controller in names.split(",")}


def _second_version(root: Path, path: str) -> Iterator[CpuQuota]:
    for folder in _upwards(root, path):
        words = _words(folder / "cpu.max")
        if len(words) == 2 and words[0] != "max":
            yield CpuQuota(cores=int(words[0]) / int(words[1]), usage=folder / "cpu.stat")


def _first_version(root: Path, groups: dict[str, str]) -> Iterator[CpuQuota]:
    accounts = [folder / "cpuacct.usage" for folder in _upwards(root / "cpuacct", groups.get("cpuacct", "/"))]
    usage = next((account for account in accounts if account.exists()), None)
    for folder in _upwards(root / "cpu", groups.get("cpu", "/")):
        quota, period = _words(folder / "cpu.cfs_quota_us"), _words(folder / "cpu.cfs_period_us")
        if usage is not None and quota and period and int(quota[0]) > 0:
            yield CpuQuota(cores=int(quota[0]) / int(period[0]), usage=usage)


def _upwards(root: Path, path: str) -> Iterator[Path]:
    """Our group's folder and those around it; in a container the innermost may be what is mounted at ``root``."""
    folder = root / path.lstrip("/")
    yield folder
    while folder != root:
        folder = folder.parent
        yield folder


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []
