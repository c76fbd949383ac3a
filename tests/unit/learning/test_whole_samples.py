"""Samples that are whole numbers, of words, say: they stay such from the file to the model, or are refused."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from fbfl.errors import FbflError, InvalidInputError
from fbfl.learning import datasets
from fbfl.learning.federation import Federation

RNG = np.random.default_rng(0)
X = RNG.integers(0, 20, (120, 6))
Y = (X.max(axis=1) > 17).astype(np.int64)
TEST = (X[90:], Y[90:])


def clients(kind: Any = np.int64) -> list[Any]:
    return [(X[:40].astype(kind), Y[:40]), (X[40:90], Y[40:90])]


def embedding() -> Any:
    layers = keras.layers
    return keras.Sequential([layers.Embedding(20, 4), layers.Flatten(), layers.Dense(2)])


@pytest.mark.parametrize("kind", [np.int16, np.uint32, np.int64, ">i4"])
def test_any_type_of_whole_numbers_is_the_same(kind: Any) -> None:
    (expected,), (found,) = (
        Federation(own, TEST, model=embedding, lanes=1).rounds(1) for own in (clients(), clients(kind))
    )
    assert found.loss == expected.loss


def test_a_function_is_given_whole_numbers() -> None:
    def train(weights: Any, x: Any, y: Any, rng: Any, round: int) -> Any:
        assert x.dtype == np.int32
        assert x.max() < 20
        weights[0] += 1
        return weights

    fed = Federation(clients(), TEST, model=embedding, trainer=train, lanes=1)
    before = fed.weights
    list(fed.rounds(1))
    np.testing.assert_allclose(fed.weights[0], before[0] + 1, rtol=1e-6)


@pytest.mark.parametrize(
    ("own", "options", "said"),
    [
        (
            clients(np.float32),
            {},
            "client 0: samples are float32, those of the test set int32; needed: whole numbers",
        ),
        (clients(np.uint8), {}, "client 0: samples are uint8, those of the test set int32; needed: whole numbers"),
        (
            clients(),
            {"model": "mlp"},
            "model is 'mlp', and samples are whole numbers; allowed: a model of your own",
        ),
        (clients(), {"attack": "data_poisoning", "malicious": [0]}, "attack data_poisoning: samples are whole numbers"),
        (clients(), {"attack": "backdoor", "malicious": [0]}, "attack backdoor: .*are not pictures"),
        ([(X[:40] + 2**31, Y[:40])], {}, "client 0: x holds .*; allowed: whole numbers that int32 holds"),
        ([(X[:40] + 20, Y[:40])], {}, "the training of model embedding raised"),
    ],
)
def test_what_does_not_fit_is_refused(own: Any, options: dict[str, Any], said: str) -> None:
    with pytest.raises(FbflError, match=said) as caught:
        list(Federation(own, TEST, **{"model": embedding, "lanes": 1, **options}).rounds(1))
    assert caught.value.exit_status == 2


def test_a_file_keeps_them(tmp_path: Path) -> None:
    np.savez(tmp_path / "words.npz", x_train=X[:90], y_train=Y[:90], x_test=TEST[0], y_test=TEST[1])
    data = datasets.load(tmp_path / "words.npz")
    assert (data.x_train.dtype, data.x_test.dtype) == (np.int32, np.int32)
    assert data.x_train.tolist() == X[:90].tolist()
    np.savez(tmp_path / "mixed.npz", x_train=X[:90], y_train=Y[:90], x_test=TEST[0] / 2, y_test=TEST[1])
    with pytest.raises(InvalidInputError, match="x_train is int32, x_test float32; needed: whole numbers in both, or"):
        datasets.load(tmp_path / "mixed.npz")
