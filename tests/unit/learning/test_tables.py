"""Tables of one's own become data sets, or one line says what is wrong with them."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fbfl.errors import InvalidInputError
from fbfl.learning import datasets

ROWS = 50


def frame() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "phone": [f"phone-{number % 7}" for number in range(ROWS)],
            "x": rng.normal(size=ROWS) * 100,
            "y": rng.integers(-5, 5, ROWS),
            "wet": rng.integers(0, 2, ROWS).astype(bool),
            "activity": [("walk", "sit", "run")[number % 3] for number in range(ROWS)],
        }
    )


def written(folder: Path, table: pd.DataFrame) -> Path:
    path = folder / "sensors.csv"
    table.to_csv(path, index=False)
    return path


def rows_of(x: np.ndarray, y: np.ndarray) -> list[tuple[float, ...]]:
    return sorted(map(tuple, np.column_stack([x, y]).tolist()))


def test_a_table_is_numbers_and_a_label(tmp_path: Path) -> None:
    table = frame()
    data = datasets.load(written(tmp_path, table), {"label": "activity", "device": "phone"})
    assert (data.name, data.x_train.dtype, data.y_train.dtype) == ("sensors", np.float32, np.int64)
    assert (data.x_train.shape, data.x_test.shape) == ((40, 3), (10, 3))
    # All rows are there once, columns in their order, labels numbered in the order of their names.
    numbered = table["activity"].map({"run": 0, "sit": 1, "walk": 2})
    expected = rows_of(table[["x", "y", "wet"]].to_numpy(np.float32), numbered.to_numpy())
    found = rows_of(np.concatenate([data.x_train, data.x_test]), np.concatenate([data.y_train, data.y_test]))
    assert found == expected
    assert data.device_of is not None
    phones = dict(zip(table["x"].astype(np.float32), table["phone"].str[-1].astype(int), strict=True))
    assert data.device_of.tolist() == [phones[x] for x in data.x_train[:, 0]]
    again = datasets.load(written(tmp_path, table.rename(columns={"activity": "label"})), {"drop": ["phone"]})
    assert again.device_of is None
    assert again.x_train.tobytes() == data.x_train.tobytes()


@pytest.mark.parametrize("kind", [".csv.gz", ".parquet"])
def test_other_files_hold_the_same(tmp_path: Path, kind: str) -> None:
    path = written(tmp_path, frame())
    other = tmp_path / f"sensors{kind}"
    if kind == ".parquet":
        pytest.importorskip("pyarrow")
        frame().to_parquet(other)
    else:
        other.write_bytes(gzip.compress(path.read_bytes()))
    wanted = {"label": "activity", "drop": "phone", "test": 0.5}
    first, second = datasets.load(path, wanted), datasets.load(other, wanted)
    assert len(first.y_test) == ROWS // 2
    assert first.x_train.tobytes() == second.x_train.tobytes()
    assert first.y_test.tobytes() == second.y_test.tobytes()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(-(10**6), 10**6), min_size=2, max_size=40), st.floats(0.01, 0.99))
def test_labels_with_gaps_are_numbered_in_their_order(
    tmp_path_factory: pytest.TempPathFactory, labels: list[int], test: float
) -> None:
    path = tmp_path_factory.mktemp("table") / "numbers.csv"
    pd.DataFrame({"label": labels, "place": range(len(labels))}).to_csv(path, index=False)
    count = round(test * len(labels))
    if not 0 < count < len(labels):
        with pytest.raises(InvalidInputError, match="at least 1 to test and to train"):
            datasets.load(path, {"label": "label", "test": test})
        return
    data = datasets.load(path, {"label": "label", "test": test})
    places = np.concatenate([data.x_train, data.x_test]).astype(int)[:, 0]
    ranks = {value: rank for rank, value in enumerate(sorted(set(labels)))}
    found = np.concatenate([data.y_train, data.y_test])
    assert found.tolist() == [ranks[labels[place]] for place in places]
    assert sorted(places.tolist()) == list(range(len(labels)))


def test_labels_may_be_numbers_or_of_so_many_classes(tmp_path: Path) -> None:
    path = written(tmp_path, frame().assign(speed=np.linspace(-3, 3, ROWS), gear=[2, 5] * (ROWS // 2)))
    wanted = {"drop": ["phone", "activity", "x", "wet"]}
    numbers = datasets.load(path, {"label": "speed", **wanted}, num_classes=0)
    assert (numbers.num_classes, numbers.y_train.dtype, numbers.warnings) == (0, np.float32, ())
    found = np.sort(np.concatenate([numbers.y_train, numbers.y_test]))
    np.testing.assert_allclose(found, np.linspace(-3, 3, ROWS), rtol=1e-6)
    for number, labels in ((None, {0, 1}), (2, {0, 1}), (6, {2, 5})):
        data = datasets.load(path, {"label": "gear", **wanted}, num_classes=number)
        assert {*data.y_train.tolist()} == labels
        assert (data.num_classes, data.warnings) == (number or 2, ())
    for label, number, said in (
        ("activity", 0, "the label 'activity' holds 'walk' in row 1; allowed with this loss: numbers"),
        ("activity", 2, "'activity' has 3 different values; allowed with num_classes = 2, as of loss binary_cross_ent"),
        ("speed", None, "allowed: no fractions, or loss mean_squared_error, with which labels are numbers"),
    ):
        with pytest.raises(InvalidInputError, match=said):
            datasets.load(path, {"label": label, "drop": "phone"}, num_classes=number)


def bad(**columns: Any) -> pd.DataFrame:
    return frame().assign(**columns)


HOLES = [None, *range(1, ROWS)]


@pytest.mark.parametrize(
    ("table", "args", "said"),
    [
        (frame(), {}, r"sensors.csv: label is 'label'; allowed: the name of a column: phone, x, y, wet, activity$"),
        (frame(), {"label": "activity", "tset": 0.5}, "does not take 'tset'; allowed: label, device, test, drop"),
        (frame(), {"label": "class"}, r"label is 'class'; allowed: the name of a column: phone, x, y, wet, activity$"),
        (frame(), {"label": "activity"}, "the column 'phone' holds 'phone-0' in row 1; allowed: numbers; drop=phone"),
        (frame(), {"label": "activity", "device": "activity"}, "label is 'activity', and so is another; allowed: a"),
        (frame(), {"label": "activity", "drop": "phone", "test": 1}, "test is 1; allowed: above 0 and below 1"),
        (frame(), {"label": "activity", "drop": "phone", "test": 1e-3}, "test is 0.001, which is 0 of 50 rows; needed"),
        (frame(), {"label": "x", "drop": ["phone", "activity"]}, "the label 'x' holds .*; allowed: no fractions"),
        (frame(), {"label": "activity", "drop": ["phone", "x", "y", "wet"]}, "no column is left for the samples"),
        (bad(x=HOLES), {"label": "activity", "drop": "phone"}, "the column 'x' has no value in row 1, counted"),
        (bad(activity=[*range(ROWS - 2), None, None]), {"label": "activity"}, "no value in row 49 and 1 more"),
        (bad(phone=HOLES), {"label": "activity", "device": "phone"}, "the device 'phone' has no value in row 1"),
        (bad(x=1e39), {"label": "activity", "drop": "phone"}, "the column 'x' holds 1e.39; allowed: what float32"),
        (bad(x=np.inf), {"label": "activity", "drop": "phone"}, "the column 'x' holds NaN or Inf"),
        (bad(x=[*range(ROWS - 1), "n/k"]), {"label": "activity", "drop": "phone"}, "holds 'n/k' in row 50; allowed"),
        (bad(x=0.5), {"label": "activity", "device": "x"}, "the device 'x' holds 0.5; allowed: no fractions$"),
        (frame()[:0], {"label": "activity", "drop": "phone"}, "holds no row; needed"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_table_is_one_line(
    tmp_path: Path, table: pd.DataFrame, args: dict[str, object], said: str
) -> None:
    with pytest.raises(InvalidInputError, match=said) as refused:
        datasets.load(written(tmp_path, table), args)
    assert "\n" not in str(refused.value)


def test_lines_may_end_as_spreadsheets_end_them(tmp_path: Path) -> None:
    read = []
    for name, heading, end in (
        ("unix", "a,kind", "\n"),
        ("windows", "\ufeffa,kind", "\r\n"),
        ("comma", "a,kind", ",\n"),
    ):
        rows = "".join(f"{number},{number % 3}{end}" for number in range(30))
        (tmp_path / f"{name}.csv").write_bytes(f"{heading}{end.lstrip(',')}{rows}".encode())
        read.append(datasets.load(tmp_path / f"{name}.csv", {"label": "kind"}))
    assert len({data.x_train.tobytes() + data.y_train.tobytes() for data in read}) == 1


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("none.csv", None, "none.csv: cannot be read: No such file or directory"),
        ("empty.csv", b"", "not a table that can be read: No columns to parse"),
        ("rows.csv", b"a,b\n1,2\n1,2,3\n", "not a table that can be read: Error tokenizing data"),
        ("moved.csv", b"a,b\n1,2,3\n4,5,6\n", "moved.csv: rows have more values than columns have names; allowed: as"),
        ("twice.csv", b"b,a,a\n1,2,3\n", "twice.csv: several columns are named 'a'; allowed: a name for each"),
        ("bytes.csv", b"\xff\xfe\x00a,b", "not a table that can be read"),
        ("cut.csv.gz", gzip.compress(b"a,b\n" * 100, mtime=0)[:16], "not a table that can be read"),
        ("plain.csv.gz", b"a,b\n1,2\n", "cannot be read|not a table that can be read"),
    ],
)
def test_a_file_that_is_no_table_is_one_line(tmp_path: Path, name: str, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidInputError, match=said) as refused:
        datasets.load(tmp_path / name, {"label": "a"})
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["NA", "null", "None"])
def test_a_column_that_is_called_as_no_value_is_has_a_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / "sensors.csv"
    path.write_text(f"{name},label\n" + "".join(f"{row},{row % 2}\n" for row in range(ROWS)))
    assert datasets.load(path).x_train.shape == (40, 1)
    path.write_text(f"{name},{name},label\n" + "".join(f"{row},1,{row % 2}\n" for row in range(ROWS)))
    with pytest.raises(InvalidInputError, match=f"several columns are named '{name}'"):
        datasets.load(path)


def test_the_index_that_pandas_writes_is_no_sample(tmp_path: Path) -> None:
    path = tmp_path / "sensors.csv"
    frame().drop(columns="phone").to_csv(path)
    with pytest.raises(InvalidInputError, match=r"a column has no name, .*; needed: one, or drop='Unnamed: 0'"):
        datasets.load(path, {"label": "activity"})
    assert datasets.load(path, {"label": "activity", "drop": "Unnamed: 0"}).input_shape == (3,)


def test_parquet_without_its_package_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: Any) -> None:
        raise ImportError("Missing optional dependency 'pyarrow'")

    monkeypatch.setattr(pd, "read_parquet", missing)
    with pytest.raises(InvalidInputError, match=r"need the package pyarrow; pip install 'fbfl\[parquet\]'"):
        datasets.load(tmp_path / "a.parquet", {"label": "a"})


def test_whole_numbers_that_lose_digits_are_told_in_a_line(tmp_path: Path) -> None:
    table = frame().drop(columns="phone")
    assert datasets.load(written(tmp_path, table), {"label": "activity"}).note is None
    table["exact"] = 2**24 * (1 + np.arange(ROWS) % 3)
    assert datasets.load(written(tmp_path, table), {"label": "activity"}).note is None
    table["time"] = 1_700_000_001 + np.arange(ROWS)
    data = datasets.load(written(tmp_path, table), {"label": "activity"})
    assert data.note == (
        f"{tmp_path / 'sensors.csv'}: the column 'time' loses digits as float32: of 1700000001 it makes "
        "1700000000; whole numbers up to 16,777,216 keep them, as after a constant is subtracted from all"
    )
    assert datasets.load(written(tmp_path, table), {"label": "time", "drop": "activity"}).note is None, "classes"
    table["later"] = table["time"] + 9.0
    twice = datasets.load(written(tmp_path, table), {"label": "activity"})
    assert "loses digits as float32, as does 1 other column: " in str(twice.note)
    learned = datasets.load(written(tmp_path, table[["x", "time"]]), {"label": "time"}, num_classes=0)
    assert "the column 'time' loses digits" in str(learned.note)
