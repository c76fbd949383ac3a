"""`on_round` and what is made of it: TensorBoard's events, read as TensorBoard does, and runs in MLflow."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fbfl
from fbfl import tracking
from fbfl.cli import main
from fbfl.errors import UserCodeError
from fbfl.learning import datasets
from fbfl.runs.files import read_metrics
from tests.support.federations import federation

DIGITS = ["--dataset", "digits", "--servers", "3", "--rounds", "2"]
Scalars = dict[str, list[tuple[int, float]]]


def scalars_in(folder: Path) -> Scalars:
    """The scalars in the events of a folder, by tag: step and value of each."""
    import tensorflow as tf

    found: Scalars = {}
    for file in sorted(folder.glob("events.out.tfevents.*")):
        for record in tf.data.TFRecordDataset(str(file)):
            event = tf.compat.v1.Event.FromString(record.numpy())
            for value in event.summary.value:
                assert value.metadata.plugin_data.plugin_name == "scalars"
                found.setdefault(value.tag, []).append((event.step, float(tf.make_ndarray(value.tensor))))
    return found


def numbers_of(folder: Path) -> dict[str, list[tuple[int, Any]]]:
    """The same from metrics.jsonl."""
    lines = read_metrics(folder)
    flat = [{**line, **{f"metrics/{name}": value for name, value in line["metrics"].items()}} for line in lines]
    names = [name for name, value in flat[0].items() if isinstance(value, int | float) and name != "round"]
    return {name: [(line["round"], pytest.approx(line[name], rel=1e-6)) for line in flat] for name in names}


def test_the_command_keeps_every_figure_of_every_round_for_tensorboard(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    attacked = ["--attack", "backdoor", "--malicious", "1", "--metric", "f1"]
    words = ["run", *DIGITS, *attacked, "--output", str(tmp_path / "run"), "--tensorboard", str(tmp_path / "events")]
    assert main(words) == 0
    kept = scalars_in(tmp_path / "events")
    assert kept == numbers_of(tmp_path / "run")
    assert {"accuracy", "loss", "attack_success_rate", "metrics/f1", "gas_used", "seconds"} <= set(kept)
    capsys.readouterr()
    words[words.index("--output") + 1] = str(tmp_path / "other")
    assert main(words) == 2
    said = capsys.readouterr().err
    assert (
        said == f"fbfl: --tensorboard {tmp_path / 'events'}: holds a run already; allowed: a new or an empty folder\n"
    )
    assert not (tmp_path / "other").exists()


def test_of_seeds_each_has_a_folder_and_a_run_that_goes_on_adds_to_its_own(tmp_path: Path) -> None:
    events = tmp_path / "events"
    words = [*DIGITS, "--metric", "f1", "--output", str(tmp_path / "runs")]
    assert main(["run", *words, "--seeds", "2", "--tensorboard", str(events)]) == 0
    for seed in (0, 1):
        assert scalars_in(events / f"seed-{seed}") == numbers_of(tmp_path / "runs" / f"seed-{seed}")
    run = tmp_path / "runs" / "seed-1"  # as if it had been stopped after the first round
    (run / "summary.json").unlink()
    first, _ = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    (run / "metrics.jsonl").write_text(first)
    assert main(["run", "--resume", str(run), "--tensorboard", str(events / "seed-1")]) == 0
    assert [step for step, _ in scalars_in(events / "seed-1")["accuracy"]] == [1, 2, 2]


def test_a_run_that_does_not_begin_leaves_the_folder_to_the_next(tmp_path: Path) -> None:
    events = str(tmp_path / "events")
    assert main(["run", *DIGITS, "--aggregator", "krum", "--quiet", "--tensorboard", events]) == 2
    with tracking.tensorboard(events) as on_round:
        on_round({"round": 1, "accuracy": 0.5, "loss": None, "leader": None, "views": 1, "metrics": {"f1": 0.25}})
    assert scalars_in(tmp_path / "events") == {"accuracy": [(1, 0.5)], "views": [(1, 1.0)], "metrics/f1": [(1, 0.25)]}


def test_a_folder_that_cannot_be_written_is_refused_before_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    for path, why in ((tmp_path / "file", "File exists"), (tmp_path / "file" / "events", "Not a directory")):
        assert main(["run", *DIGITS, "--output", str(tmp_path / "run"), "--tensorboard", str(path)]) == 2
        assert capsys.readouterr().err == f"fbfl: --tensorboard {path}: cannot be written: {why}\n"
    assert not (tmp_path / "run").exists()


def test_everybody_who_plays_rounds_tells_of_them_what_the_folder_has(tmp_path: Path) -> None:
    told: list[dict[str, Any]] = []
    settings = fbfl.RunSettings(dataset="digits", servers=4, devices=8, rounds=2, signatures=False, metric="f1")
    run = fbfl.run(settings, tmp_path / "run", on_round=told.append)
    assert told == run.metrics
    told.clear()
    results = list(federation(tmp_path, metric="f1", simulation={"on_round": told.append}).rounds())
    assert told == [result.line() for result in results]
    untimed = [{name: line[name] for name in line if "seconds" not in name} for line in told]
    assert untimed == [{name: line[name] for name in line if "seconds" not in name} for line in run.metrics]
    told.clear()
    alone = list(without_chain(on_round=told.append, metric="f1", attack="backdoor", malicious=[0]).rounds(2))
    assert [line["accuracy"] for line in told] == [result.accuracy for result in alone]
    assert {"attack_success_rate", "metrics", "loss", "updates", "train_seconds"} <= set(told[1])
    assert json.loads(json.dumps(told)) == told
    assert set(told[0]) - {"aggregate_seconds"} <= {*run.metrics[0], "attack_success_rate"}, (
        "the names of metrics.jsonl"
    )


def without_chain(**settings: Any) -> fbfl.Federation:
    data = datasets.load("digits")
    clients = [(data.x_train[part::3], data.y_train[part::3]) for part in range(3)]
    return fbfl.Federation(clients, (data.x_test, data.y_test), **settings)


def breaks(line: dict[str, Any]) -> None:
    line["round"] = "changed"
    if line["accuracy"] >= 0:
        raise ValueError("no more paper")


def test_an_error_in_it_ends_the_run_and_names_the_function(tmp_path: Path) -> None:
    settings = fbfl.RunSettings(dataset="digits", servers=3, rounds=2)
    play: tuple[Callable[[Any], Any], ...] = (
        lambda on_round: fbfl.run(settings, tmp_path / "run", on_round=on_round),
        lambda on_round: list(federation(tmp_path, simulation={"on_round": on_round}).rounds()),
        lambda on_round: list(without_chain(on_round=on_round).rounds(2)),
    )
    for each in play:
        with pytest.raises(UserCodeError, match="on_round breaks raised ValueError: no more paper") as caught:
            each(breaks)
        assert caught.value.exit_status == 2
        with pytest.raises(fbfl.InvalidInputError, match="on_round is 3; allowed: a function"):
            each(3)
    assert [line["round"] for line in read_metrics(tmp_path / "run")] == [1], "the round itself is kept"


def test_without_its_package_mlflow_is_refused_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "mlflow.py").write_text("raise ModuleNotFoundError(\"No module named 'mlflow'\")")
    text = "from fbfl import tracking\nwith tracking.mlflow({}): pass"
    environment = {"PYTHONPATH": f"{tmp_path}:{Path(fbfl.__file__).parents[1]}"}
    done = subprocess.run([sys.executable, "-c", text], env=environment, capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == (
        "fbfl.errors.InvalidInputError: mlflow: No module named 'mlflow'; "
        "allowed with the extra: pip install 'fbfl[tracking]'"
    )


def interrupted(uri: str) -> None:
    with tracking.mlflow({"lane": 1}, uri=uri, experiment="digits") as on_round:
        on_round({"round": 1, "loss": None, "metrics": {"<lambda>": np.float64(0.5)}})
        raise KeyboardInterrupt


@pytest.mark.filterwarnings("ignore")  # its packages warn of each other
def test_mlflow_has_the_settings_and_every_figure_of_every_round(tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow", reason="make test-torch has it")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    settings = fbfl.RunSettings(dataset="digits", servers=3, rounds=2, metric="f1", aggregator="median")
    with tracking.mlflow(settings, uri=uri, experiment="digits", name="median") as on_round:
        run = fbfl.run(settings, tmp_path / "run", on_round=on_round)
    with pytest.raises(KeyboardInterrupt):
        interrupted(uri)
    client = mlflow.MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("digits").experiment_id
    stopped, ended = client.search_runs([experiment])
    assert (ended.info.run_name, ended.info.status) == ("median", "FINISHED")
    assert ended.data.params["aggregator"] == "median"
    assert set(ended.data.params) == set(json.loads((run.path / "settings.json").read_text()))
    for name, expected in numbers_of(run.path).items():
        history = [(each.step, each.value) for each in client.get_metric_history(ended.info.run_id, name)]
        assert history == expected, name
    assert (stopped.info.status, stopped.data.metrics) == ("KILLED", {"metrics/_lambda_": 0.5})
    with pytest.raises(fbfl.FbflError, match="mlflow: "), tracking.mlflow({}, uri="gopher://nowhere"):
        pass
