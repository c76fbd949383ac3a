"""Functions that train, with weights of their own and with those of a Keras model."""

import tracemalloc
from typing import Any

import numpy as np
import pytest

from fbfl.errors import InvalidInputError, UserCodeError
from fbfl.learning import models
from fbfl.learning.federation import Federation
from fbfl.learning.trainer import make
from fbfl.learning.training import Purpose, TrainingSettings
from tests.support.models import built
from tests.support.regression import OWN, descend, evaluate, initial, linear, with_attributes
from tests.unit.learning.small_federations import CLIENTS, DIGITS, TEST, federation, flat

SETTINGS = TrainingSettings()


def made(function: Any, settings: Any = SETTINGS, model: Any = "mlp", **arguments: Any) -> Any:
    return make(function, arguments, Purpose(model, settings, (8, 8), 10, 3), lanes=1)


def test_a_function_learns_and_what_it_returns_less_what_it_got_is_the_update() -> None:
    fed = federation(model="mlp", trainer=OWN, trainer_args={"rate": 0.3})
    results = list(fed.rounds(3))
    assert results[-1].accuracy > 0.8
    assert results[-1].loss < results[0].loss
    assert [array.shape for array in fed.weights] == [(64, 10), (10,)]
    trainer = made(OWN)
    start = trainer.initial_weights()
    updates = list(trainer.train(start, CLIENTS[:3], round_number=2, client_ids=[0, 1, 2]))
    assert np.array_equal(start, trainer.initial_weights())
    (alone,) = trainer.train(start, CLIENTS[1:2], round_number=2, client_ids=[1])
    assert np.array_equal(alone, updates[1])
    for round_number, client in ((3, 1), (2, 2)):
        (other,) = trainer.train(start, CLIENTS[1:2], round_number=round_number, client_ids=[client])
        assert not np.array_equal(other, alone)
    zero = DIGITS.x_train[:0], DIGITS.y_train[:0]
    assert not np.any(list(trainer.train(start, [zero], round_number=1, client_ids=[0])))


def test_a_function_without_attributes_trains_the_model() -> None:
    fed, keras = federation(model=linear, trainer=descend), federation(model=linear)
    assert fed.trainer.spec == keras.trainer.spec
    assert np.array_equal(flat(fed), flat(keras))
    (result,) = fed.rounds(1)
    assert result.accuracy > 0.5
    assert len(result.recall) == 10
    again = federation(model=linear, trainer=fed.trainer)
    assert [r.loss for r in again.rounds(1)] == [result.loss]
    with pytest.raises(InvalidInputError, match="made for another"):
        federation(model=linear, trainer=fed.trainer, seed=1)


def test_settings_of_the_training_are_given_where_they_are_named() -> None:
    seen = []

    def watches(
        weights: Any, x: Any, y: Any, rng: Any, round: Any, local_epochs: Any, learning_rate: Any, batch_size: Any = 7
    ) -> Any:
        seen.append((round, local_epochs, learning_rate, batch_size))
        return weights

    settings = TrainingSettings(local_epochs=4, learning_rate=lambda number: 0.5 / number)
    trainer = made(with_attributes(watches, initial, evaluate), settings)
    start = trainer.initial_weights()
    for _ in trainer.train(start, CLIENTS[:3], round_number=5, client_ids=[0, 1, 2], local_epochs=[4, 0, 2]):
        pass
    assert seen == [(5, 4, 0.1, 32), (5, 2, 0.1, 32)]


@pytest.mark.parametrize(
    ("function", "options", "message"),
    [
        (with_attributes(descend, initial), {}, "trainer descend has initial only; needed: initial"),
        (with_attributes(descend, None, evaluate), {}, "trainer descend has evaluate only; needed: initial"),
        (OWN, {"model": linear}, "model is linear, but trainer descend has initial and evaluate of its own"),
        (
            OWN,
            {"settings": TrainingSettings(local_epochs=2)},
            "local_epochs is 2, but trainer descend has no",
        ),
        (OWN, {"settings": TrainingSettings(optimizer="sgd")}, "optimizer is 'sgd', but trainer descend has no"),
        (OWN, {"speed": 2}, "trainer descend: does not take 'speed'; allowed: rate"),
        (lambda weights, x, y: weights, {}, "trainer <lambda> has the parameters weights, x, y; needed: weights, x, y"),
        (with_attributes(descend, lambda rng: 3, evaluate), {}, "initial returned a int; needed: a list of float32"),
        (with_attributes(descend, lambda rng: [], evaluate), {}, "initial returned no array; needed: at least 1"),
        (with_attributes(descend, lambda rng: [3, np.inf], evaluate), {}, "initial returned array 1 with NaN or Inf"),
        (with_attributes(descend, 3, evaluate), {}, "trainer descend: initial is 3; needed: a function"),
        (with_attributes(descend, lambda rng: ["a"], evaluate), {}, "initial returned array 0 of <U1; needed: float32"),
    ],
)
def test_functions_that_cannot_train_are_refused_in_a_line(function: Any, options: Any, message: Any) -> None:
    with pytest.raises(InvalidInputError, match=message) as caught:
        made(function, **options)
    assert "\n" not in str(caught.value)


def test_a_function_of_a_module_is_called_by_both_names() -> None:
    with pytest.raises(InvalidInputError, match=f"^trainer {__name__}:descend: does not take 'speed'; allowed: rate"):
        made(f"{__name__}:descend", speed=2)


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ([np.zeros((64, 10))], r"returned arrays of the shapes \[\[64, 10\]\]; needed: \[\[64, 10\], \[10\]\]"),
        (None, "returned a NoneType; needed: a list of float32 arrays"),
        ([np.zeros((64, 10)), [[1], [1, 2]]], "returned array 1 that NumPy cannot read"),
    ],
)
def test_what_is_no_weights_is_refused_in_a_line(returned: Any, message: Any) -> None:
    def train(weights: Any, x: Any, y: Any, rng: Any, round: Any) -> Any:
        return returned

    trainer = made(with_attributes(train, initial, evaluate))
    with pytest.raises(InvalidInputError, match=message):
        list(trainer.train(trainer.initial_weights(), CLIENTS[:1], round_number=1, client_ids=[0]))


def test_functions_may_change_what_they_are_given() -> None:
    """Samples of floating point, and labels, which come as they are."""

    def spoils(weights: Any, x: Any, y: Any, rng: Any, round: Any) -> Any:
        for array in (*weights, x, y):
            array[...] = 0
        return weights

    def measures(weights: Any, x: Any, y: Any) -> Any:
        spoils(weights, x, y, None, 0)
        return {"loss": 1.0}

    def metric(scores: Any, labels: Any) -> float:
        scores[:], labels[:] = 0, 0
        return 1.0

    pairs = [(x.astype(np.float32), y.astype(np.int32)) for x, y in (*CLIENTS[:2], TEST)]
    kept = [(x.copy(), y.copy()) for x, y in pairs]
    *clients, test = pairs
    for options in (
        {"trainer": with_attributes(spoils, initial, measures)},
        {"trainer": spoils, "model": linear, "metric": metric},
    ):
        (result,) = Federation(clients, test, **options).rounds(1)
        assert not np.isclose(result.accuracy, 1.0)
    for given, before in zip(pairs, kept, strict=True):
        assert all(np.array_equal(one, other) for one, other in zip(given, before, strict=True))


@pytest.mark.filterwarnings("error")
def test_weights_beyond_float32_are_infinite() -> None:
    def explodes(weights: Any, x: Any, y: Any, rng: Any, round: Any) -> Any:
        return [array + 1e300 for array in weights_of(weights)]

    def weights_of(weights: Any) -> Any:
        return [array.astype(np.float64) for array in weights]

    trainer = made(with_attributes(explodes, initial, evaluate))
    (update,) = trainer.train(trainer.initial_weights(), CLIENTS[:1], round_number=1, client_ids=[0])
    assert np.isinf(update).all()


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ({"loss": 1.0, 3: 2.0}, "has a figure named 3; needed: printable text"),
        ({"loss": 1.0, "a\nb": 2.0}, r"has a figure named 'a\\nb'; needed: printable text"),
        ({"loss": "low"}, "the trainer's evaluation is {'loss': 'low'}; needed: a table of numbers with 'loss'"),
    ],
)
def test_figures_that_cannot_be_shown_are_refused(found: Any, message: str) -> None:
    trainer = with_attributes(descend, initial, lambda weights, x, y: found)
    with pytest.raises(InvalidInputError, match=message):
        list(Federation(CLIENTS, TEST, trainer=trainer).rounds(1))


class Many:
    """Refuses to be one number with an error of its own, as a tensor of PyTorch's does."""

    def __float__(self) -> float:
        raise RuntimeError("a Tensor with 2 elements cannot be converted to Scalar")


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        *((np.zeros((2, 3)), r"an array \[2, 3\]"), ("good", "a str"), (None, "a NoneType"), (1j, "a complex")),
        (Many(), "a Many"),
    ],
)
def test_a_metric_returns_a_number(returned: Any, message: str) -> None:
    def metric(scores: Any, labels: Any) -> Any:
        return returned

    fed = Federation(CLIENTS, TEST, linear, trainer=descend, metric=metric)
    with pytest.raises(InvalidInputError, match=f"metric metric returned {message}; needed: a number"):
        list(fed.rounds(1))


def test_an_error_in_the_function_is_the_users() -> None:
    def fails(*args: Any) -> Any:
        raise KeyError("mine")

    trainer = made(with_attributes(descend, initial, fails))
    with pytest.raises(UserCodeError, match="trainer descend: fails raised KeyError"):
        trainer.evaluate(trainer.initial_weights(), *TEST)


def test_the_weights_of_the_model_are_those_that_keras_has() -> None:
    trainer = made(descend, model=linear)
    model = built(linear, input_shape=(8, 8), num_classes=10, seed=3)
    assert np.array_equal(trainer.initial_weights(), models.weights_of(model))


def test_a_function_gets_one_copy_of_samples_and_weights() -> None:
    peaks = []

    def watches(weights: Any, x: Any, y: Any, rng: Any, round: Any) -> Any:
        peaks.append(tracemalloc.get_traced_memory()[1] / (x.nbytes + sum(array.nbytes for array in weights)))
        return weights

    trainer = made(with_attributes(watches, lambda rng: [np.zeros(1_000_000, np.float32)], evaluate))
    start, clients = trainer.initial_weights(), [(np.zeros((20_000, 8, 8), np.float32), np.zeros(20_000, np.int64))]
    tracemalloc.start()
    try:
        list(trainer.train(start, clients, round_number=1, client_ids=[0]))
    finally:
        tracemalloc.stop()
    assert 1 <= peaks[0] < 1.3
