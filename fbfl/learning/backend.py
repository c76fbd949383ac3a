"""Import TensorFlow and Keras, which takes seconds, as late as possible and with the settings that fbfl needs."""

import gc
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from fbfl.errors import InvalidInputError, ProcessError
from fbfl.system.canvas import load_matplotlib

_NVIDIA = Path("/proc/driver/nvidia")
"""Is there where a driver for GPUs is."""


def load_tensorflow() -> None:
    """Import TensorFlow and Keras (2-4 s, 500 MB), with one thread per operation.

    Many small operations gain nothing from several threads each: the trainer runs a client per core instead. With
    FBFL_LEAN_KERAS=1, which the command line sets, Keras finds neither scikit-learn nor matplotlib nor pandas: it would
    import all three, for wrappers, galleries and tables that fbfl has no use for, and take half as long again.

    A thread of its own, beside other imports and the deployment of contracts, saves nothing: all of them hold Python's
    lock (benchmarks/start.py). An installation that does not import raises `ProcessError`.
    """
    set_environment()
    lean = os.environ.get("FBFL_LEAN_KERAS") == "1" and "keras" not in sys.modules
    unused = ("matplotlib", "pandas", "sklearn") if lean else ()
    if "keras" not in sys.modules:
        _require_tensorflow("KERAS_BACKEND is", os.environ["KERAS_BACKEND"])
        if not lean:
            load_matplotlib()  # before Keras does, and fails where MPLBACKEND is of no use
    try:
        with _without_notices(), without_packages(unused), _set_aside():
            import keras
            import tensorflow as tf

            if not _NVIDIA.exists():
                tf.config.list_physical_devices()  # else said as an error, with the first operation: there is no GPU
    except ImportError as error:
        said = " ".join(str(error).split())[:300]  # TensorFlow says much when its libraries do not fit the machine
        raise ProcessError(f"TensorFlow cannot be imported: {said}; install `tensorflow` anew") from error
    _require_tensorflow("Keras runs on", keras.backend.backend())
    if tf.config.threading.get_intra_op_parallelism_threads() != 1:
        try:
            tf.config.threading.set_intra_op_parallelism_threads(1)
        except RuntimeError:  # too late: the program has computed something already
            warnings.warn("TensorFlow was used before fbfl and keeps its own threads: training is slower", stacklevel=2)


def set_environment() -> None:
    """Set what TensorFlow and Keras read when they are imported, by us or by a user's module that we import before."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if not os.environ.get("KERAS_BACKEND"):
        os.environ["KERAS_BACKEND"] = "tensorflow"  # whatever keras.json says
    # oneDNN's kernels, which TensorFlow takes by itself only where the processor has AVX-512 VNNI: with AVX2 they make
    # convolutions 1.7 times faster (benchmarks/kernels.py).
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    os.environ.setdefault("TF_ONEDNN_USE_SYSTEM_ALLOCATOR", "1")


def _require_tensorflow(what: str, backend: str) -> None:
    if backend != "tensorflow":
        raise InvalidInputError(f"{what} {backend!r}: fbfl trains with TensorFlow; set KERAS_BACKEND=tensorflow")


@contextmanager
def _set_aside() -> Iterator[None]:
    """Look for no garbage: an import makes objects by the hundred thousand, hardly any of which is.

    Nor later among what was imported: to look through it takes a third of a second each time, as long as a round.
    """
    collecting, imported = gc.isenabled(), "tensorflow" in sys.modules
    gc.disable()
    try:
        yield
    finally:
        if not imported:
            gc.freeze()
        if collecting:
            gc.enable()


@contextmanager
def without_packages(names: Sequence[str]) -> Iterator[None]:
    """Let no package of these names be found, unless it is imported already."""
    hidden = [name for name in names if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]  # imports fail as if it were not installed
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]


@contextmanager
def _without_notices() -> Iterator[None]:
    """Keep from standard error what C++ writes there; show it if the body fails.

    While it is imported, TensorFlow says whose kernels it uses, whatever TF_CPP_MIN_LOG_LEVEL is.
    """
    if "tensorflow" in sys.modules:
        yield
        return
    with tempfile.TemporaryFile() as notices:
        before = os.dup(2)
        os.dup2(notices.fileno(), 2)
        try:
            yield
        except BaseException:
            notices.seek(0)
            os.write(before, notices.read())
            raise
        finally:
            os.dup2(before, 2)
            os.close(before)
