"""Flower apps in Flower's own form, unchanged, with Flower in environments of theirs."""

import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

import fbfl
from fbfl.chain.records import RoundRecord
from fbfl.errors import InvalidInputError, UserCodeError
from fbfl.learning.federation import Federation
from fbfl.learning.flower import app as apps
from fbfl.learning.flower import environment
from fbfl.learning.flower import trainer as flower
from tests.support.ports import free_ports

APPS = Path(__file__).parents[1] / "flower" / "apps"
pytestmark = pytest.mark.slow

TORCH = find_spec("torch") is not None  # its wheel is of gigabytes: only where there is one already
NAMES = ["numpy_app", "sklearn_app", *(["torch_app"] if TORCH else [])]
needs_torch = pytest.mark.skipif(not TORCH, reason="PyTorch is not installed; make test-torch has it")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the environments of the apps, made by `fbfl flower prepare`."""
    place = tmp_path_factory.mktemp("prepared")
    for name in NAMES:
        subprocess.run([sys.executable, "-m", "fbfl", "flower", "prepare", APPS / name], cwd=place, check=True)
    return place


@pytest.fixture(autouse=True)
def _in_place(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(prepared)


def _settings(name: str, **more: object) -> fbfl.RunSettings:
    return fbfl.RunSettings(trainer="flower", app=str(APPS / name), servers=4, rounds=5, consensus="pbft", **more)  # type: ignore[arg-type]


def _samples(record: RoundRecord) -> list[int]:
    return [update.samples for update in record.updates]


@pytest.mark.parametrize(
    ("name", "samples", "least"),
    [
        ("numpy_app", [200, 300, 400, 200], 0.95),
        ("sklearn_app", [300, 300, 300, 300], 0.85),
        pytest.param("torch_app", [400, 400, 400, 400], 0.9, marks=needs_torch),
    ],
)
def test_a_run_of_an_app(name: str, samples: list[int], least: float, tmp_path: Path) -> None:
    run = fbfl.run(_settings(name, liars=1), tmp_path / "run")
    assert run.summary["final_accuracy"] > least
    assert [_samples(record) for record in run.rounds] == [samples] * 5
    assert any(record.views > 1 and record.leader for record in run.rounds), "the liar never had its turn"
    assert run.audit() == ()
    assert run.settings.aggregator == "fedavg"
    again = fbfl.run(_settings(name), tmp_path / "again")
    assert again.summary["model_sha256"] == run.summary["model_sha256"]
    packages = {"numpy_app": "blobs", "sklearn_app": "figures", "torch_app": "waves"}
    assert not {"flwr", packages[name]} & {module.partition(".")[0] for module in sys.modules}


@pytest.mark.parametrize(
    ("name", "noise"),
    [
        ("numpy_app", 0.01),  # of 400 points; seeds 0 to 3 give 0.985 to 0.9875
        ("sklearn_app", 0.004),  # it draws nothing: one of 297 digits, for float32 on the chain
        pytest.param("torch_app", 0.06, marks=needs_torch),  # seeds 0 to 3 give 0.972 to 0.998
    ],
)
def test_flowers_own_simulation_comes_to_the_same_accuracy(name: str, noise: float, tmp_path: Path) -> None:
    federation = Federation(trainer="flower", trainer_args={"app": str(APPS / name), "servers": 4})
    ours = [result.accuracy for result in federation.rounds(5)]
    theirs = _simulated(APPS / name, tmp_path)
    assert theirs == pytest.approx(ours[-1], abs=noise)


@pytest.mark.parametrize(
    ("strategy", "rule"),
    [
        ("FedMedian", ("median", {})),
        ("FedTrimmedAvg", ("trimmed_mean", {"trim": 1})),
        ("Krum", ("krum", {"num_byzantine": 0})),
        ("MultiKrum", ("multi_krum", {"num_byzantine": 0, "num_selected": 1})),
        ("Bulyan", ("bulyan", {"num_byzantine": 0})),
    ],
)
def test_strategies_of_an_app(strategy: str, rule: tuple[str, dict[str, object]]) -> None:
    federation = Federation(
        trainer="flower",
        trainer_args={"app": str(APPS / "numpy_app"), "servers": 7, "config": {"strategy": strategy}},
    )
    assert isinstance(federation.trainer, flower.FlowerTrainer)
    assert federation.trainer.rule == rule
    (result,) = federation.rounds(1)
    assert result.accuracy > 0.9


def test_a_strategy_that_fbfl_does_not_have_and_a_rule_in_its_place() -> None:
    arguments = {"app": str(APPS / "numpy_app"), "servers": 4, "config": "strategy=FedAdam"}
    with pytest.raises(InvalidInputError, match="strategy is FedAdam; allowed: FedAvg, Krum"):
        Federation(trainer="flower", trainer_args=arguments)
    (result,) = Federation(trainer="flower", trainer_args=arguments, aggregator="median").rounds(1)
    assert result.accuracy > 0.9


SERVERS = {
    "raise ValueError('no money')": "its ServerApp raised ValueError: no money\n.*server_app.py:[0-9]+ in main",
    "grid.send_and_receive([])": "its ServerApp does grid.send_and_receive by itself; allowed: one that starts",
    "return": "its ServerApp does nothing by itself",
    "import sys; sys.exit(4)": "its ServerApp raised SystemExit: 4",
    "strategy.FedAvg().start(grid, None)": "get_parameters, as its ServerApp starts without arrays, raised ValueError",
}


@pytest.mark.parametrize("main", SERVERS)
def test_a_server_app_that_starts_no_strategy(main: str, tmp_path: Path) -> None:
    copy = _copy(tmp_path, {"server_app.py": ("    config = context.run_config\n", f"    {main}\n")})
    with pytest.raises((InvalidInputError, UserCodeError), match=SERVERS[main]):
        flower.FlowerTrainer(app=str(copy))


CLIENTS = {
    "x, y = of_node(99)": r"train of node 0 raised TypeError: of_node\(\) missing .*\n.*client_app.py:[0-9]+ in train",
    "return None": "train of node 0 raised TypeError: the client returned a NoneType; needed: a Message",
    "import os; os._exit(7)": "its process ended with status 7 during train of node 0",
}


@pytest.mark.parametrize("train", CLIENTS)
def test_a_client_app_that_fails(train: str, tmp_path: Path) -> None:
    copy = _copy(tmp_path, {"client_app.py": ("    config = context.run_config\n", f"    {train}\n")})
    federation = Federation(trainer="flower", trainer_args={"app": str(copy), "servers": 1})
    with pytest.raises(fbfl.FbflError, match=CLIENTS[train]):
        list(federation.rounds(1))


def _copy(place: Path, changes: dict[str, tuple[str, str]]) -> Path:
    source = APPS / "numpy_app"
    for path in source.rglob("*.*"):
        if path.suffix in (".py", ".toml"):
            text = path.read_text()
            if path.name in changes:
                assert changes[path.name][0] in text
                text = text.replace(*changes[path.name], 1)
            target = place / path.relative_to(source)
            target.parent.mkdir(exist_ok=True)
            target.write_text(text)
    return place


def _simulated(app: Path, place: Path) -> float:
    """Return the accuracy after the last round that `flwr run` prints for an app with four nodes."""
    programs = environment.python_of(apps.read(app)).parent
    port = free_ports()
    variables = {
        **os.environ,
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "FLWR_HOME": str(place / "flower"),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_LOCAL_SUPERLINK_HTTP_API_PORT": str(port),
        "NO_COLOR": "1",
    }
    variables.pop("PYTHONPATH", None)
    run = [str(programs / "flwr"), "run", str(app), "--stream", "--federation-config", "num-supernodes=4"]
    with _superlink(port, place, variables):
        done = subprocess.run(run, cwd=place, env=variables, capture_output=True, text=True, timeout=300)
    found = re.findall(r"'accuracy': '?([0-9.e+-]+)|\(5, ([0-9.e+-]+)\)\]", done.stdout + done.stderr)
    assert found, done.stdout + done.stderr
    return float(max(found[-1]))


@contextmanager
def _superlink(port: int, place: Path, variables: Mapping[str, str]) -> Iterator[None]:
    """Run what `flwr run` would start by itself and leave behind."""
    command = ["flower-superlink", "--insecure", "--simulation", "--isolation", "subprocess", "--host", "127.0.0.1"]
    ports = ["--port", str(port), "--control-api-address", f"127.0.0.1:{port + 1}"]
    log = (place / "superlink.log").open("wb")
    with (
        log,
        subprocess.Popen(
            [*command, *ports], cwd=place, env=variables, stdout=log, stderr=log, start_new_session=True
        ) as process,
    ):
        try:
            for _ in range(300):
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                    break
                except urllib.error.URLError:
                    time.sleep(0.1)
            yield
        finally:
            os.killpg(process.pid, signal.SIGKILL)
