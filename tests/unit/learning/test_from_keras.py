"""What Keras loads: archives of the same form as its own, served from this machine, and fetched by its own loaders."""

import io
import pickle
import tarfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import keras.datasets
import numpy as np
import pytest
from keras.src.utils import file_utils

from fbfl.errors import DataUnavailableError, InvalidInputError
from fbfl.learning import datasets
from fbfl.learning.datasets import from_keras, origin
from tests.support.web import serving

RNG = np.random.default_rng(0)


def archive(files: dict[str, dict[bytes, Any]]) -> bytes:
    """An archive of pickled batches, as the University of Toronto has them."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, content in files.items():
            data = pickle.dumps(content, protocol=3)  # in 2 bytes are made by a function that Keras refuses
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return packed.getvalue()


def pictures(count: int) -> np.ndarray:
    return RNG.integers(0, 256, (count, 3072), dtype=np.uint8)


def npz(**arrays: Any) -> bytes:
    packed = io.BytesIO()
    np.savez(packed, **arrays)
    return packed.getvalue()


def texts(count: int) -> np.ndarray:
    found = np.empty(count, object)
    found[:] = [RNG.integers(1, 60, RNG.integers(3, 30)).tolist() for _ in range(count)]
    return found


# Keras fills its array of 50,000 with batches of 10,000, or one picture for all of them.
TEN: dict[str, dict[bytes, Any]] = {
    f"cifar-10-batches-py/data_batch_{n}": {b"data": pictures(1), b"labels": [n]} for n in range(1, 6)
}
TEN["cifar-10-batches-py/test_batch"] = {b"data": pictures(7), b"labels": list(range(7))}
HUNDRED = {
    f"cifar-100-python/{part}": {
        b"data": pictures(9),
        b"fine_labels": list(range(90, 99)),
        b"coarse_labels": [n % 20 for n in range(11, 20)],
    }
    for part in ("train", "test")
}
SERVED = {
    "/cifar-10-python.tar.gz": archive(TEN),
    "/cifar-100-python.tar.gz": archive(HUNDRED),
    "/imdb.npz": npz(x_train=texts(40), y_train=np.arange(40) % 2, x_test=texts(20), y_test=np.arange(20) % 2),
    "/reuters.npz": npz(x=texts(50), y=np.arange(50) % 46),
    "/california_housing.npz": npz(x=RNG.random((30, 8)) * 1000, y=RNG.random(30) * 1e5),
}


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, bytes]]:
    """A server of the files, whose loaders are Keras's own but for where they look and what they expect."""
    files = dict(SERVED)
    with serving(files) as base:

        def get_file(*args: Any, origin: str, file_hash: str, **options: Any) -> Any:
            return file_utils.get_file(*args, origin=f"{base}/{origin.rpartition('/')[2]}", **options)

        monkeypatch.setenv("KERAS_HOME", str(tmp_path))
        monkeypatch.setattr("keras.src.backend.config._KERAS_DIR", str(tmp_path), raising=False)
        moved = {name: (file, f"{base}/{url.rpartition('/')[2]}") for name, (file, url) in from_keras._FILES.items()}
        monkeypatch.setattr(from_keras, "_FILES", moved)
        for name in moved:
            monkeypatch.setattr(f"keras.src.datasets.{name}.get_file", partial(get_file, cache_dir=str(tmp_path)))
        yield files


def test_pictures_in_colour(served: Any, capsys: pytest.CaptureFixture[str]) -> None:
    data = datasets.load("cifar10")
    assert (data.x_train.shape, data.x_test.shape, data.x_train.dtype) == (
        (50_000, 32, 32, 3),
        (7, 32, 32, 3),
        np.uint8,
    )
    assert data.y_train[::10_000].tolist() == [1, 2, 3, 4, 5]
    assert (data.y_test.tolist(), data.y_test.dtype) == (list(range(7)), np.int64)
    expected = TEN["cifar-10-batches-py/test_batch"][b"data"].reshape(7, 3, 32, 32).transpose(0, 2, 3, 1)
    assert (data.x_test == expected).all()
    assert capsys.readouterr().out == ""
    served.clear()  # what is there needs no network
    assert datasets.load("cifar10").y_test.tolist() == data.y_test.tolist()


def test_of_a_hundred_classes_the_coarse_ones_are_twenty(served: Any) -> None:
    assert datasets.load("cifar100").y_train.tolist() == list(range(90, 99))
    assert datasets.load("cifar100", {"labels": "coarse"}).y_test.tolist() == [n % 20 for n in range(11, 20)]
    with pytest.raises(InvalidInputError, match="labels is 'rough'; allowed: fine, coarse"):
        datasets.load("cifar100", {"labels": "rough"})


@pytest.mark.parametrize("name", ["imdb", "reuters"])
def test_texts_are_numbers_of_words_of_one_length(served: Any, name: str) -> None:
    data = datasets.load(name, {"words": 40, "length": 12})
    assert (data.x_train.dtype, data.x_train.shape[1:]) == (np.int32, (12,))
    assert data.x_train.min() == 0
    assert 3 < data.x_train.max() < 40
    assert data.x_train[:, -1].min() > 0, "zeros are in front"
    (x, _), _ = getattr(keras.datasets, name).load_data(num_words=40)
    assert all(row[-len(text) :].tolist() == text[-12:] for row, text in zip(data.x_train, x, strict=True))
    with pytest.raises(InvalidInputError, match="length is 0; allowed: 1 or more"):
        datasets.load(name, {"length": 0})


def test_prices_are_numbers(served: Any) -> None:
    data = datasets.load("california-housing", num_classes=0)
    assert (data.x_train.shape, data.y_train.dtype, data.num_classes) == ((24, 8), np.float32, 0)
    with pytest.raises(InvalidInputError, match="numbers need loss mean_squared_error"):
        datasets.load("california-housing")


def test_what_cannot_be_had_is_one_line_with_what_to_do(served: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    served["/imdb.npz"] = b"<html>please log in</html>"
    del served["/reuters.npz"]
    for name in ("imdb", "reuters"):
        with pytest.raises(
            DataUnavailableError, match=rf"{name}.npz cannot be had \(.*\): put {name}.npz there as "
        ) as no:
            datasets.load(name)
        assert "\n" not in str(no.value)
    monkeypatch.setattr(from_keras, "_FILES", {"cifar10": ("none", "http://127.0.0.1:1/cifar-10-python.tar.gz")})
    monkeypatch.setattr(origin, "_CONNECT_SECONDS", 0.5)
    with pytest.raises(DataUnavailableError, match=r"put cifar-10-python.tar.gz there as .*none"):
        datasets.load("cifar10")
