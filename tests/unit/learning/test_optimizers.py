"""Optimizers in the compiled training: every option has the effect that it has in Keras's `fit`."""

import inspect
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from fbfl.errors import FbflError
from fbfl.learning import backend, keras_trainer, models, optimizers
from fbfl.learning.keras_trainer import KerasTrainer
from fbfl.learning.training import TrainingSettings, draws
from tests.support.models import built
from tests.unit.learning.small_trainings import DIGITS, OPTIMIZERS, SHAPE, clients, keras_fit, plain, train

backend.load_tensorflow()  # before anything of TensorFlow's runs


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_equals_keras_fit_bit_for_bit(name: str) -> None:
    settings = TrainingSettings(local_epochs=3, batch_size=32, optimizer=OPTIMIZERS[name], fused=False)
    trainer = KerasTrainer(plain, settings, lanes=1, **SHAPE)
    data = clients(300, 77)
    updates = train(trainer, data, ids=[4, 9], round_number=2)
    for samples, client, update in zip(data, (4, 9), updates, strict=True):
        model = built(plain, input_shape=(8, 8), seed=7)
        keras_fit(model, OPTIMIZERS[name](), samples, draws(7, 2, client, len(samples[1]), 3)[0], 32)
        assert np.array_equal(update, models.weights_of(model) - trainer.initial_weights())


# Every option of Keras's base class, in optimizers that have something of their own besides.
OPTIONS = {
    "clipnorm": lambda: keras.optimizers.SGD(0.1, clipnorm=0.1, use_ema=True, ema_momentum=0.8),
    "clipvalue": lambda: keras.optimizers.Nadam(clipvalue=0.01, weight_decay=0.1, gradient_accumulation_steps=3),
    "global_clipnorm": lambda: keras.optimizers.Adam(
        global_clipnorm=0.1, loss_scale_factor=512.0, use_ema=True, ema_momentum=0.8, ema_overwrite_frequency=3
    ),
    "a rate that is a function": lambda: keras.optimizers.SGD(lambda: 0.05, name="mine"),
    "a start from the weights": lambda: keras.optimizers.ScheduleFreeAdamW(),
    "wrapped": lambda: keras.optimizers.LossScaleOptimizer(
        keras.optimizers.Adam(amsgrad=True, use_ema=True), dynamic_growth_steps=2
    ),
    "several": lambda: keras.optimizers.MultiOptimizer(
        keras.optimizers.OptimizerMap(keras.optimizers.SGD(0.1), {".*kernel": keras.optimizers.Adam(0.01)})
    ),
}


def assert_equal_to_keras_fit(make: Callable[..., Any]) -> None:
    """One epoch each of two clients, which start from other weights than the model was built with."""
    trainer = KerasTrainer(plain, TrainingSettings(optimizer=make), lanes=1, **SHAPE)
    start = trainer.initial_weights() + np.float32(0.01)
    data = [*clients(200), clients(100)[0], (DIGITS.x_train[:0], DIGITS.y_train[:0])]
    updates = train(trainer, data, weights=start)
    for client, samples in enumerate(data[:2]):
        model, optimizer = built(plain, input_shape=(8, 8), seed=7), make()
        model.set_weights(trainer.spec.unflatten(start))
        optimizer.build(model.trainable_variables)  # `fit` would build it in a graph, where nothing starts from weights
        keras_fit(model, optimizer, samples, draws(7, 1, client, len(samples[1]), 1)[0], 32)
        assert np.isfinite(updates[client]).all()
        assert np.array_equal(updates[client], models.weights_of(model) - start)
    assert not updates[2].any()


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_of_an_optimizer_has_its_effect(name: str) -> None:
    assert_equal_to_keras_fit(OPTIONS[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["adadelta", "adagrad", "adamax", "adamw", "ftrl", "lion", "muon"])
def test_every_optimizer_equals_keras_fit(name: Any) -> None:
    assert_equal_to_keras_fit(lambda: keras.optimizers.get(name))


def test_an_optimizer_with_any_option_is_not_replaced_by_a_kernel() -> None:
    values = {
        "weight_decay": 0.1,
        "clipnorm": 1.0,
        "clipvalue": 1.0,
        "global_clipnorm": 1.0,
        "use_ema": True,
        "loss_scale_factor": 2.0,
        "gradient_accumulation_steps": 2,
        "learning_rate": lambda: 0.1,
        "momentum": 0.9,
        "amsgrad": True,
    }
    of_others = {"ema_momentum", "ema_overwrite_frequency", "nesterov"}  # without use_ema and momentum no effect
    of_the_kernels = {"beta_1", "beta_2", "epsilon"}
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    for kind in (keras.optimizers.SGD, keras.optimizers.Adam):
        assert not isinstance(optimizers.in_graph(kind(), model, fused=True), optimizers._Keras)
        options = set(inspect.signature(kind).parameters) - of_others - of_the_kernels - {"name", "kwargs"}
        assert options <= set(values)
        for name in options:
            changed = kind(**{name: values[name]})
            assert isinstance(optimizers.in_graph(changed, model, fused=True), optimizers._Keras), name


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_fused_kernels_stay_close(name: str) -> None:
    exact, fused = (
        KerasTrainer(plain, TrainingSettings(local_epochs=3, optimizer=OPTIMIZERS[name], fused=flag), lanes=1, **SHAPE)
        for flag in (False, True)
    )
    data = clients(600)
    a, b = train(exact, data), train(fused, data)
    assert np.abs(a).max() > 0.05  # it has moved
    assert np.abs(a - b).max() <= (0 if name == "sgd" else 1e-3)


def nesterov() -> Any:
    return keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True)


def test_a_function_can_be_given_by_its_path() -> None:
    named, given = (
        train(KerasTrainer(plain, TrainingSettings(optimizer=optimizer), lanes=1, **SHAPE), clients(200))
        for optimizer in (f"{__name__}:nesterov", nesterov)
    )
    assert named.any()
    np.testing.assert_array_equal(named, given)


def used_before() -> Any:
    optimizer = keras.optimizers.RMSprop()
    optimizer.build([keras.Variable([1.0])])
    return optimizer


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: "adamm", "optimizer is 'adamm'; allowed: adadelta, .*, sgd, or package.module:function$"),
        (lambda: "multioptimizer", "optimizer is 'multioptimizer'; allowed: "),
        (lambda: "optimizermap", "optimizer is 'optimizermap'; allowed: "),
        (lambda: "", "optimizer is ''; allowed: "),
        (lambda: None, "optimizer is None; needed:"),
        (lambda: {"class_name": "SGD"}, "optimizer is {'class_name': 'SGD'}; needed:"),
        (lambda: keras.optimizers.SGD(), r"lambda: keras.optimizers.SGD\(...\)$"),
        (lambda: lambda: {}, "optimizer <lambda> returned a dict, not a Keras optimizer"),
        (lambda: lambda: "sgd", "returned a str, not a Keras optimizer"),
        (lambda: lambda: keras.optimizers.SGD, "returned a .*type.*, not a Keras optimizer"),
        (lambda: used_before, "returned one that is in use"),
        (lambda: lambda: keras.optimizers.SGD(momentum=2), "`momentum` must be"),
        (lambda: lambda rate: keras.optimizers.SGD(rate), "needs rate; allowed: a function of no arguments$"),
        (lambda: keras.optimizers.LossScaleOptimizer, "needs inner_optimizer; allowed: a function of no arguments$"),
        (lambda: f"{__name__}:used_before", f"optimizer {__name__}:used_before returned one that is in use"),
        (lambda: f"{__name__}:nothing", f"module {__name__} has no function 'nothing'$"),
        (lambda: lambda: keras.optimizers.SGD(lambda: 1 / 0), "division by zero"),
    ],
)
def test_anything_but_an_optimizer_is_refused_in_a_line(make: Callable[..., Any], message: str) -> None:
    with pytest.raises(FbflError, match=message) as caught:
        keras_trainer._optimizer(TrainingSettings(optimizer=make()))
    assert caught.value.exit_status == 2
