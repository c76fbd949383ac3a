"""Processes of Flower apps that do not do what they should: one line each, and no process stays."""

import contextlib
import io
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from fbfl.errors import ProcessError, UserCodeError
from fbfl.learning.flower import runner
from fbfl.learning.flower.process import AppProcess
from tests.support import flower_node

NAMES = st.text(max_size=5)
DTYPES: list[np.dtype[Any]] = [np.dtype(name) for name in ("f2", "f4", "f8", "i1", "i8", "u4", "?", ">f4")]
ARRAYS: st.SearchStrategy[npt.NDArray[Any]] = arrays_of.arrays(
    st.sampled_from(DTYPES),
    arrays_of.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
)


@given(st.dictionaries(NAMES, st.integers() | st.text()), st.dictionaries(NAMES, ARRAYS, max_size=3))
def test_frames_come_as_they_went(header: dict[str, object], arrays: runner.Arrays) -> None:
    header.pop("arrays", None)
    stream = io.BytesIO()
    runner.write(stream, header, arrays)
    stream.seek(0)
    found, returned = runner.read(stream)
    assert found == header
    assert list(returned) == list(arrays)
    for name, array in arrays.items():
        assert returned[name].dtype == array.dtype
        assert returned[name].shape == array.shape
        assert returned[name].tobytes() == array.tobytes()


@given(st.binary(min_size=1, max_size=64), st.integers(0, 200), st.integers(1, 255))
def test_damaged_frames_are_refused(garbage: bytes, place: int, change: int) -> None:
    stream = io.BytesIO()
    runner.write(stream, {"metrics": {"loss": 1.0}}, {"kernel": np.ones((2, 3), np.float32)})
    whole = stream.getvalue()
    for cut in (garbage, whole[: min(place + 1, len(whole) - 1)]):
        with pytest.raises(ValueError, match=r".+"):
            runner.read(io.BytesIO(cut))
    damaged = bytearray(whole)
    damaged[place % len(whole)] ^= change
    with contextlib.suppress(ValueError):  # a changed number is a number
        runner.read(io.BytesIO(bytes(damaged)))


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (
            "import sys; sys.exit('no module named x')",
            "app a: its process ended with status 1 during train: no module n",
        ),
        ("import os; os.abort()", "app a: its process ended with status -6 during train: it printed nothing"),
        ("import sys; sys.stdin.buffer.read(30); print('hello' * 9)", "with what is no answer: b'hellohellohello"),
        (
            "import sys; sys.stdin.buffer.read(30); sys.stdout.buffer.write(b'FBFL' + b'\\xff' * 60)",
            r"what is no answer: a frame of \d+ bytes is ann",
        ),
        ("import time; time.sleep(60)", "app a: train took longer than 2 s; its process was ended"),
    ],
)
def test_processes_that_fail(script: str, message: str) -> None:
    process = AppProcess([sys.executable, "-c", script], Path(), "app a", 2.0)
    much = 10**6 if "sleep" in script else 1  # the most is more than a pipe holds
    arrays = {"kernel": np.zeros(much, np.float32)}
    with pytest.raises(ProcessError, match=message):
        process.ask("train", {"do": "train"}, arrays)
    with pytest.raises(ProcessError):
        process.ask("train", {"do": "train"}, arrays)


def test_the_apps_errors_name_their_place_and_the_process_goes_on() -> None:
    process = AppProcess(flower_node.command("lambda *_: failed"), Path(), "app a", 60.0)
    request = {"do": "train", "partition": 0, "config": {"server-round": 1}}
    with pytest.raises(ProcessError, match="NameError: name 'failed' is not defined"):
        process.ask("train", request)
    process = AppProcess(
        flower_node.command("lambda *_: (_ for _ in ()).throw(RuntimeError('no data'))"), Path(), "app a", 60.0
    )
    for _ in range(2):
        with pytest.raises(UserCodeError, match=r"app a: train raised RuntimeError: no data\n  app\.py:1 in train"):
            process.ask("train", request)
    process.close()


def test_a_stopped_process_frees_who_waits_for_it() -> None:
    process = AppProcess([sys.executable, "-c", "import time; time.sleep(60)"], Path(), "app a", 60.0)
    threading.Timer(0.3, process.stop).start()
    with pytest.raises(ProcessError, match="ended with status -9"):
        process.ask("train", {"do": "train"})


def test_a_program_that_is_not_there() -> None:
    with pytest.raises(ProcessError, match="app a: /nowhere/python cannot be started: No such file"):
        AppProcess(["/nowhere/python"], Path(), "app a", 1.0)
