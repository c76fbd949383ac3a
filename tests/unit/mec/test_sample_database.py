"""A server's samples on its disk: each once, in one order, frozen by round, whatever ends the process."""

import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fbfl.errors import StorageError
from fbfl.mec.device import LocalDevice
from fbfl.mec.request_body import RequestRefusedError
from fbfl.mec.sample_database import SampleDatabase
from fbfl.mec.samples import Batch, MemorySampleStore
from tests.support.paths import REPOSITORY
from tests.unit.mec.sample_batches import SHAPE, batch

LIMIT = 40


def ranges(numbers: set[int]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if found and found[-1][1] == number:
            found[-1] = (found[-1][0], number + 1)
        else:
            found.append((number, number + 1))
    return found


uploads = st.tuples(st.integers(0, 2), st.integers(0, 30), st.integers(1, 10))


@settings(max_examples=40)
@given(actions=st.lists(uploads | st.sampled_from(["reopen", "next round", "same round"]), max_size=16))
def test_overlapping_and_repeated_batches_count_each_sample_once(actions: list[Any]) -> None:
    expected: set[tuple[int, int]] = set()
    frozen: dict[int, list[tuple[int, int]]] = {}
    round_number = 1
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "samples.sqlite"
        store = SampleDatabase(path, SHAPE, LIMIT)
        for action in actions:
            if action == "reopen":
                store.close()
                store = SampleDatabase(path, SHAPE, LIMIT)
            elif isinstance(action, str):
                round_number += action == "next round"
                numbers = frozen.setdefault(round_number, sorted(expected))
                x, y = store.training_set(round_number)
                wanted = [batch(device, sequence, 1) for device, sequence in numbers]
                assert y.tolist() == [label for one in wanted for label in one.y]
                assert x.tobytes() == b"".join(one.x.tobytes() for one in wanted)
                assert len(x) == len(numbers)
            else:
                device, first, count = action
                arriving = {(device, first + place) for place in range(count)}
                assert store.receive(batch(device, first, count)) == len(arriving - expected)
                expected |= arriving
            assert store.count == len(expected)
        for device in range(3):
            assert store.held(device) == ranges({sequence for owner, sequence in expected if owner == device})
        store.close()


def test_it_is_the_training_set_of_the_simulation(tmp_path: Path) -> None:
    in_memory = MemorySampleStore()
    x = np.random.default_rng(0).random((50, *SHAPE), np.float32)
    y = np.arange(50) % 10
    with closing(SampleDatabase(tmp_path / "samples.sqlite", SHAPE)) as store:
        assert len(store.training_set(1)[1]) == 0
        batches = [each for number in (7, 3) for each in LocalDevice(number, x + number / 10, y).upload(8)]
        for each in batches:
            in_memory.receive(each)
        for each in reversed(batches):
            store.receive(each)
        assert len(store.training_set(1)[1]) == 0  # frozen before they came
        expected = in_memory.training_set(2)
        found = store.training_set(2)
        assert [array.dtype for array in found] == [array.dtype for array in expected]
        assert [array.tobytes() for array in found] == [array.tobytes() for array in expected]
        assert store.training_set(3)[0] is found[0]  # nothing has arrived


def test_another_sample_in_the_same_place_and_one_beyond_the_limit_are_refused_as_a_whole(tmp_path: Path) -> None:
    with closing(SampleDatabase(tmp_path / "samples.sqlite", SHAPE, LIMIT)) as store:
        store.receive(batch(0, 5, 1))
        wrong = batch(0, 3, 5)
        wrong.x[2] += 1
        for refused, status in ((wrong, 409), (batch(0, LIMIT - 2, 3), 507)):
            with pytest.raises(RequestRefusedError) as failure:
                store.receive(refused)
            assert failure.value.status == status
        assert store.held(0) == [(5, 6)]
        assert store.count == 1
        assert store.receive(batch(0, LIMIT - 3, 3)) == 3


def test_bytes_and_floats_become_floats_of_one_scale(tmp_path: Path) -> None:
    with closing(SampleDatabase(tmp_path / "samples.sqlite", SHAPE)) as store:
        store.receive(batch(1, 0, 3))
        floats = np.linspace(0, 1, 8, dtype=np.float32).reshape(2, *SHAPE)
        store.receive(Batch(0, 0, floats, np.zeros(2, np.int64)))
        x, _ = store.training_set(1)
        assert x.dtype == np.float32
        np.testing.assert_array_equal(x[:2], floats)
        np.testing.assert_allclose(x[2:], batch(1, 0, 3).x / 255, rtol=1e-7)


WRITER = """
import sys
from pathlib import Path
from fbfl.mec.sample_database import SampleDatabase
from tests.unit.mec.sample_batches import SHAPE, batch

store = SampleDatabase(Path(sys.argv[1]), SHAPE)
for first in range(0, 100_000, 100):
    store.receive(batch(0, first, 100))
    print(first + 100, flush=True)
"""


def test_what_was_answered_for_is_there_after_kill_9_and_nothing_is_there_by_half(tmp_path: Path) -> None:
    path = tmp_path / "samples.sqlite"
    command = [sys.executable, "-c", WRITER, str(path)]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        answered = [int(writer.stdout.readline()) for _ in range(20)][-1]
        writer.kill()
        answered = max([answered, *map(int, writer.stdout.read().split())])
    with closing(SampleDatabase(path, SHAPE)) as store:
        ((first, end),) = store.held(0)
        assert first == 0
        assert end in (answered, answered + 100)
        assert store.count == end


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "samples.sqlite"
    path.write_bytes(b"something else entirely" * 100)
    with pytest.raises(StorageError, match=str(path)):
        SampleDatabase(path, SHAPE)
