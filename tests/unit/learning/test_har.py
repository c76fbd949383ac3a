"""The activities of people with a phone at their waist, in the files of the UCI repository."""

from pathlib import Path

import numpy as np
import pytest

from fbfl.errors import DataUnavailableError, InvalidInputError
from fbfl.learning import datasets
from fbfl.learning.datasets.har import SIGNALS

RNG = np.random.default_rng(0)
WINDOWS = {"train": 12, "test": 5}
VALUES = {
    (part, signal, axis): RNG.normal(size=(count, 128))
    for part, count in WINDOWS.items()
    for signal in SIGNALS
    for axis in "xyz"
}
FEATURES = {part: RNG.uniform(-1, 1, (count, 561)) for part, count in WINDOWS.items()}
LABELS = {part: RNG.integers(1, 7, count) for part, count in WINDOWS.items()}
PEOPLE = {"train": np.array([1, 3, 3, 30, 1, 3, 30, 30, 7, 7, 1, 1]), "test": np.array([2, 2, 4, 4, 9])}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The published folder, with few windows, as $FBFL_DATA/har; returns it."""
    for (part, signal, axis), values in VALUES.items():
        inertial = tmp_path / "har" / part / "Inertial Signals"
        inertial.mkdir(parents=True, exist_ok=True)
        np.savetxt(inertial / f"{signal}_{axis}_{part}.txt", values, fmt="% .7e")
    for part in WINDOWS:
        np.savetxt(tmp_path / "har" / part / f"X_{part}.txt", FEATURES[part], fmt="% .7e")
        np.savetxt(tmp_path / "har" / part / f"y_{part}.txt", LABELS[part], fmt="%d")
        np.savetxt(tmp_path / "har" / part / f"subject_{part}.txt", PEOPLE[part], fmt="%d")
    monkeypatch.setenv("FBFL_DATA", str(tmp_path))
    return tmp_path / "har"


def test_windows_have_all_signals_and_the_person(folder: Path) -> None:
    data = datasets.load("har")
    assert (data.x_train.shape, data.x_test.shape) == ((12, 128, 9), (5, 128, 9))
    assert data.x_train.dtype == np.float32
    for place, (signal, axis) in enumerate((signal, axis) for signal in SIGNALS for axis in "xyz"):
        assert np.allclose(data.x_test[:, :, place], VALUES["test", signal, axis], atol=1e-6)
    assert (data.y_train + 1).tolist() == LABELS["train"].tolist()
    assert data.device_of is not None
    assert np.array([1, 3, 7, 30])[data.device_of].tolist() == PEOPLE["train"].tolist()


def test_some_signals_of_the_folder_as_it_is_unpacked(folder: Path) -> None:
    inner = folder / "UCI HAR Dataset"
    inner.mkdir()
    for part in WINDOWS:
        (folder / part).rename(inner / part)
    data = datasets.load("har", {"signals": "total_acc"})
    assert data.input_shape == (128, 3)
    assert np.allclose(data.x_train[:, :, 1], VALUES["train", "total_acc", "y"], atol=1e-6)
    both = datasets.load("har", {"signals": ["total_acc", "body_gyro"]})
    assert np.array_equal(both.x_train[:, :, :3], data.x_train)


def test_features_of_a_window_instead_of_its_signals(folder: Path) -> None:
    data = datasets.load("har", {"form": "features"})
    assert (data.x_train.shape, data.x_test.shape, data.x_train.dtype) == ((12, 561), (5, 561), np.float32)
    assert np.allclose(data.x_train, FEATURES["train"], atol=1e-6)
    windows = datasets.load("har")
    assert windows.device_of is not None
    assert data.device_of is not None
    for ours, theirs in ((data.y_train, windows.y_train), (data.device_of, windows.device_of)):
        assert ours.tolist() == theirs.tolist()
    with pytest.raises(InvalidInputError, match="dataset har: form is 'figures'; allowed: signals, features"):
        datasets.load("har", {"form": "figures"})
    with pytest.raises(InvalidInputError, match="signals is 'total_acc'; allowed with form=features: all"):
        datasets.load("har", {"form": "features", "signals": "total_acc"})


@pytest.mark.parametrize("signals", ["gyro", [], ["body_acc", "body_acc"]])
def test_signals_that_are_not_there_are_refused(folder: Path, signals: object) -> None:
    with pytest.raises(InvalidInputError, match=r"dataset har: signals .*allowed: .*body_acc, body_gyro, total_acc"):
        datasets.load("har", {"signals": signals})


@pytest.mark.parametrize(
    ("file", "content", "error", "said"),
    [
        ("train/y_train.txt", "1\n2\n", InvalidInputError, "different numbers of lines"),
        ("train/y_train.txt", "7\n" * 12, InvalidInputError, "holds another label than 1 to 6"),
        ("train/y_train.txt", "walk\n" * 12, InvalidInputError, r"y_train\.txt: not lines of 1 numbers"),
        ("test/Inertial Signals/body_acc_x_test.txt", "1 2 3\n" * 5, InvalidInputError, "not lines of 128 numbers"),
        ("test/Inertial Signals/body_acc_x_test.txt", "", InvalidInputError, "not lines of 128 numbers"),
        ("test/subject_test.txt", None, DataUnavailableError, r"subject_test\.txt cannot be read"),
    ],
)
@pytest.mark.filterwarnings("ignore:loadtxt. input contained no data")
def test_damaged_files_are_named(
    folder: Path, file: str, content: str | None, error: type[Exception], said: str
) -> None:
    if content is None:
        (folder / file).unlink()
    else:
        (folder / file).write_text(content)
    with pytest.raises(error, match=said):
        datasets.load("har")


@pytest.mark.parametrize("known", [True, False])
def test_where_it_is_not_a_line_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: bool) -> None:
    monkeypatch.delenv("FBFL_DATA", raising=False)
    if known:
        monkeypatch.setenv("FBFL_DATA", str(tmp_path))
    with pytest.raises(DataUnavailableError, match=r"unpack 'UCI HAR Dataset\.zip' .* into .FBFL_DATA/har"):
        datasets.load("har")
