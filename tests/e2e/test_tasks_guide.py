"""docs/tasks.md: its files and commands, in an empty folder."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fbfl
from fbfl.cli import main
from fbfl.mec.plan import TaskPlan
from tests.support.tasks_guide import prepared


def run(title: str) -> None:
    """Write the files of a section into the current folder, and do its commands; each has to end with 0."""
    for program, *words in prepared(title, Path()):
        if program == "python":
            subprocess.run([sys.executable, *words], check=True)
        else:
            assert (program, main(words)) == ("fbfl", 0), words


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_a_regression(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("Numbers instead of classes")
    said = capsys.readouterr().out
    assert "accuracy" not in said
    assert "everything recomputed is as recorded" in said
    done = fbfl.open_run(folder / "houses", ["houses:net"])
    assert done.summary["final_accuracy"] is None
    last = done.metrics[-1]
    assert (last["accuracy"], last["metrics"]) == (None, done.summary["final_metrics"])
    assert last["metrics"]["mae"] < 0.4
    assert "recall" not in last
    assert {path.name for path in (folder / "houses").glob("*.png")} == {"mae.png", "loss.png"}
    # The model is the one that was measured, and the task on the chain says how.
    table = np.genfromtxt("houses.csv", delimiter=",", skip_header=1, usecols=(0, 1, 2, 4), dtype=np.float32)
    errors = np.abs(np.asarray(done.keras_model()(table[:, :3]))[:, 0] - table[:, 3])
    assert errors.mean() == pytest.approx(last["metrics"]["mae"], rel=0.3)
    plan = TaskPlan.of(done._stored.task, ["houses:net"])
    assert (plan.num_classes, plan.training["loss"]) == (0, "mean_squared_error")
    assert plan.label_range == pytest.approx((table[:, 3].min(), table[:, 3].max()), abs=0.5)
    refused(capsys)


def test_an_activity_recogniser(folder: Path) -> None:
    run("Sensors")
    done = fbfl.open_run(folder / "walks", ["walks:net"])
    assert done.summary["final_accuracy"] > 0.9
    assert len(done.metrics[-1]["recall"]) == 3
    assert TaskPlan.of(done._stored.task, ["walks:net"]).input_shape == (128, 3)


def test_a_text_classifier(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run("Text")
    done = fbfl.open_run(folder / "words", ["words:net"])
    assert done.summary["final_accuracy"] > 0.9
    assert done.audit() == ()
    plan = TaskPlan.of(done._stored.task, ["words:net"])
    assert (plan.sample_type, plan.sample_range, plan.num_classes) == ("int32", (0, 199), 2)
    answers = np.asarray(done.keras_model()(np.load("words.npz")["x_test"]))[:, 0] > 0
    assert np.mean(answers == np.load("words.npz")["y_test"]) == pytest.approx(done.summary["final_accuracy"])
    words = ["run", "--dataset", "words.npz", "--output", "none"]
    for more, said in (
        ((), "model is 'mlp', and samples are whole numbers; allowed: a model of your own that embeds them, or"),
        (
            (
                "--model",
                "words:net",
                "--loss",
                "binary_cross_entropy",
                "--attack",
                "data_poisoning",
                "--malicious",
                "1",
            ),
            "attack data_poisoning: samples are whole numbers (int32); noise needs uint8 or floating point",
        ),
    ):
        assert main([*words, *more]) == 2
        assert said in capsys.readouterr().err


def refused(capsys: pytest.CaptureFixture[str]) -> None:
    """What does not go with numbers is one line, before any work."""
    table = ["run", "--output", "none", "--dataset", "houses.csv", "--dataset-arg", "label=price"]
    table += ["--dataset-arg", "drop=agency"]
    numbers = ("--loss", "mean_squared_error")
    for words, said in (
        ((), "the label 'price' holds"),
        ((*numbers, "--partition", "dirichlet", "--partition-arg", "alpha=1"), "'dirichlet', which goes by classes"),
        ((*numbers, "--attack", "backdoor", "--malicious", "1"), "attack backdoor: changes classes"),
        ((*numbers, "--metric", "f1"), "metric is 'f1', but labels are numbers; allowed: mae, mse"),
        ((*numbers, "--num-classes", "2"), "num_classes is 2; allowed with loss mean_squared_error: 0"),
        (("--loss", "binary_cross_entropy"), "no fractions"),
        (("--loss", "hinge"), "loss is 'hinge'; allowed: cross_entropy, binary_cross_entropy, mean_squared_error"),
        (("--loss", "nowhere:loss", "--num-classes", "0"), "loss 'nowhere:loss': cannot import 'nowhere'"),
        ((*numbers, "--model", "houses:three"), "no function 'three'"),
    ):
        capsys.readouterr()
        assert main([*table, *words]) == 2
        complained = capsys.readouterr().err
        assert said in complained
        assert complained.count("\n") == 1
    assert not Path("none").exists()
