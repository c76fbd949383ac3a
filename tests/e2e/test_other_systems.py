"""Nothing that only Linux has is needed to import fbfl, nor to play and audit a round."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import REPOSITORY

WITHOUT = """
import builtins, io, os, sys

sys.modules["fcntl"] = None  # not importable
del os.setsid, os.posix_fallocate, os.nice, os.sched_getaffinity

def missing(function):
    def call(path, *arguments, **named):
        if isinstance(path, (str, bytes, os.PathLike)) and os.fsdecode(path).startswith("/proc"):
            raise FileNotFoundError(2, "No such file or directory", os.fsdecode(path))
        return function(path, *arguments, **named)
    return call

for module in (builtins, io):
    module.open = missing(io.open)
for name in ("open", "stat", "lstat", "listdir", "scandir", "readlink", "access"):
    setattr(os, name, missing(getattr(os, name)))
"""

PROGRAM = f"""{WITHOUT}
import importlib, pkgutil
from pathlib import Path

import fbfl

if __name__ == "__main__":
    assert not Path("/proc/self/stat").exists()
    for module in pkgutil.walk_packages(fbfl.__path__, "fbfl."):
        if not module.name.endswith("__main__"):
            try:
                importlib.import_module(module.name)
            except ModuleNotFoundError as error:
                if error.name != "torch":  # an extra
                    raise
    run = fbfl.run(fbfl.RunSettings(rounds=1, servers=3, dataset="digits", batch_size=16), "run")
    assert run.audit() == ()
    from fbfl.system.locks import only_process
    with only_process(Path("state"), "it"):
        print(run.summary["final_rounds"], "round")
"""


@pytest.mark.slow
def test_it_plays_a_round_without_what_linux_has(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "program.py"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1:] == ["1 round"], done.stderr
