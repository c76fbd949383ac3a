"""Names of tensors: one task trained by several frameworks."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fbfl.errors import InvalidInputError
from fbfl.learning.tensor_names import Renamed, read
from fbfl.tensors import ModelSpec, TensorSpec

OWN = ModelSpec((TensorSpec("0", (2, 3)), TensorSpec("1", (2,)), TensorSpec("2", (4, 3, 2, 5))))
TASK = ModelSpec((TensorSpec("bias", (2,)), TensorSpec("kernel", (3, 2)), TensorSpec("conv", (2, 5, 3, 4))))
FILE = """[names]
0 = { name = "kernel", transpose = true }
1 = "bias"
2 = { name = "conv", transpose = [2, 3, 1, 0] }
"""


class Adds:
    """Adds to every weight its place among the trainer's own."""

    spec = OWN
    trainable = np.arange(OWN.size) != 6

    def initial_weights(self) -> Any:
        return np.arange(OWN.size, dtype=np.float32)

    def train(self, weights: Any, clients: Any, *, round_number: Any, client_ids: Any, local_epochs: Any = None) -> Any:
        assert np.array_equal(weights, self.initial_weights())
        return (np.full(OWN.size, number, np.float32) + self.initial_weights() for number in client_ids)

    def evaluate(self, weights: Any, x: Any, y: Any) -> Any:
        return {"loss": float(np.abs(weights - self.initial_weights()).sum())}


def written(tmp_path: Any, text: Any) -> Any:
    (tmp_path / "names.toml").write_text(text)
    return read(tmp_path / "names.toml")


def test_weights_come_and_go_in_the_order_and_the_shapes_of_the_task(tmp_path: Path) -> None:
    trainer = Renamed(Adds(), TASK, written(tmp_path, FILE))
    kernel, bias, conv = OWN.unflatten(Adds().initial_weights())
    expected = TASK.flatten([bias, kernel.T, conv.transpose(2, 3, 1, 0)])
    weights = trainer.initial_weights()
    assert np.array_equal(weights, expected)
    assert np.array_equal(trainer.trainable, expected != 6)
    nothing: Any = None
    updates = trainer.train(weights, [nothing, nothing], round_number=1, client_ids=[4, 7])
    assert np.array_equal(list(updates), [expected + 4, expected + 7])
    assert trainer.evaluate(weights, nothing, nothing) == {"loss": 0.0}


def test_tensors_of_the_same_names_need_no_file() -> None:
    assert np.array_equal(Renamed(Adds(), OWN, {}).initial_weights(), Adds().initial_weights())


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[names]", "names]", "not TOML"),
        ("[names]", "[tensors]", r"holds tensors; needed: one table \[names\]"),
        ("1 =", "3 =", "3 is no tensor of this server; allowed: 0, 1, 2"),
        ('"bias"', '"kernel"', "kernel is given twice"),
        ('"bias"', '"basis"', "the task's tensor bias has no counterpart here"),
        ('"bias"', "7", "'1' is 7; allowed: a name, or "),
        ("transpose = true", "transpose = false", r"tensor kernel is \[3, 2\], its counterpart here \[2, 3\]"),
        ("transpose = true", "transposed = true", "allowed: a name, or "),
        ("[2, 3, 1, 0]", "[2, 3, 1]", "2 of the shape .4, 3, 2, 5.: axes"),
        ("[2, 3, 1, 0]", '"back"', "allowed: a name, or "),
    ],
)
def test_names_that_do_not_fit_are_refused_in_a_line(tmp_path: Any, old: Any, new: Any, message: Any) -> None:
    with pytest.raises(InvalidInputError, match=message) as caught:
        Renamed(Adds(), TASK, written(tmp_path, FILE.replace(old, new)))
    assert "\n" not in str(caught.value)


def test_a_task_without_one_of_the_tensors_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="the task has no tensor 2"):
        Renamed(Adds(), ModelSpec(OWN.tensors[:2]), {})
