"""Folders in the form in which `datasets` of Hugging Face saves them, version 5.2: Arrow streams beside JSON."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fbfl.errors import InvalidInputError
from fbfl.learning import datasets

pa = pytest.importorskip("pyarrow")
Image = pytest.importorskip("PIL.Image")
RNG = np.random.default_rng(0)


def saved(folder: Path, columns: dict[str, Any], features: dict[str, Any] | None = None) -> Path:
    """A part in two files."""
    folder.mkdir(parents=True)
    table = pa.table(columns)
    half = len(table) // 2
    names = [f"data-0000{number}-of-00002.arrow" for number in range(2)]
    for name, rows in zip(names, (table[:half], table[half:]), strict=True):
        with pa.OSFile(str(folder / name), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
            writer.write_table(rows)
    state = {"_data_files": [{"filename": name} for name in names], "_split": None}
    (folder / "state.json").write_text(json.dumps(state))
    (folder / "dataset_info.json").write_text(json.dumps({"features": features or {}}))
    return folder


def png(pixels: np.ndarray) -> dict[str, Any]:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return {"bytes": content.getvalue(), "path": None}


def test_pictures_in_two_parts(tmp_path: Path) -> None:
    pixels = RNG.integers(0, 256, (12, 5, 4, 3), dtype=np.uint8)
    for part, rows in (("train", slice(8)), ("test", slice(8, 12))):
        columns = {"image": [png(each) for each in pixels[rows]], "label": list(range(12))[rows]}
        saved(tmp_path / "set" / part, columns, {"image": {"_type": "Image"}})
    (tmp_path / "set" / "dataset_dict.json").write_text(json.dumps({"splits": ["train", "test"]}))
    data = datasets.load(tmp_path / "set")
    assert (data.name, data.x_train.dtype) == ("set", np.uint8)
    assert (data.x_train == pixels[:8]).all()
    assert (data.x_test == pixels[8:]).all()
    assert (data.y_train.tolist(), data.y_test.tolist()) == (list(range(8)), [8, 9, 10, 11])


def test_words_with_labels_of_text_and_devices(tmp_path: Path) -> None:
    words = RNG.integers(0, 50, (10, 6))
    moods = ["good", "bad"] * 5
    columns = {"tokens": words.tolist(), "mood": moods, "user": [f"user {n % 3}" for n in range(10)]}
    folder = saved(tmp_path / "texts", columns)
    data = datasets.load(folder, {"label": "mood", "device": "user", "test": 0.3})
    assert (data.x_train.shape, data.x_test.shape, data.x_train.dtype) == ((7, 6), (3, 6), np.int32)
    rows = {tuple(row): (place, mood) for place, (row, mood) in enumerate(zip(words.tolist(), moods, strict=True))}
    assert data.device_of is not None
    for row, label, device in zip(data.x_train.tolist(), data.y_train, data.device_of, strict=True):
        place, mood = rows[tuple(row)]
        assert (label, device) == (int(mood == "good"), place % 3)


def test_numbers_and_a_number_as_label(tmp_path: Path) -> None:
    columns = {"a": RNG.random(20), "b": np.arange(20), "price": RNG.random(20) * 9}
    data = datasets.load(saved(tmp_path / "houses", columns), {"label": "price"}, num_classes=0)
    assert (data.x_train.shape, data.x_train.dtype, data.y_train.dtype) == ((16, 2), np.float32, np.float32)
    assert sorted(np.concatenate([data.x_train, data.x_test])[:, 1].tolist()) == list(range(20))


@pytest.mark.parametrize(
    ("columns", "args", "said"),
    [
        ({"x": [1.0, 2.0], "y": [0, 1]}, {}, "label is 'label'; allowed: x, y"),
        ({"x": [1.0, 2.0], "y": [0, 1]}, {"label": "y", "samples": "z"}, "samples is 'z'; allowed: x, y"),
        ({"x": [1.0, 2.0], "y": [0, 1]}, {"label": "y", "samples": ["x", "y"]}, "label is 'y', and so is another"),
        ({"x": [1.0, 2.0], "y": [0, 1]}, {"label": "y", "device": "y"}, "label is 'y', and so is another"),
        ({"x": [1.0, 2.0], "label": [0, None]}, {}, "the label 'label' has no value in 1 rows; needed: a value in"),
        ({"x": [1.0, 2], "label": [0, 1], "of": ["a", None]}, {"device": "of"}, "the device 'of' has no value in 1"),
        ({"label": [0, 1]}, {}, "no column is left for the samples"),
        ({"x": [[1], [1, 2]], "label": [0, 1]}, {}, "the column 'x' holds values of several sizes"),
        ({"x": ["a", "b"], "label": [0, 1]}, {}, r"the column 'x' holds \['a'\]; allowed: numbers, pictures"),
        ({"x": [[1], [2]], "z": [1, 2], "label": [0, 1]}, {}, "samples are the columns x, z; allowed: one of arrays"),
        ({"x": [1.0, 2.0], "label": [0.5, 1]}, {}, "numbers need loss mean_squared_error"),
        ({"x": [1.0, 2.0], "label": [0, 1]}, {"test": 1}, "test is 1; allowed: above 0 and below 1"),
        ({"x": [1.0, 2.0], "label": [0, 1]}, {"test": 0.1}, "which is 0 of 2 rows; needed: at least 1"),
    ],
)
def test_what_is_no_data_set_is_one_line(
    tmp_path: Path, columns: dict[str, Any], args: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidInputError, match=said) as caught:
        datasets.load(saved(tmp_path / "set", columns), args)
    assert "\n" not in str(caught.value)


def test_damaged_folders_are_named(tmp_path: Path) -> None:
    folder = saved(tmp_path / "set", {"x": [1.0, 2.0], "label": [0, 1]})
    file = folder / "data-00001-of-00002.arrow"
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(InvalidInputError, match="not a whole Arrow file"):
        datasets.load(folder)
    (folder / "state.json").write_text("{")
    with pytest.raises(InvalidInputError, match=r"state.json"):
        datasets.load(folder)
    with pytest.raises(InvalidInputError, match=r"a folder that Hugging Face's datasets saved"):
        datasets.load(tmp_path)
