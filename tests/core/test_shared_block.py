"""Shared blocks survive the death of either side, at any instant."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mola_core.contracts.errors import MolaError
from mola_core.contracts.shared_block import BlockReplacedError, SharedBlock

DTYPE = np.dtype([("first", "i8"), ("filler", "f8", (500,)), ("last", "i8")])


def record(value: int) -> np.ndarray:
    made = np.zeros((), dtype=DTYPE)
    made["first"] = made["last"] = value
    return made


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "block"


def test_what_was_written_is_read(path: Path) -> None:
    with SharedBlock(path, DTYPE, create=True) as owner, SharedBlock(path, DTYPE, create=False) as reader:
        assert reader.read()["first"] == 0
        owner.write(record(7))
        assert reader.read()["last"] == 7
        assert reader.version == 1


def test_a_new_owner_starts_clean_after_a_death_in_the_middle_of_a_record(path: Path) -> None:
    dead = SharedBlock(path, DTYPE, create=True)
    reader = SharedBlock(path, DTYPE, create=False)
    dead.write(record(1))
    dead._header[0] += 1  # killed here
    assert reader.try_read() is None
    with pytest.raises(MolaError, match="torn"):
        reader.read()
    with SharedBlock(path, DTYPE, create=True) as owner:
        with pytest.raises(BlockReplacedError, match="open it again"):
            reader.read()
        owner.write(record(2))
        with SharedBlock(path, DTYPE, create=False) as fresh:
            assert fresh.read()["first"] == 2


def test_an_old_owner_that_closes_late_leaves_the_new_block_alone(path: Path) -> None:
    old = SharedBlock(path, DTYPE, create=True)
    with SharedBlock(path, DTYPE, create=True):
        old.close()
        assert path.exists()
    assert not path.exists()


def test_readers_learn_that_the_owner_has_left(path: Path) -> None:
    owner = SharedBlock(path, DTYPE, create=True)
    reader = SharedBlock(path, DTYPE, create=False)
    owner.close()
    assert reader.is_replaced
    with pytest.raises(BlockReplacedError):
        reader.try_read()


def test_another_layout_is_refused(path: Path) -> None:
    with SharedBlock(path, DTYPE, create=True), pytest.raises(MolaError, match="same installation"):
        SharedBlock(path, np.dtype([("x", "f8")]), create=False)


def test_absent_block_is_named(path: Path) -> None:
    with pytest.raises(MolaError, match="is its owner running"):
        SharedBlock(path, DTYPE, create=False)


def test_readers_never_see_half_a_record_and_outlive_a_killed_writer(path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; import numpy as np\n"
        "from mola_core.contracts.shared_block import SharedBlock\n"
        f"dtype = np.dtype({DTYPE.descr!r})\n"
        "block = SharedBlock(Path(sys.argv[1]), dtype, create=True); r = np.zeros((), dtype=dtype)\n"
        "print('ready', flush=True); n = 0\n"
        "while True:\n"
        "    n += 1; r['first'] = r['last'] = n; r['filler'] = n; block.write(r)\n"
        "    time.sleep(2e-5)\n"  # a writer without any pause leaves a reader beside it no time at all
    )
    for _ in range(3):
        with subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"ready\n"
            try:
                reader = SharedBlock(path, DTYPE, create=False)
                for _ in range(300):
                    seen = reader.read()
                    assert seen["first"] == seen["last"] == seen["filler"][250]
            finally:
                writer.kill()
        # the next writer replaces what this one left behind, torn or not
