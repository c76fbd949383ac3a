"""TensorFlow and Keras are imported quietly, lean on the command line, and with no other backend."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import REPOSITORY


@pytest.mark.parametrize(("lean", "found"), [("1", False), ("0", True)])
def test_tensorflow_is_loaded_in_silence_unless_that_fails_and_lean_on_the_command_line(lean: str, found: bool) -> None:
    """Keras finds what it does not need only outside of the command line."""
    program = """
import os, sys
from fbfl.learning import backend
try:
    with backend._without_notices():
        os.write(2, b"what C++ says first")
        raise OSError
except OSError:
    pass
backend.load_tensorflow()
os.write(2, b", and what comes later")
import keras
found = [name in sys.modules for name in ("matplotlib", "pandas", "sklearn")]
import matplotlib.pyplot, pandas, sklearn.base, gc
assert gc.isenabled() and gc.get_freeze_count() > 100_000
keras.Sequential([keras.layers.Dense(1)])
print(found)
"""
    environment = {**os.environ, "FBFL_LEAN_KERAS": lean}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, env=environment)
    assert (done.returncode, done.stderr) == (0, "what C++ says first, and what comes later")
    assert done.stdout == f"{[found] * 3}\n"


def test_an_installation_that_does_not_import_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "tensorflow.py").write_text("raise ImportError('libtensorflow.so:\\n  no such file')")
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{REPOSITORY}"}
    program = "import fbfl.learning.backend as m\ntry: m.load_tensorflow()\nexcept m.ProcessError as e: print(e)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, env=environment)
    assert done.stdout == "TensorFlow cannot be imported: libtensorflow.so: no such file; install `tensorflow` anew\n"


def test_another_backend_is_refused_before_it_is_imported() -> None:
    program = "import fbfl.learning.backend as m\ntry: m.load_tensorflow()\nexcept m.InvalidInputError as e: print(e)"
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, env=environment)
    assert done.stdout == "KERAS_BACKEND is 'jax': fbfl trains with TensorFlow; set KERAS_BACKEND=tensorflow\n"
