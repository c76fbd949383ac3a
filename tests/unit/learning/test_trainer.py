"""Trainers of one's own in a federation, and those that are none."""

import math
from typing import Any

import pytest

from fbfl.errors import InvalidInputError
from fbfl.learning.keras_trainer import KerasTrainer
from fbfl.learning.trainer import Classifier, Trainer
from tests.unit.learning.small_federations import federation


class Silent:
    """Trains as Keras does, but tells figures only, no logits."""

    def __init__(
        self,
        model: Any,
        settings: Any,
        input_shape: Any,
        num_classes: Any,
        seed: Any,
        tells: Any = ("accuracy", "loss"),
    ) -> None:
        self._keras = KerasTrainer(
            model, settings, input_shape=input_shape, num_classes=num_classes, seed=seed, lanes=1
        )
        self._tells = tells
        self.spec, self.trainable = self._keras.spec, self._keras.trainable
        self.initial_weights, self.train = self._keras.initial_weights, self._keras.train

    def evaluate(self, weights: Any, x: Any, y: Any) -> Any:
        return {name: value for name, value in self._keras.evaluate(weights, x, y).items() if name in self._tells}


def rounds(**options: Any) -> Any:
    return list(federation(**{"attack": "backdoor", "malicious": [0], **options}).rounds(2))


def test_a_trainer_that_tells_figures_only_has_all_that_can_be_measured_by_them() -> None:
    expected = rounds()
    for found, right in zip(rounds(trainer=Silent), expected, strict=True):
        assert (found.accuracy, found.loss, found.recall) == (right.accuracy, right.loss, ())
        assert found.attack_success_rate == right.attack_success_rate
    for found, right in zip(rounds(trainer=Silent, trainer_args={"tells": ("loss",)}), expected, strict=True):
        assert found.loss == right.loss
        assert math.isnan(found.accuracy)
        assert math.isnan(found.attack_success_rate)


def test_only_keras_classifies() -> None:
    keras = federation().trainer
    assert isinstance(keras, Classifier)
    silent = federation(trainer=Silent).trainer
    assert isinstance(silent, Trainer)
    assert not isinstance(silent, Classifier)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"trainer": "pytorch"}, "trainer is 'pytorch'; allowed: keras, .*or package.module:function"),
        ({"trainer": 3}, "trainer 3: must be a function"),
        ({"trainer": lambda: 3}, "trainer <lambda> returned a int without spec, trainable, .*; needed: a trainer"),
        ({"trainer": Silent, "trainer_args": {"speaks": 1}}, "trainer Silent: does not take 'speaks'; allowed: tells"),
        ({"trainer_args": {"loss": "hinge"}}, "trainer keras: does not take 'loss'; allowed: no settings"),
    ],
)
def test_anything_but_a_trainer_is_refused_in_a_line(options: Any, message: Any) -> None:
    with pytest.raises(InvalidInputError, match=message) as caught:
        federation(**options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("figures", [{"accuracy": 1.0}, {"loss": "small"}, None, [("loss", 1.0)], {"loss": None}])
def test_figures_without_a_loss_are_refused_in_a_line(figures: Any) -> None:
    fed = federation(trainer=Silent)
    vars(fed.trainer).update(evaluate=lambda weights, x, y: figures)
    with pytest.raises(InvalidInputError, match=r"the trainer's evaluation is .*; needed: a table of numbers"):
        list(fed.rounds(1))
