"""Losses of every kind: what labels are with each, and the training and the figures that follow from it."""

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import pytest

from fbfl.errors import FbflError, InvalidInputError
from fbfl.learning import losses, models
from fbfl.learning.federation import Federation
from fbfl.learning.keras_trainer import KerasTrainer
from fbfl.learning.training import TrainingSettings, draws
from tests.support.models import built

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 5)).astype(np.float32)
NUMBERS = (X @ np.array([3, -2, 1, 0, 0.5]) + 4 + 0.1 * RNG.normal(size=300)).astype(np.float32)
BINARY = (NUMBERS > 4).astype(np.int64)
SHAPE: dict[str, Any] = {"input_shape": (5,), "seed": 7, "lanes": 1}


def net() -> Any:
    return keras.Sequential([keras.layers.Dense(8, activation="relu"), keras.layers.Dense(1)])


def huber(labels: Any, outputs: Any) -> Any:
    return keras.losses.huber(labels, outputs)


def federation(**options: Any) -> Federation:
    """Three clients with the numbers, or with the labels of `options`."""
    labels = options.pop("labels", NUMBERS)
    shares = [(X[first:250:3], labels[first:250:3]) for first in range(3)]
    chosen = {"model": net, "loss": "mean_squared_error", "learning_rate": 0.02, "local_epochs": 3, "lanes": 1}
    return Federation(shares, (X[250:], labels[250:]), **{**chosen, **options})


@pytest.mark.parametrize(
    ("loss", "num_classes", "labels", "in_keras"),
    [
        ("mean_squared_error", 0, NUMBERS, keras.losses.MeanSquaredError()),
        ("binary_cross_entropy", 2, BINARY, keras.losses.BinaryCrossentropy(from_logits=True)),
        (huber, 0, NUMBERS, keras.losses.Huber()),
        ("keras.losses:mean_absolute_error", 0, NUMBERS, keras.losses.MeanAbsoluteError()),
    ],
)
def test_training_equals_keras_fit(loss: Any, num_classes: int, labels: npt.NDArray[Any], in_keras: Any) -> None:
    settings = TrainingSettings(local_epochs=2, optimizer=lambda: keras.optimizers.SGD(0.05), loss=loss)
    trainer = KerasTrainer(net, settings, num_classes=num_classes, **SHAPE)
    start = trainer.initial_weights()
    (update,) = trainer.train(start, [(X[:100], labels[:100])], round_number=1, client_ids=[0])
    model = built(net, input_shape=(5,), num_classes=num_classes, seed=7, loss=loss)
    model.compile(keras.optimizers.SGD(0.05), in_keras)
    for order in draws(7, 1, 0, 100, 2)[0]:
        model.fit(X[order], labels[order].astype(np.float32), batch_size=32, shuffle=False, verbose=0)
    assert np.abs(update).max() > 0.01
    assert np.abs(start + update - models.weights_of(model)).max() < 1e-5
    # The figure is the mean over all samples, as Keras finds it.
    expected = model.evaluate(X, labels.astype(np.float32), batch_size=300, verbose=0)
    figures = trainer.evaluate(start + update, X, labels)
    assert figures["loss"] == pytest.approx(expected, rel=1e-4)
    assert ("accuracy" in figures) == bool(num_classes)


def test_a_regression_has_errors_instead_of_an_accuracy() -> None:
    *_, last = federation().rounds(8)
    assert np.isnan(last.accuracy)
    assert last.recall == ()
    assert last.loss < 1
    assert 0 < last.metrics["mae"] < 1
    (named,) = federation(metric=["mse", spread]).rounds(1)
    assert named.metrics["mse"] == pytest.approx(named.loss)
    assert named.metrics["spread"] > 0


def spread(numbers: npt.NDArray[Any], labels: npt.NDArray[Any]) -> float:
    assert numbers.shape == labels.shape
    return float(np.std(numbers - labels))


def test_a_binary_model_has_one_output_and_two_classes() -> None:
    fed = federation(labels=BINARY, loss="binary_cross_entropy", metric="f1", attack="label_flipping", malicious=[0])
    *_, last = fed.rounds(6)
    assert last.accuracy > 0.9
    assert len(last.recall) == 2
    assert last.metrics["f1"] > 0.9
    assert [array.shape for array in fed.weights][-1] == (1,)


def test_scores_of_a_logit_have_its_loss() -> None:
    logits = RNG.normal(size=(50, 1)).astype(np.float32) * 5
    scores = losses.scores_of("binary_cross_entropy", 2, logits)
    expected = np.mean(np.logaddexp(0, -logits[:, 0] * (2 * BINARY[:50] - 1)))
    found = losses.measured("binary_cross_entropy", scores, BINARY[:50], own=lambda: np.nan)
    assert found == pytest.approx(expected, rel=1e-5)


def test_a_function_trains_the_model_of_a_regression() -> None:
    def train(weights: Any, x: Any, y: Any, rng: Any, round: int, loss: str = "") -> Any:
        assert (loss, y.dtype) == ("mean_squared_error", np.float32)
        kernel, bias = weights
        for _ in range(50):
            error = x @ kernel[:, 0] + bias - y
            kernel, bias = kernel - 0.1 * (x.T @ error / len(y))[:, None], bias - 0.1 * error.mean()
        return [kernel, bias]

    def line() -> Any:
        return keras.Sequential([keras.layers.Dense(1)])

    *_, last = federation(model=line, trainer=train, learning_rate=None, local_epochs=1).rounds(3)
    assert last.loss < 0.1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"loss": "hinge"}, "loss is 'hinge'; allowed: cross_entropy, binary_cross_entropy, mean_squared_error, or pa"),
        ({"num_classes": 3}, "num_classes is 3; allowed with loss mean_squared_error: 0"),
        ({"loss": "binary_cross_entropy", "num_classes": 1}, "allowed with loss binary_cross_entropy: 2"),
        (
            {"loss": "cross_entropy", "num_classes": 0},
            "num_classes is 0; allowed with loss cross_entropy: 1 or more",
        ),
        ({"loss": huber}, r"client 0: y is float32\[84\]; .*numbers need loss mean_squared_error, or num_classes = 0"),
        ({"loss": "cross_entropy"}, "fractions are not classes; numbers need loss mean_squared_error"),
        (
            {"labels": BINARY + 1, "loss": "binary_cross_entropy"},
            "holds 2; allowed with num_classes = 2, as of loss binary_cross_entropy: 0 to 1",
        ),
        (
            {"labels": BINARY, "loss": "cross_entropy", "num_classes": 1},
            "holds 1; allowed with num_classes = 1: 0",
        ),
        ({"labels": np.where(BINARY, np.nan, 1)}, "client 0: y holds nan; allowed: finite numbers"),
        ({"labels": np.where(BINARY, 1e39, 1)}, r"y holds 1e\+39; allowed: finite numbers that float32 holds"),
        (
            {"labels": NUMBERS[:, None]},
            r"y is float32\[84, 1\]; needed: labels .*; y.reshape\(-1\) makes it flat",
        ),
        ({"labels": NUMBERS.astype(str)}, r"needed: numbers; y.astype\('float32'\) makes them"),
        ({"model": lambda: keras.Sequential([keras.layers.Dense(2)])}, r"returns \[2\] per sample; needed: 1 outputs"),
        (
            {
                "labels": BINARY,
                "loss": "binary_cross_entropy",
                "model": lambda: keras.Sequential([keras.layers.Dense(1, activation="sigmoid")]),
            },
            "ends in a sigmoid: it has to return logits",
        ),
        ({"metric": "f1"}, "metric is 'f1', but labels are numbers; allowed: mae, mse, or a function"),
        (
            {"labels": BINARY, "loss": "binary_cross_entropy", "metric": "mae"},
            "metric is 'mae', but labels are classes; allowed: f1, balanced_accuracy, or a function",
        ),
        (
            {"attack": "label_flipping", "malicious": [0]},
            "attack label_flipping: changes classes, but labels are numbers; allowed: data_poisoning",
        ),
        ({"attack": "backdoor", "malicious": [0]}, "attack backdoor: changes classes"),
        ({"loss": lambda y, outputs: "small", "num_classes": 0}, "loss <lambda> returned a str; needed: a tensor of"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(options: dict[str, Any], said: str) -> None:
    with pytest.raises(FbflError, match=said) as caught:
        list(federation(**options).rounds(1))
    assert isinstance(caught.value, InvalidInputError)
    assert "\n" not in str(caught.value)


def test_noise_on_samples_and_attacks_on_updates_need_no_classes() -> None:
    fed = federation(attack=["data_poisoning", "sign_flipping"], malicious=[0], aggregator="median")
    *_, last = fed.rounds(2)
    assert last.attack_success_rate is None
    assert np.isfinite(last.loss)


def test_a_state_goes_on_with_the_same_loss_only(tmp_path: Any) -> None:
    fed = federation()
    list(fed.rounds(1))
    fed.save(tmp_path / "state")
    with pytest.raises(InvalidInputError):
        federation(loss=huber, num_classes=0).load(tmp_path / "state")
    again = federation()
    again.load(tmp_path / "state")
    assert [r.loss for r in again.rounds(1)] == [r.loss for r in fed.rounds(1)]
