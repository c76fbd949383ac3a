"""Data sets that their publishers offer as archives: small ones of the same form, served from this machine."""

import gzip
import hashlib
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

from fbfl.errors import DataUnavailableError, InvalidInputError
from fbfl.learning import datasets
from fbfl.learning.datasets import emnist, idx, origin, svhn
from tests.support.web import serving

RNG = np.random.default_rng(0)
PICTURES = {part: RNG.integers(0, 256, (count, 28, 28), np.uint8) for part, count in (("train", 8), ("test", 3))}
LABELS = {"train": np.array([10, 3, 8, 1, 9, 10, 2, 5], np.uint8), "test": np.array([4, 10, 1], np.uint8)}
COLOURS = {part: RNG.integers(0, 256, (len(PICTURES[part]), 32, 32, 3), np.uint8) for part in PICTURES}


def packed_idx(array: np.ndarray) -> bytes:
    """A file in LeCun's format."""
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return gzip.compress(bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes())


def zipped() -> bytes:
    """The archive of NIST, with a shift of labels per split to tell them apart; pictures lie by columns."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for shift, split in enumerate(emnist.SPLITS):
            for part, pictures in PICTURES.items():
                name = f"gzip/emnist-{split}-{part}"
                archive.writestr(f"{name}-images-idx3-ubyte.gz", packed_idx(pictures.transpose(0, 2, 1)))
                archive.writestr(f"{name}-labels-idx1-ubyte.gz", packed_idx(LABELS[part] + np.uint8(shift)))
    return made.getvalue()


def mat(part: str) -> bytes:
    """A file of MATLAB with the axes and labels as of the house numbers."""
    made = io.BytesIO()
    arrays = {"X": COLOURS[part].transpose(1, 2, 3, 0), "y": LABELS[part][:, None]}
    savemat(made, arrays, do_compression=True)
    return made.getvalue()


SERVED = {"/gzip.zip": zipped(), "/train_32x32.mat": mat("train"), "/test_32x32.mat": mat("test")}
FOLDERS = {"/gzip.zip": "emnist", "/train_32x32.mat": "svhn", "/test_32x32.mat": "svhn"}


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, bytes]]:
    """The files, and what is known of them, in place of the publishers' own; the cache is empty."""
    files = dict(SERVED)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.delenv("FBFL_DATA", raising=False)
    with serving(files) as address:

        def known(path: str) -> origin.Published:
            content = SERVED[path]
            return origin.Published(address + path, len(content), hashlib.sha256(content).hexdigest())

        monkeypatch.setattr(emnist, "_FILE", known("/gzip.zip"))
        monkeypatch.setattr(svhn, "_FILES", {part: known(f"/{part}_32x32.mat") for part in ("train", "test")})
        yield files


@pytest.mark.parametrize(("shift", "split"), [*enumerate(emnist.SPLITS)])
def test_characters_stand_upright_and_classes_count_from_0(served: Any, shift: int, split: str) -> None:
    data = datasets.load("emnist", {"split": split} if shift else {})  # balanced is the default
    assert data.name == f"emnist-{split}"
    assert (data.x_train == PICTURES["train"]).all()
    assert (data.x_test == PICTURES["test"]).all()
    assert data.x_train.flags.c_contiguous
    assert (data.x_train.dtype, data.y_train.dtype) == (np.uint8, np.int64)
    for labels, part in ((data.y_train, "train"), (data.y_test, "test")):
        assert labels.tolist() == [label + shift - (split == "letters") for label in LABELS[part].tolist()]


def test_a_split_that_is_not_there_is_refused(served: Any) -> None:
    with pytest.raises(InvalidInputError, match="dataset emnist: split is 'greek'; allowed: balanced, byclass"):
        datasets.load("emnist", {"split": "greek"})


def test_house_numbers_have_their_samples_first_and_10_is_0(served: Any) -> None:
    data = datasets.load("svhn")
    assert (data.x_train == COLOURS["train"]).all()
    assert (data.x_test == COLOURS["test"]).all()
    assert (data.x_train.dtype, data.y_train.dtype) == (np.uint8, np.int64)
    assert data.x_train.flags.c_contiguous
    assert data.y_train.tolist() == [label % 10 for label in LABELS["train"].tolist()]


def places(path: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The cache's and the user's place of a file."""
    monkeypatch.setenv("FBFL_DATA", str(home / "mine"))
    return [home / folder / FOLDERS[path] / path[1:] for folder in ("keras/datasets", "mine")]


@pytest.mark.parametrize("path", [*SERVED])
def test_a_file_is_fetched_once_and_may_lie_with_the_user(
    served: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    cached, own = places(path, tmp_path, monkeypatch)
    first = datasets.load(FOLDERS[path])
    assert cached.read_bytes() == SERVED[path]
    served.clear()
    own.parent.mkdir(parents=True)
    cached.rename(own)
    again = datasets.load(FOLDERS[path])
    assert again.x_train.tobytes() == first.x_train.tobytes()
    assert again.y_test.tobytes() == first.y_test.tobytes()
    # Another file there is named, and neither taken nor replaced.
    own.write_bytes(SERVED[path][:-1])
    with pytest.raises(InvalidInputError, match=rf"{own} is not http.*{path} \(SHA-256 "):
        datasets.load(FOLDERS[path])
    assert own.read_bytes() == SERVED[path][:-1]


@pytest.mark.parametrize("path", [*SERVED])
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "404"),
        (b"<html>please log in</html>", "sends another file"),
        (b"0" * 200_000, r"it sends more than \d+ bytes"),
    ],
)
def test_what_cannot_be_had_is_one_line_with_where_to_put_it(
    served: Any, tmp_path: Path, path: str, content: bytes | None, said: str
) -> None:
    served.pop(path)
    if content is not None:
        served[path] = content
    folder, name = FOLDERS[path], path[1:]
    cache = tmp_path / "keras" / "datasets" / folder
    with pytest.raises(
        DataUnavailableError, match=rf"{said}.*: put {name} into \$FBFL_DATA/{folder} or {cache}$"
    ) as no:
        datasets.load(folder)
    assert "\n" not in str(no.value)
    assert not (cache / name).exists()


def test_a_large_file_is_told_and_one_that_trickles_is_given_up(
    served: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(origin, "_MOST", 1000)
    datasets.load("svhn")
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == [f"fetching {file.url} (0 MB)" for file in svhn._FILES.values()]
    monkeypatch.setattr(origin, "_DOWNLOAD_SECONDS", 0.0)
    monkeypatch.setattr(origin, "_SLOWEST", 10**12)
    with pytest.raises(
        DataUnavailableError, match=r"cannot be had \((it is too slow|no answer in time)\): put gzip.zip"
    ):
        datasets.load("emnist")


@pytest.mark.parametrize(
    "damage", [lambda whole: whole[:-1], lambda whole: b"\1" + whole[1:], lambda _: b"", lambda _: b"\0"]
)
def test_what_is_no_idx_file_is_refused(damage: Any) -> None:
    whole = gzip.decompress(packed_idx(PICTURES["test"]))
    with pytest.raises(InvalidInputError, match=r"^mine: not a whole idx file of bytes$"):
        idx.read(gzip.compress(damage(whole)), "mine")
