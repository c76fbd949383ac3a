"""The trainer: equal to Keras, and independent of how the work is spread."""

import functools
import gc
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from fbfl.errors import FbflError, InvalidInputError, UserCodeError
from fbfl.learning import base_trainer, keras_trainer
from fbfl.learning.keras_trainer import KerasTrainer
from fbfl.learning.training import TrainingSettings, draws
from tests.support.models import built
from tests.unit.learning.small_trainings import (
    DIGITS,
    OPTIMIZERS,
    SHAPE,
    Subclassed,
    clients,
    keras_fit,
    num_traces,
    plain,
    train,
    with_dropout_and_statistics,
)

STATM = Path("/proc/self/statm")


@pytest.fixture(scope="module")
def adam() -> KerasTrainer:
    return KerasTrainer(with_dropout_and_statistics, TrainingSettings(local_epochs=2), lanes=2, **SHAPE)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_layers_of_fewer_bits_train_as_in_keras_fit(policy: str) -> None:
    """With a regulariser, and under the policy that makes `compile` scale the loss."""
    from fbfl.learning import models

    def few_bits() -> Any:
        layers = keras.layers
        hidden = layers.Dense(16, kernel_regularizer="l2", dtype=policy)
        return keras.Sequential([layers.Flatten(), hidden, layers.Dense(10, dtype=policy)])

    make: Callable[[], Any] = OPTIMIZERS["sgd"]
    (samples,) = clients(100)
    trainer = KerasTrainer(few_bits, TrainingSettings(optimizer=make), lanes=1, **SHAPE)
    (update,) = train(trainer, [samples])
    model = built(few_bits, input_shape=(8, 8), seed=7)
    keras_fit(model, make(), samples, draws(7, 1, 0, 100, 1)[0], 32)
    expected = models.weights_of(model) - trainer.initial_weights()
    assert np.abs(expected).max() > 0.01
    assert np.abs(update - expected).max() < 1e-5
    assert trainer.logits(trainer.initial_weights(), DIGITS.x_test).dtype == np.float32


def test_without_shuffling_every_epoch_goes_through_the_samples_as_they_lie() -> None:
    from fbfl.learning import models

    settings = TrainingSettings(local_epochs=2, optimizer=OPTIMIZERS["sgd"], fused=False, shuffle=False)
    trainer = KerasTrainer(plain, settings, lanes=1, **SHAPE)
    (samples,) = clients(77)
    (update,) = train(trainer, [samples])
    model = built(plain, input_shape=(8, 8), seed=7)
    keras_fit(model, OPTIMIZERS["sgd"](), samples, [np.arange(77)] * 2, 32)
    assert np.array_equal(update, models.weights_of(model) - trainer.initial_weights())


def test_a_batch_norm_model_equals_keras_fit() -> None:
    from fbfl.learning import models

    def model() -> Any:
        layers = keras.layers
        return keras.Sequential(
            [layers.Flatten(), layers.Dense(16), layers.BatchNormalization(), layers.ReLU(), layers.Dense(10)]
        )

    trainer = KerasTrainer(model, TrainingSettings(optimizer=OPTIMIZERS["rmsprop"], fused=False), lanes=1, **SHAPE)
    (samples,) = clients(200)
    (update,) = train(trainer, [samples])
    expected = built(model, input_shape=(8, 8), seed=7)
    keras_fit(expected, OPTIMIZERS["rmsprop"](), samples, draws(7, 1, 0, 200, 1)[0], 32)
    assert np.array_equal(update, models.weights_of(expected) - trainer.initial_weights())
    moving = [tensor.name.rsplit("/")[-1] for tensor in trainer.spec.tensors]
    assert "moving_mean" in moving
    parts = dict(zip(moving, trainer.spec.unflatten(update), strict=True))
    assert np.abs(parts["moving_mean"]).max() > 0


def test_regularisers_and_constraints_count() -> None:
    from fbfl.learning import models

    def model() -> Any:
        layers = keras.layers
        return keras.Sequential(
            [
                layers.Flatten(),
                layers.Dense(16, kernel_regularizer="l2", kernel_constraint=keras.constraints.MaxNorm(0.4)),
                layers.Dense(10),
            ]
        )

    trainer = KerasTrainer(model, TrainingSettings(optimizer=OPTIMIZERS["sgd"]), lanes=1, **SHAPE)
    (samples,) = clients(200)
    (update,) = train(trainer, [samples])
    expected = built(model, input_shape=(8, 8), seed=7)
    keras_fit(expected, OPTIMIZERS["sgd"](), samples, draws(7, 1, 0, 200, 1)[0], 32)
    assert np.abs(update - (models.weights_of(expected) - trainer.initial_weights())).max() < 1e-6


def test_updates_do_not_depend_on_lanes_chunks_or_company(adam: KerasTrainer, monkeypatch: pytest.MonkeyPatch) -> None:
    data = clients(100, 37, 250, 1, 64, 200, 33)
    reference = train(adam, data)
    one = KerasTrainer(with_dropout_and_statistics, adam.settings, lanes=1, **SHAPE)
    three = KerasTrainer(with_dropout_and_statistics, adam.settings, lanes=3, **SHAPE)
    assert np.array_equal(train(one, data), reference)
    assert np.array_equal(train(three, data), reference)
    order = [5, 2, 0, 6, 1, 3, 4]
    assert np.array_equal(train(adam, [data[i] for i in order], ids=order), reference[order])
    assert np.array_equal(train(adam, data[4:5], ids=[4]), reference[4:5])
    for name, value in (("_CHUNK_CLIENTS", 1), ("_CHUNK_CLIENTS", 3), ("_CHUNK_SAMPLES", 120), ("_CHUNK_BYTES", 1)):
        with monkeypatch.context() as patch:
            patch.setattr(keras_trainer, name, value)
            assert np.array_equal(train(adam, data), reference)


def test_updates_depend_on_what_they_should(adam: KerasTrainer) -> None:
    data = clients(100)
    first = train(adam, data)
    assert np.array_equal(train(adam, data), first)
    assert not np.array_equal(train(adam, data, ids=[1]), first)
    assert not np.array_equal(train(adam, data, round_number=2), first)
    other = KerasTrainer(with_dropout_and_statistics, adam.settings, lanes=1, input_shape=(8, 8), seed=8)
    assert not np.array_equal(train(other, data, weights=adam.initial_weights()), first)


def test_dropout_is_drawn_anew_for_each_client_and_round() -> None:
    """With one batch of all samples the order hardly matters: what differs is what dropout left out."""
    settings = TrainingSettings(batch_size=64, optimizer="sgd", learning_rate=0.1)
    still = KerasTrainer(plain, settings, lanes=1, **SHAPE)
    dropping = KerasTrainer("mlp", settings, lanes=1, **SHAPE)
    data = clients(64) * 2
    a, b = train(still, data)
    assert np.abs(a - b).max() < 1e-6
    a, b = train(dropping, data)
    assert np.abs(a - b).max() > 1e-4


def test_bytes_and_floats_train_alike() -> None:
    x = np.round(DIGITS.x_train[:300] * 255).astype(np.uint8)
    y = DIGITS.y_train[:300]
    trainer = KerasTrainer(plain, TrainingSettings(optimizer="sgd"), lanes=2, **SHAPE)
    as_floats = x.astype(np.float32) / np.float32(255)
    mixed = train(trainer, [(x, y), (as_floats, y), (x, y), (as_floats.astype(np.float64), y)], ids=[0, 0, 0, 0])
    assert np.array_equal(mixed, mixed[[0, 0, 0, 0]])


def test_changing_data_and_settings_trace_nothing_new(adam: KerasTrainer) -> None:
    train(adam, clients(200, 200, 200, 200))
    adam.evaluate(adam.initial_weights(), DIGITS.x_test, DIGITS.y_test)
    before = num_traces(adam)
    for number in range(1, 6):
        train(adam, clients(10 * number, 3, 100, number), round_number=number, local_epochs=[1, 2, number, 0])
        adam.evaluate(adam.initial_weights(), DIGITS.x_test[: 50 * number], DIGITS.y_test[: 50 * number])
    assert num_traces(adam) <= max(before, 4)  # two lanes, training and evaluation


def test_a_trainer_can_be_compiled_before_its_first_round() -> None:
    trainer, cold = (KerasTrainer(plain, TrainingSettings(optimizer="adam"), lanes=2, **SHAPE) for _ in range(2))
    trainer.warm_up(DIGITS.x_train.dtype)
    compiled = num_traces(trainer)
    assert compiled == 4  # two lanes, training and evaluation
    assert np.array_equal(train(trainer, clients(30, 200)), train(cold, clients(30, 200)))
    trainer.evaluate(trainer.initial_weights(), DIGITS.x_test, DIGITS.y_test)
    assert num_traces(trainer) == compiled


def test_a_model_with_two_convolutions_can_be_compiled_before_its_first_round() -> None:
    KerasTrainer("cnn", lanes=1, input_shape=(8, 8)).warm_up(DIGITS.x_train.dtype)


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_steps_take_the_place_of_epochs(name: str) -> None:
    """Each on a batch drawn afresh from all samples, as Keras has it when fed those batches."""
    from fbfl.learning import models

    settings = TrainingSettings(batch_size=32, optimizer=OPTIMIZERS[name], fused=False, local_steps=5)
    trainer = KerasTrainer(plain, settings, lanes=1, **SHAPE)
    data = clients(300, 77, 20)
    updates = train(trainer, data, round_number=2)
    for client, (samples, update) in enumerate(zip(data, updates, strict=True)):
        batches, _ = draws(7, 2, client, len(samples[1]), 5, batch_size=32)
        assert batches.shape == (5, min(32, len(samples[1])))
        assert all(np.unique(batch).size == batch.size for batch in batches)
        model = built(plain, input_shape=(8, 8), seed=7)
        keras_fit(model, OPTIMIZERS[name](), samples, batches, 32)
        assert np.array_equal(update, models.weights_of(model) - trainer.initial_weights())


def test_steps_do_not_depend_on_lanes_chunks_or_company(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = TrainingSettings(batch_size=16, local_steps=3)
    trainer = KerasTrainer(with_dropout_and_statistics, settings, lanes=1, **SHAPE)
    data = [*clients(100, 37, 250), (DIGITS.x_train[:0], DIGITS.y_train[:0]), *clients(64, 9)]
    reference = train(trainer, data)
    assert not reference[3].any()
    two = KerasTrainer(with_dropout_and_statistics, settings, lanes=2, **SHAPE)
    assert np.array_equal(train(two, data), reference)
    assert np.array_equal(train(trainer, data[2:3], ids=[2]), reference[2:3])
    fewer = train(trainer, data, local_epochs=[3, 1, 3, 3, 0, 3])
    assert [np.array_equal(a, b) for a, b in zip(fewer, reference, strict=True)] == [
        True,
        False,
        True,
        True,
        False,
        True,
    ]
    monkeypatch.setattr(keras_trainer, "_CHUNK_SAMPLES", 40)
    assert np.array_equal(train(trainer, data), reference)


def test_batches_reach_all_samples() -> None:
    """60 rounds of one step of 8 out of 100 samples: a prefix or a fixed batch would leave most of them out."""
    seen = {int(i) for number in range(60) for i in draws(0, number, 0, 100, 1, batch_size=8)[0].ravel()}
    assert len(seen) > 90


def test_no_samples_and_no_epochs_change_nothing(adam: KerasTrainer) -> None:
    updates = train(adam, [*clients(50), (DIGITS.x_train[:0], DIGITS.y_train[:0])], local_epochs=[0, 1])
    assert not updates.any()


def test_epochs_per_client(adam: KerasTrainer) -> None:
    data = clients(90, 90)
    mixed = train(adam, data, local_epochs=[1, 3])
    assert np.array_equal(mixed[0], train(adam, data, local_epochs=1)[0])
    assert np.array_equal(mixed[1], train(adam, data, local_epochs=3)[1])


def test_learning_rate_as_a_number_and_as_a_function_of_the_round() -> None:
    def trainer(rate: Callable[..., Any] | float, **options: Any) -> KerasTrainer:
        settings = TrainingSettings(optimizer="sgd", learning_rate=rate, **options)
        return KerasTrainer(plain, settings, lanes=1, **SHAPE)

    data = clients(32)  # one step: the update is the rate times the gradient
    falling = trainer(lambda number: 0.2 / number)
    first, second = train(falling, data, round_number=1), train(falling, data, round_number=2)
    assert np.array_equal(first, train(trainer(0.2), data, round_number=1))
    assert np.array_equal(second, train(trainer(0.1), data, round_number=2))
    assert np.array_equal(second, train(trainer(lambda number: 0.2 / number, fused=False), data, round_number=2))
    with pytest.raises(
        InvalidInputError, match=r"learning_rate <lambda> returned -0\.125 for round 5; needed: a finite"
    ):
        train(trainer(lambda number: 0.5 - 0.125 * number), data, round_number=5)
    rates: tuple[Any, ...] = ("0.1", -0.1, np.nan, np.inf, True, [0.1])
    for wrong in rates:
        with pytest.raises(InvalidInputError, match="learning_rate is"):
            TrainingSettings(learning_rate=wrong)
    with pytest.raises(InvalidInputError, match="schedule of its own"):
        KerasTrainer(plain, TrainingSettings(optimizer=OPTIMIZERS["scheduled"], learning_rate=0.1), lanes=1, **SHAPE)


def test_the_proximal_term_is_fedprox() -> None:
    """Against gradient steps on the loss with the term written out, in NumPy, for a linear model."""

    def linear() -> Any:
        return keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(10, use_bias=False)])

    mu, rate = 0.7, 0.5
    settings = TrainingSettings(local_epochs=4, batch_size=60, optimizer="sgd", learning_rate=rate, proximal=mu)
    trainer = KerasTrainer(linear, settings, lanes=1, **SHAPE)
    (x, y), start = clients(60)[0], trainer.initial_weights().astype(np.float64).reshape(64, 10)
    w, flat = start.copy(), x.reshape(60, 64).astype(np.float64)
    for _ in range(4):
        z = flat @ w
        p = np.exp(z - z.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        p[np.arange(60), y] -= 1
        w -= rate * (flat.T @ p / 60 + mu * (w - start))
    (update,) = train(trainer, [(x, y)])
    assert np.abs(update - (w - start).ravel()).max() < 1e-5
    free = KerasTrainer(linear, TrainingSettings(4, 60, "sgd", rate), lanes=1, **SHAPE)
    assert np.linalg.norm(update) < 0.8 * np.linalg.norm(train(free, [(x, y)]))


def test_evaluation_is_accuracy_and_cross_entropy(adam: KerasTrainer) -> None:
    weights = adam.initial_weights()
    logits = adam.logits(weights, DIGITS.x_test)
    result = adam.evaluate(weights, DIGITS.x_test, DIGITS.y_test)
    expected = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(DIGITS.y_test, logits)
    assert result["loss"] == pytest.approx(float(expected), rel=1e-5)
    right = [row.argmax() == label for row, label in zip(logits, DIGITS.y_test, strict=True)]
    assert result["accuracy"] == np.mean(right)


def test_evaluation_does_not_depend_on_lanes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base_trainer, "_BLOCK", 50)
    results = [
        KerasTrainer("mlp", lanes=lanes, **SHAPE).logits(np.full(9610, 0.01, np.float32), DIGITS.x_test)
        for lanes in (1, 2, 3)
    ]
    assert results[0].shape == (360, 10)
    assert np.array_equal(results[0], results[1])
    assert np.array_equal(results[0], results[2])


def test_evaluating_empties_nothing(adam: KerasTrainer) -> None:
    assert adam.logits(adam.initial_weights(), DIGITS.x_test[:0]).shape == (0, 10)


def test_a_subclassed_model_trains() -> None:
    trainer = KerasTrainer(
        Subclassed, TrainingSettings(optimizer="sgd", learning_rate=0.5, local_epochs=5), lanes=2, **SHAPE
    )
    (update,) = train(trainer, clients(600))
    before, after = (
        trainer.evaluate(w, DIGITS.x_test, DIGITS.y_test)["accuracy"]
        for w in (trainer.initial_weights(), trainer.initial_weights() + update)
    )
    assert before < 0.3
    assert after > 0.8


def test_updates_are_computed_as_they_are_consumed(adam: KerasTrainer) -> None:
    started = []
    original = keras_trainer._joined

    def counted(chunk: Any, *rest: Any, **options: Any) -> Any:
        started.append(len(chunk))
        return original(chunk, *rest, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras_trainer, "_CHUNK_CLIENTS", 1)
        patch.setattr(keras_trainer, "_joined", counted)
        data = [(DIGITS.x_train[:8], DIGITS.y_train[:8])] * 40
        stream: Any = adam.train(adam.initial_weights(), data, round_number=1, client_ids=range(40))
        next(stream)
        stream.close()
        assert len(started) < 12
    assert threading.active_count() < 50


def test_samples_weights_and_sizes_may_be_of_any_type_that_holds_them(adam: KerasTrainer) -> None:
    start, (x, y) = adam.initial_weights(), clients(20)[0]
    (update,) = train(adam, [(x, y)])
    others = (
        (x.tolist(), y.tolist()),
        (np.asfortranarray(x.astype(">f8")), y.astype(np.uint8)),
        (x.astype(np.longdouble), y.astype(">i2")),
    )
    for samples in others:
        assert np.array_equal(train(adam, [samples])[0], update)
        assert adam.evaluate(start.tolist(), *samples) == adam.evaluate(start, x, y)
    assert np.array_equal(train(adam, [(x, y)], local_epochs=np.int8(2))[0], update)
    other = KerasTrainer(plain, lanes=1, **(SHAPE | {"input_shape": [np.int64(8), 8]}))
    assert other.is_for(model=plain, settings=TrainingSettings(), num_classes=10, seed=7, input_shape=(8, 8))


def test_wrong_use_is_refused(adam: KerasTrainer) -> None:
    start, data = adam.initial_weights(), clients(20)

    def refused(message: str, samples: list[Any], weights: Any = start, **options: Any) -> None:
        given: dict[str, Any] = {"client_ids": range(len(samples))} | options
        with pytest.raises(InvalidInputError, match=message):
            adam.train(weights, samples, round_number=1, **given)

    x, y = data[0]
    refused("client ids", data, client_ids=[1, 2])
    refused("weights have the shape", data, weights=start[:-1])
    refused("weights have the shape", data, weights=None)
    refused(r"client 0: x has the shape \(20, 64\)", [(x.reshape(20, 64), y)])
    refused("client 0: x holds 20 samples, y 19", [(x, y[:-1])])
    refused("client 0 is a NoneType; needed: a pair", [None])
    refused("x is int64", [(x.astype(np.int64), y)])
    refused("labels have to be integers from 0 to 9", [(x, y + 5)])
    refused(r"client 0: y is float64\[20\]", [(x, y.astype(float))])
    for epochs in ([1, 1], 1.0, [1.0], "1", True, -1):
        refused("local_epochs is", data, local_epochs=epochs)
    for pair in ((start[:-1], x), (start, x[:, :4]), (start, x.astype(int))):
        with pytest.raises(InvalidInputError, match=r"weights have the shape|x has the shape|x is int64"):
            adam.logits(*pair)
    wrong: dict[str, tuple[Any, ...]] = {
        "input_shape": (8.0, "88", (0,), None),
        "num_classes": (0,),
        "lanes": (0, 10**5),
        "settings": ({}, TrainingSettings),
    }
    for name, given in ((name, value) for name, values in wrong.items() for value in values):
        with pytest.raises(InvalidInputError, match=f"{name} is "):
            KerasTrainer(plain, **{name: given})
    wrong = {"batch_size": (0,), "local_epochs": (0,), "local_steps": (0,), "proximal": (-1.0, np.inf, np.nan, 1e39)}
    wrong |= {"learning_rate": (-1.0, np.inf, np.nan, 1e39)}
    for name, value in ((name, value) for name, values in wrong.items() for value in values):
        with pytest.raises(InvalidInputError, match=f"^{name} is .*; allowed: "):
            TrainingSettings(**{name: value})
    with pytest.raises(InvalidInputError, match="local_steps is 2, local_epochs is 3"):
        TrainingSettings(local_epochs=3, local_steps=2)
    with pytest.raises(InvalidInputError, match="shuffle is False"):
        TrainingSettings(local_steps=2, shuffle=False)
    model = plain()
    with pytest.raises(InvalidInputError, match="same model twice"):
        KerasTrainer(lambda: model, lanes=2, **SHAPE)


def test_what_functions_of_the_users_raise_is_said_with_their_name() -> None:
    def fails(*_: int) -> Any:
        raise KeyError("absent")

    small: Callable[..., KerasTrainer] = functools.partial(KerasTrainer, lanes=1, **SHAPE)
    fails.__name__ = "mine"
    with pytest.raises(UserCodeError, match="model mine raised KeyError: 'absent'"):
        small(fails)
    with pytest.raises(UserCodeError, match="optimizer mine raised KeyError: 'absent'"):
        small(plain, TrainingSettings(optimizer=fails))
    with pytest.raises(UserCodeError, match="set-up of model plain raised TypeError"):  # Keras sees it when it is built
        small(plain, TrainingSettings(optimizer=lambda: keras.optimizers.MultiOptimizer(keras.optimizers.SGD())))
    with pytest.raises(UserCodeError, match="learning_rate mine raised KeyError: 'absent'"):
        small(plain, TrainingSettings(optimizer="sgd", learning_rate=fails)).warm_up()


def failing(when: str) -> type[Any]:
    """A model whose `call` works when it is tried, but not in a graph, or not in training."""

    class Own(Subclassed):
        def call(self, x: Any, training: Any = False) -> Any:
            if when == "graph" and float(keras.ops.max(x)) < 0:
                return None
            if when == "training" and training:
                raise ValueError("a fault of the user's")
            logits = super().call(x)
            return keras.ops.stop_gradient(logits) if when == "no gradient" else logits

    return Own


@pytest.mark.parametrize(
    ("when", "message"),
    [
        ("graph", "the training of model Own raised"),
        ("training", r"the training of model Own raised ValueError: (.|\n)* in call: raise ValueError"),
        ("no gradient", "the loss depends on none of the model's weights"),
    ],
)
def test_a_model_that_fails_in_training_only_is_named(when: str, message: str) -> None:
    trainer = KerasTrainer(failing(when), TrainingSettings(optimizer="sgd"), lanes=1, **SHAPE)
    with pytest.raises(FbflError, match=message) as caught:
        train(trainer, clients(20))
    assert caught.value.exit_status == 2


def test_a_model_is_traced_under_the_settings_that_it_was_built_under() -> None:
    seen = []

    class Own(Subclassed):
        def call(self, x: Any, training: Any = False) -> Any:
            seen.append(keras.config.dtype_policy().name)
            return super().call(x)

    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        trainer = KerasTrainer(Own, TrainingSettings(optimizer="sgd"), lanes=1, **SHAPE)
    finally:
        keras.config.set_dtype_policy("float32")
    train(trainer, clients(20))
    trainer.evaluate(trainer.initial_weights(), *clients(20)[0])
    assert set(seen) == {"mixed_bfloat16"}
    assert len(seen) > 4


def resident_mib() -> Any:
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.mark.slow
@pytest.mark.skipif(not STATM.exists(), reason="reads the memory in use from /proc")
def test_memory_does_not_grow_over_500_rounds(adam: Any) -> None:
    data, weights = clients(100, 80, 60, 40), adam.initial_weights()
    sizes = []
    for number in range(1, 551):
        weights = weights + train(adam, data, weights=weights, round_number=number).mean(axis=0)
        adam.evaluate(weights, DIGITS.x_test, DIGITS.y_test)
        if number in (50, 550):
            gc.collect()
            sizes.append(resident_mib())
    assert sizes[1] - sizes[0] < 30
