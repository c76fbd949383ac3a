"""Tables of numbers with a column for the label: CSV and Parquet."""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fbfl.errors import InvalidInputError, require
from fbfl.learning.datasets.dataset import Array, Dataset, share_held_out
from fbfl.learning.samples import labels_of, of_classes, samples_of
from fbfl.system.printable import counted

if TYPE_CHECKING:
    import pandas as pd

_SHOWN = 20
_EXTRA = "Parquet files need the package pyarrow; pip install 'fbfl[parquet]' has it"


def load(
    path: Path,
    label: str | int = "label",
    device: str | int | None = None,
    test: float = 0.2,
    drop: str | Sequence[str] = (),
    num_classes: int | None = None,
) -> Dataset:
    """Load a table, a row per sample: the column `label`, and numbers in all others.

    `device` names a column that tells the device of a sample, for the partition `by_device`; `drop` a column, or
    several, to leave out. Samples are float32 [n, columns], in the order of the columns. Labels are numbered from 0 in
    their order, as numbers or else as texts, whatever they are; whole numbers below `num_classes`, if that is given,
    stay, and where labels are numbers (0), so do they all. The part `test` of the rows, always the same, is held out
    for testing. `note` tells of whole numbers that lose digits as float32. Anything else than numbers in a sample, a
    missing value, a name that two columns have, a column of samples without one, and a file that cannot be read raise
    `InvalidInputError`.
    """
    require(0 < test < 1, f"{path}: test", test, "above 0 and below 1, the part held out for testing")
    frame, names = _read(path)
    twice = names[names.duplicated()]
    if len(twice):
        raise InvalidInputError(f"{path}: several columns are named {str(twice[0])!r}; allowed: a name for each")
    if not len(frame):
        raise InvalidInputError(f"{path}: holds no row; needed: a row per sample, below the names of the columns")
    dropped = [drop] if isinstance(drop, str | int) else list(drop)
    roles = {"label": label, "device": device, **{f"drop ({name})": name for name in dropped}}
    taken = {role: _named(frame, name, f"{path}: {role}") for role, name in roles.items() if name is not None}
    if taken["label"] in [column for role, column in taken.items() if role != "label"]:
        raise InvalidInputError(f"{path}: label is {label!r}, and so is another; allowed: a column of its own")
    where = f"{path}: the label {taken['label']!r}"
    labels = labels_of(_labels(frame[taken["label"]], where, num_classes), where, num_classes)
    devices = None
    if "device" in taken:
        devices, _ = _numbered(frame[taken["device"]], f"{path}: the device {taken['device']!r}")
    rest = frame.drop(columns=list({*taken.values()}))
    for name in rest.columns:
        if name not in names:  # most often the numbers of rows, which tell the label where rows are sorted by it
            raise InvalidInputError(
                f"{path}: a column has no name, as the index that pandas writes; needed: one, or drop='{name}', which "
                "leaves it out"
            )
    samples = _numbers(rest, path)
    held = [*rest.columns, taken["label"]] if labels.dtype.kind == "f" else list(rest.columns)
    return replace(
        share_held_out(path.stem, samples, labels, test, path, device_of=devices), note=_rounded(frame[held], path)
    )


def _read(path: Path) -> "tuple[pd.DataFrame, pd.Index]":
    """Return a table, and the names of its columns as they stand in the file: pandas tells equal ones apart."""
    import pandas as pd

    try:
        if path.suffix == ".parquet":
            frame = pd.read_parquet(path)
            return frame, frame.columns
        with warnings.catch_warnings():
            # Otherwise the first value of rows that are too long would become their name, and all others move.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = pd.read_csv(path, index_col=False)
        # Without `keep_default_na` a column that is called NA would have no name.
        heading = pd.read_csv(path, header=None, nrows=1, dtype=str, keep_default_na=False).iloc[0]
        return frame, pd.Index(heading[heading != ""])
    except pd.errors.ParserWarning as error:
        raise InvalidInputError(f"{path}: rows have more values than columns have names; allowed: as many") from error
    except OSError as error:
        raise InvalidInputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except ImportError as error:
        raise InvalidInputError(f"{path}: {_EXTRA}") from error
    except MemoryError as error:
        raise InvalidInputError(f"{path}: does not fit into memory: {error}") from error
    except Exception as error:  # parsers raise many kinds for a damaged file
        what = " ".join(str(error).split())
        raise InvalidInputError(f"{path}: not a table that can be read: {what}") from error


def _named(frame: "pd.DataFrame", name: str | int, where: str) -> object:
    """Return the column of a name, which may be written as a number."""
    for column in frame.columns:
        if str(column) == str(name):
            return column
    known = [str(column) for column in frame.columns]
    shown = ", ".join(known[:_SHOWN]) + (f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else "")
    raise InvalidInputError(f"{where} is {name!r}; allowed: the name of a column: {shown}")


def _labels(column: "pd.Series", where: str, num_classes: int | None) -> Array:
    """Return labels [n], classes or numbers."""
    if num_classes == 0:
        _refuse_missing(column, where)
        if column.dtype.kind not in "iuf":
            raise InvalidInputError(f"{where} holds {_no_number(column)}; allowed with this loss: numbers")
        numbers: Array = column.to_numpy()
        return numbers
    places, names = _numbered(column, where, ", or loss mean_squared_error, with which labels are numbers")
    stay = num_classes is not None and names.dtype.kind in "iuf" and names[0] >= 0 and names[-1] < num_classes
    if num_classes is not None and len(names) > num_classes:
        raise InvalidInputError(
            f"{where} has {len(names)} different values; allowed with {of_classes(num_classes)}: no more than that"
        )
    return names[places].astype(np.int64) if stay else places


def _numbered(column: "pd.Series", where: str, otherwise: str = "") -> tuple[Array, Array]:
    """Return the places [n] of a column's values among its distinct ones, and those, in order."""
    _refuse_missing(column, where)
    if column.dtype.kind == "f" and not (column == np.rint(column)).all():
        raise InvalidInputError(
            f"{where} holds {column[column != np.rint(column)].iloc[0]}; allowed: no fractions{otherwise}"
        )
    values = column.to_numpy()
    if values.dtype.kind not in "biuf":
        values = column.astype(str).to_numpy(dtype=np.str_)
    names, places = np.unique(values, return_inverse=True)
    return places.astype(np.int64), names


def _numbers(frame: "pd.DataFrame", path: Path) -> Array:
    """Return the columns as numbers, float32 [n, columns]."""
    if not len(frame.columns):
        raise InvalidInputError(f"{path}: no column is left for the samples; needed: at least 1")
    columns = []
    for name, column in frame.items():
        where = f"{path}: the column {str(name)!r}"
        _refuse_missing(column, where)
        if column.dtype.kind not in "biuf":
            raise InvalidInputError(f"{where} holds {_no_number(column)}; allowed: numbers; drop={name} leaves it out")
        columns.append(samples_of(column.to_numpy(np.float64)[:, None], where).astype(np.float32))
    return np.concatenate(columns, axis=1)


def _rounded(frame: "pd.DataFrame", path: Path) -> str | None:
    """Return a line on whole numbers that float32 has not, such as most times in seconds; None without any."""
    found = {}
    for name, column in frame.items():
        values = column.to_numpy(np.float64)
        is_lost = (values == np.rint(values)) & (values != values.astype(np.float32))
        if is_lost.any():
            found[str(name)] = values[is_lost][0]
    if not found:
        return None
    name, value = next(iter(found.items()))
    more = f", as does {counted(len(found) - 1, 'other column')}" if len(found) > 1 else ""
    return (
        f"{path}: the column {name!r} loses digits as float32{more}: of {value:.0f} it makes {np.float32(value):.0f}; "
        "whole numbers up to 16,777,216 keep them, as after a constant is subtracted from all"
    )


def _no_number(column: "pd.Series") -> str:
    """Return the first value that is no number, and its row, of a column that is not of numbers."""
    import pandas as pd

    row = int(np.argmax(pd.to_numeric(column, errors="coerce").isna()))  # 0 where all could be numbers, such as dates
    text = repr(str(column.iloc[row]))
    return f"{text if len(text) <= 40 else text[:37] + '...'} in row {row + 1}"


def _refuse_missing(column: "pd.Series", where: str) -> None:
    missing = np.flatnonzero(column.isna())
    if missing.size:
        rows = f"row {missing[0] + 1}" + (f" and {missing.size - 1} more" if missing.size > 1 else "")
        raise InvalidInputError(
            f"{where} has no value in {rows}, counted without the heading; needed: one in each; NA, NaN, null are none"
        )
