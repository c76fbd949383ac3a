"""Flower apps in Flower's own form, unchanged, with Flower in environments of theirs."""

import subprocess
import sys
from pathlib import Path

import pytest

import fbfl
from fbfl.chain.records import RoundRecord
from fbfl.errors import InvalidInputError, UserCodeError
from fbfl.learning.federation import Federation
from fbfl.learning.flower import trainer as flower

APPS = Path(__file__).parents[1] / "flower" / "apps"
pytestmark = pytest.mark.slow

NAMES = ["numpy_app", "sklearn_app"]


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
    packages = {"numpy_app": "blobs", "sklearn_app": "figures"}
    assert not {"flwr", packages[name]} & {module.partition(".")[0] for module in sys.modules}


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
}


@pytest.mark.parametrize("main", SERVERS)
def test_a_server_app_that_starts_no_strategy(main: str, tmp_path: Path) -> None:
    copy = _copy(tmp_path, {"server_app.py": ("    config = context.run_config\n", f"    {main}\n")})
    with pytest.raises((InvalidInputError, UserCodeError), match=SERVERS[main]):
        flower.FlowerTrainer(app=str(copy))


CLIENTS = {
    "x, y = of_node(99)": r"train of node 0 raised TypeError: of_node\(\) missing .*\n.*client_app.py:[0-9]+ in train",
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
