"""Folders that `datasets` of Hugging Face saved (`save_to_disk`), read as the Arrow files that they are."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fbfl.errors import InvalidInputError, failures_as, require
from fbfl.learning.datasets.dataset import Array, Dataset, samples_of_part, share_held_out
from fbfl.system.strictjson import read_object

_IN_PARTS, _INFO, _STATE = "dataset_dict.json", "dataset_info.json", "state.json"
_PARTS = ("train", "test")
_EXTRA = "pip install 'fbfl[huggingface]' has it"


def is_saved(path: Path) -> bool:
    """Return True for a folder that holds a saved data set."""
    return any((path / mark).is_file() for mark in (_IN_PARTS, _INFO))


def files(path: Path) -> tuple[Path, ...]:
    """Return the files of a saved data set that `load` reads; others there, as caches, count for nothing."""
    parts = [folder for name, folder in _parts(path).items() if name in _PARTS]
    named = [[folder / _INFO, folder / _STATE, *_arrow_files(folder)] for folder in parts]
    return (*([path / _IN_PARTS] if parts != [path] else []), *(file for each in named for file in each))


def load(
    path: Path,
    label: str = "label",
    samples: str | Sequence[str] | None = None,
    device: str | None = None,
    test: float = 0.2,
    num_classes: int | None = None,
) -> Dataset:
    """Load the columns `samples` (default: all others) and `label`; `device` names a column that tells the device.

    One column of pictures is uint8 [n, height, width, ...], one of lists or arrays of numbers [n, ...]; several columns
    of numbers are float32 [n, columns]. Labels that are texts are numbered in their order. The parts `train` and `test`
    are what they are; where there is no `test`, the part `test` of the rows, always the same, is held out. Anything
    else raises `InvalidInputError`.
    """
    parts = _parts(path)
    if not {"train", "test"} <= parts.keys() and not 0 < test < 1:
        raise InvalidInputError(f"{path}: test is {test}; allowed: above 0 and below 1, the part held out for testing")
    tables = {name: _table(folder) for name, folder in parts.items() if name in _PARTS}
    if "train" not in tables:
        raise InvalidInputError(f"{path}: has {', '.join(parts) or 'no part'}; needed: a part train")
    loaded = {}
    for name, (columns, features) in tables.items():
        where = path if len(parts) == 1 else path / name
        roles = {"label": label, **({"device": device} if device is not None else {})}
        chosen = [samples] if isinstance(samples, str) else list(samples or (set(columns) - set(roles.values())))
        chosen = [column for column in columns if column in chosen] if samples is None else chosen
        for role, column in (*roles.items(), *(("samples", column) for column in chosen)):
            require(column in columns, f"{where}: {role}", column, ", ".join(columns))
            missing = columns[column].null_count if role != "samples" else 0
            if missing:
                raise InvalidInputError(
                    f"{where}: the {role} {column!r} has no value in {missing} rows; needed: a value in each"
                )
        if label in (*chosen, device):
            raise InvalidInputError(f"{where}: label is {label!r}, and so is another; allowed: a column of its own")
        x = _samples({column: columns[column] for column in chosen}, features, where)
        y = np.asarray(columns[label].to_pylist())
        devices = None if device is None else np.asarray(columns[device].to_pylist()).astype(str)
        loaded[name] = x, y, devices
    x, y, devices = loaded["train"]
    device_of = None if devices is None else np.unique(devices, return_inverse=True)[1].astype(np.int64)
    if y.dtype.kind == "U" and num_classes != 0:
        names = np.unique(np.concatenate([each[1] for each in loaded.values()]))
        loaded = {part: (each[0], np.searchsorted(names, each[1]), each[2]) for part, each in loaded.items()}
    x, y = samples_of_part(*loaded["train"][:2], str(path), "train", num_classes)
    if "test" in loaded:
        x_test, y_test = samples_of_part(*loaded["test"][:2], str(path), "test", num_classes)
        if x.shape[1:] != x_test.shape[1:]:
            raise InvalidInputError(
                f"{path}: samples of train have the shape {x.shape[1:]}, of test {x_test.shape[1:]}"
            )
        return Dataset(path.name, x, y, x_test, y_test, str(path), device_of=device_of)
    return share_held_out(path.name, x, y, test, path, device_of=device_of)


def _parts(path: Path) -> dict[str, Path]:
    """Return the folders of the parts by name; of a single one as `train`."""
    if not (path / _IN_PARTS).is_file():
        return {"train": path}
    return {str(name): path / str(name) for name in _listed(path / _IN_PARTS, "splits")}


def _listed(path: Path, key: str) -> list[Any]:
    found = _json(path).get(key, [])
    if not isinstance(found, list):
        raise InvalidInputError(f"{path}: {key} is {found!r}; needed: a list")
    return found


def _json(path: Path) -> Mapping[str, Any]:
    with failures_as(InvalidInputError, f"{path}: cannot be read"):
        return read_object(path.read_bytes(), str(path))


def _table(folder: Path) -> tuple[dict[str, Any], Mapping[str, Any]]:
    """Return the columns of a part by name, and what the package says of each."""
    try:
        import pyarrow as pa
        from pyarrow import ipc
    except ImportError as error:
        raise InvalidInputError(f"{folder}: needs the package pyarrow; {_EXTRA}") from error
    tables = []
    for file in _arrow_files(folder):
        try:
            with pa.memory_map(str(file)) as content:
                tables.append(ipc.open_stream(content).read_all())
        except (OSError, pa.ArrowException) as error:
            raise InvalidInputError(f"{file}: not a whole Arrow file: {' '.join(str(error).split())}") from error
    if not tables:
        raise InvalidInputError(f"{folder}: state.json names no file; needed: at least 1")
    table = pa.concat_tables(tables)
    features = _json(folder / _INFO).get("features") or {}
    return {name: table.column(name).combine_chunks() for name in table.column_names}, features


def _arrow_files(folder: Path) -> list[Path]:
    """Return the Arrow files of a part."""
    named = [each for each in _listed(folder / _STATE, "_data_files") if isinstance(each, Mapping)]
    return [folder / Path(str(each.get("filename"))).name for each in named]


def _samples(columns: Mapping[str, Any], features: Mapping[str, Any], where: Path) -> Array:
    if not columns:
        raise InvalidInputError(f"{where}: no column is left for the samples; needed: at least 1")
    arrays = []
    for name, column in columns.items():
        feature = features.get(name)
        is_picture = isinstance(feature, Mapping) and feature.get("_type") == "Image"
        rows = column.to_pylist()
        try:
            array = np.asarray([_pixels(row, where) for row in rows] if is_picture else rows)
        except ValueError as error:  # of lists of unequal lengths, or pictures of unequal sizes
            raise InvalidInputError(
                f"{where}: the column {name!r} holds values of several sizes; needed: of one, as padding makes them"
            ) from error
        if array.dtype.kind not in "biuf":
            raise InvalidInputError(
                f"{where}: the column {name!r} holds {str(rows[:1])[:60]}; allowed: numbers, pictures"
            )
        arrays.append(array)
    if len(arrays) == 1 and arrays[0].ndim > 1:
        return arrays[0]
    if any(array.ndim != 1 for array in arrays):
        raise InvalidInputError(
            f"{where}: samples are the columns {', '.join(columns)}; allowed: one of arrays, or numbers"
        )
    return np.stack([array.astype(np.float64) for array in arrays], axis=1)


def _pixels(row: Any, where: Path) -> Array:
    try:
        from PIL import Image
    except ImportError as error:
        raise InvalidInputError(f"{where}: needs the package pillow for pictures; {_EXTRA}") from error
    content = row.get("bytes") if isinstance(row, Mapping) else None
    if not content:
        raise InvalidInputError(f"{where}: a picture is not in the file but elsewhere; needed: in the file")
    try:
        return np.asarray(Image.open(io.BytesIO(content)))
    except OSError as error:
        raise InvalidInputError(f"{where}: a picture cannot be read: {error}") from error
