import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fbfl.errors import InvalidInputError, ProcessError
from fbfl.nodes import launcher
from fbfl.nodes.nodeset import Layout, agree, layout_of, remember, remove, stop_all
from fbfl.nodes.processes import Program, exclusive, log_of, recorded, running, start, stop

SLEEP = "import time; print('up', flush=True); time.sleep(600)"
STUBBORN = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEP}"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    for name in recorded(tmp_path):
        if running(tmp_path, name):
            stop(tmp_path, [name], patience=0.5)


def python(name: str, code: str, *ports: int) -> Program:
    return Program(name, [sys.executable, "-c", code], ports)


def has_printed(folder: Path, program: Program) -> bool:
    return "up" in log_of(folder, program.name).read_text()


def up(folder: Path, *programs: Program, timeout: float = 20.0) -> None:
    start(folder, programs, lambda program: has_printed(folder, program), timeout=timeout)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 10
    while launcher.start_of(pid) is not None:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_programs_run_until_they_are_stopped(folder: Path) -> None:
    up(folder, python("a", SLEEP), python("b", SLEEP))
    first, second = running(folder, "a"), running(folder, "b")
    assert first is not None
    assert second is not None
    assert stop(folder, ["a"]) == ["a"]
    assert launcher.start_of(first) is None
    assert running(folder, "b") == second
    assert recorded(folder) == ["b"]
    assert stop(folder, ["a", "b"]) == ["b"]


def test_starting_again_starts_only_what_does_not_run(folder: Path) -> None:
    programs = python("a", SLEEP), python("b", SLEEP)
    up(folder, *programs)
    kept, killed = running(folder, "a"), running(folder, "b")
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    wait_until_gone(killed)
    assert running(folder, "b") is None
    up(folder, *programs)
    assert running(folder, "a") == kept
    assert running(folder, "b") not in (None, killed)


def test_a_program_outlives_a_caller_that_is_killed_while_it_waits(folder: Path) -> None:
    code = f"""
from pathlib import Path
from fbfl.nodes.processes import Program, start
start(Path({str(folder)!r}), [Program("a", [{sys.executable!r}, "-c", {SLEEP!r}], ())], lambda p: False, timeout=60)
"""
    caller = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(Path.cwd())})
    deadline = time.monotonic() + 20
    while running(folder, "a") is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    caller.kill()
    caller.wait()
    pid = running(folder, "a")
    assert pid is not None
    assert stop(folder, recorded(folder)) == ["a"]
    assert launcher.start_of(pid) is None


def test_an_interrupted_start_stops_what_it_started(folder: Path) -> None:
    pids = []

    def interrupt(program: Program) -> bool:
        pids.append(running(folder, program.name))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        start(folder, [python("a", SLEEP)], interrupt, timeout=20)
    assert pids[0] is not None
    assert launcher.start_of(pids[0]) is None
    assert recorded(folder) == []


def test_another_process_with_the_same_number_is_left_alone(folder: Path) -> None:
    other = subprocess.Popen([sys.executable, "-c", SLEEP], stdout=subprocess.DEVNULL)
    try:
        record = {"pid": other.pid, "start": "boot before, tick 1", "command": []}
        (folder / "a.process").write_text(json.dumps(record))
        assert running(folder, "a") is None
        assert stop(folder, ["a"]) == []
        assert other.poll() is None
        assert recorded(folder) == []
    finally:
        other.kill()
        other.wait()


def test_who_ignores_a_polite_end_is_ended_by_force(folder: Path) -> None:
    up(folder, python("a", STUBBORN))
    pid = running(folder, "a")
    assert stop(folder, ["a"], patience=0.3) == ["a"]
    assert pid is not None
    assert launcher.start_of(pid) is None


def test_a_port_in_use_is_refused_before_anything_is_started(folder: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(InvalidInputError, match=f"port {port}, which b would listen on, is in use"):
            up(folder, python("a", SLEEP), python("b", SLEEP, port))
    assert recorded(folder) == []


@pytest.mark.parametrize("port", [0, 80, 65536])
def test_a_port_that_is_none_for_users_is_refused(folder: Path, port: int) -> None:
    with pytest.raises(InvalidInputError, match="allowed: 1024 to 65535"):
        up(folder, python("a", SLEEP, port))


def test_a_program_that_ends_at_once_is_reported_with_its_last_words(folder: Path) -> None:
    with pytest.raises(ProcessError, match="a ended at once: no such genesis") as caught:
        start(folder, [python("a", "import sys; sys.exit('no such genesis')")], lambda program: False, timeout=20)
    assert str(log_of(folder, "a")) in str(caught.value)
    assert recorded(folder) == []


def test_a_program_that_is_not_ready_in_time_is_stopped_with_the_others(folder: Path) -> None:
    with pytest.raises(ProcessError, match=r"was not ready within 0\.5 s"):
        start(folder, [python("a", SLEEP), python("b", SLEEP)], lambda program: False, timeout=0.5)
    assert recorded(folder) == []


def test_a_program_that_is_not_there_is_named(folder: Path) -> None:
    with pytest.raises(ProcessError, match="/no/such/program: No such file"):
        up(folder, Program("a", ["/no/such/program"], ()))


@pytest.mark.parametrize("content", ["{", "[" * 100_000, "5", "\x00"])
def test_a_damaged_record_is_said_to_be_so(folder: Path, content: str) -> None:
    (folder / "a.process").write_text(content)
    (folder / "nodes.json").write_text(content)
    with pytest.raises(ProcessError, match=r"a\.process cannot be read"):
        running(folder, "a")
    with pytest.raises(ProcessError, match=r"nodes\.json cannot be read"):
        layout_of(folder)
    (folder / "a.process").unlink()


def test_two_commands_do_not_start_and_stop_at_the_same_time(folder: Path) -> None:
    with exclusive(folder), pytest.raises(ProcessError, match="another command"), exclusive(folder):
        pytest.fail("both have it")
    with exclusive(folder):
        pass


def test_a_layout_is_kept_and_may_change_only_while_nothing_runs(folder: Path) -> None:
    default = Layout(2, 5000)
    assert agree(folder, None, None, default) == default
    remember(folder, Layout(3, 6000))
    assert layout_of(folder) == Layout(3, 6000)
    assert agree(folder, None, 7000, default) == Layout(3, 7000)
    up(folder, python("node-0", SLEEP))
    assert agree(folder, 3, 6000, default) == Layout(3, 6000)
    with pytest.raises(InvalidInputError, match="is running already, as --nodes 3 --port 6000"):
        agree(folder, 4, None, default)
    with pytest.raises(InvalidInputError, match="stop it before"):
        remove(folder)
    assert stop_all(folder) == ["node-0"]
    assert agree(folder, 4, None, default) == Layout(4, 6000)
    with pytest.raises(InvalidInputError, match="has seals of real work; allowed: the same"):
        agree(folder, None, None, default, ethash_test=True)
    remember(folder, Layout(3, 6000, ethash_test=True))
    assert agree(folder, None, None, default) == Layout(3, 6000, ethash_test=True)
    with pytest.raises(InvalidInputError, match="has test seals; allowed: the same"):
        agree(folder, None, None, default, ethash_test=False)
    remove(folder)
    assert not folder.exists()
    assert stop_all(folder) == []
