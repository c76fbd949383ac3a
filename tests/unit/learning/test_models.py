"""Models: fixed names and weights whatever else the process has built."""

import hashlib
import json
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras.src.models.sequential import Sequential

from fbfl.errors import FbflError, InvalidInputError
from fbfl.learning import models
from tests.support.models import built

keras = pytest.importorskip("keras")


def drawn_by_numpy(shape: Any, dtype: Any = None) -> Any:
    return np.random.normal(size=shape)  # noqa: NPY002


def own_model() -> Sequential:
    return keras.Sequential(
        [
            keras.layers.Flatten(),
            keras.layers.Dense(16, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(16, kernel_initializer=drawn_by_numpy),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(10),
        ]
    )


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("mlp", 784 * 128 + 128 + 128 * 10 + 10),
        ("2nn", 199_210),  # as McMahan et al. 2017 count
        ("cnn", 1_663_370),  # likewise
    ],
)
def test_named_models(name: str, parameters: int) -> None:
    model = built(name, seed=3)
    spec = models.spec_of(model)
    assert spec.size == parameters
    assert all(tensor.name.startswith(f"{name}/") for tensor in spec.tensors)
    assert model(np.zeros((2, 28, 28), np.float32)).shape == (2, 10)
    weights = models.weights_of(model)
    assert weights.dtype == np.float32
    assert np.array_equal(weights, models.weights_of(built(name, seed=3)))
    assert not np.array_equal(weights, models.weights_of(built(name, seed=4)))


def test_the_paper_s_dropout_is_there() -> None:
    (dropout,) = [layer for layer in built("mlp").layers if isinstance(layer, keras.layers.Dropout)]
    assert dropout.rate == 0.2


def test_logits_not_probabilities() -> None:
    x = np.random.default_rng(0).random((50, 28, 28), np.float32)
    answers = np.asarray(built("mlp")(x))
    assert answers.min() < 0
    assert np.abs(answers.sum(axis=1) - 1).min() > 1e-3


def test_other_input_shapes() -> None:
    assert models.spec_of(built("mlp", input_shape=(8, 8), num_classes=4)).size == 65 * 128 + 129 * 4
    assert built("cnn", input_shape=(32, 32, 3))(np.zeros((1, 32, 32, 3), np.float32)).shape == (1, 10)
    for shape in ((64,), (128, 3), (3, 28), (2, 8, 8, 1), (3, 4, 9)):
        with pytest.raises(InvalidInputError, match="needs pictures of at least 4 x 4 pixels"):
            built("cnn", input_shape=shape)
    for shape in ((4, 4), (5, 7), (4, 4, 9)):
        assert built("cnn", input_shape=shape)(np.zeros((2, *shape), np.float32)).shape == (2, 10)


def test_the_cnn_answers_alike_wherever_the_channels_are() -> None:
    x = np.random.default_rng(0).random((2, 8, 9, 3), np.float32)
    last, first = built("cnn", input_shape=(8, 9, 3)), built("cnn", input_shape=(3, 8, 9))
    assert np.array_equal(last(x), first(np.moveaxis(x, 3, 1)))


def test_own_models_do_not_depend_on_what_was_built_before() -> None:
    first = built(own_model, seed=5)
    own_model()
    random.random()
    np.random.random()  # noqa: NPY002
    second = built(own_model, seed=5)
    assert models.spec_of(first) == models.spec_of(second)
    assert np.array_equal(models.weights_of(first), models.weights_of(second))
    names = [tensor.name for tensor in models.spec_of(first).tensors]
    assert "sequential/batch_normalization/moving_variance" in names
    assert "sequential/dense_2/kernel" in names
    assert not any("dense_3" in name for name in names)


def test_building_leaves_the_global_generators_alone() -> None:
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    expected = random.random(), np.random.random()  # noqa: NPY002
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    built(own_model, seed=5)
    assert (random.random(), np.random.random()) == expected  # noqa: NPY002


def named_layer() -> Any:
    """Found by its name only where the caller has said what it means."""
    layer = {"class_name": "Doubled", "config": {"units": 10}}
    return keras.Sequential([keras.layers.Flatten(), keras.layers.deserialize(layer)])


def test_settings_of_keras_in_the_callers_thread_count() -> None:
    class Doubled(keras.layers.Dense):  # type: ignore[misc, name-defined]  # Keras has no types
        pass

    with pytest.raises(FbflError, match="Doubled"):
        built(named_layer)
    with keras.saving.custom_object_scope({"Doubled": Doubled}):
        assert isinstance(built(named_layer).layers[-1], Doubled)
    assert built(own_model).layers[1].compute_dtype == "float32"
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        assert built("mlp").layers[1].compute_dtype == "bfloat16"
    finally:
        keras.mixed_precision.set_global_policy("float32")
    assert built("mlp").layers[1].compute_dtype == "float32"
    assert keras.config.dtype_policy().name == "float32"


def test_settings_of_a_thread_are_taken_along_and_given_back() -> None:
    from fbfl.learning import kerasstate

    seen = {}

    def elsewhere(settings: Any) -> None:
        keras.config.disable_interactive_logging()
        with kerasstate.under(settings):
            seen["under"] = keras.config.dtype_policy().name, keras.config.is_interactive_logging_enabled()
        seen["after"] = keras.config.dtype_policy().name, keras.config.is_interactive_logging_enabled()

    keras.config.set_dtype_policy("mixed_float16")
    try:
        settings = kerasstate.of_this_thread()
        thread = threading.Thread(target=elsewhere, args=(settings,))
        thread.start()
        thread.join()
    finally:
        keras.config.set_dtype_policy("float32")
    assert seen == {"under": ("mixed_float16", True), "after": ("float32", False)}


def test_importing_models_and_training_is_cheap() -> None:
    program = (
        "import fbfl.learning.models, fbfl.learning.trainer, sys; assert not {'tensorflow', 'keras'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_model_named_by_its_import_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text(
        "import keras\ndef model(): return keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(10)])\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert models.spec_of(built("mine:model")).size == 7850


def dense(*layers: Callable[..., Any] | type[Any]) -> Callable[..., Any]:
    return lambda: keras.Sequential([keras.layers.Flatten(), *[make() for make in layers]])


def compiled() -> Any:
    model = dense(lambda: keras.layers.Dense(10))()
    model.compile("sgd", "mse")
    return model


def subclass(answer: Any, *bases: Any, **methods: Any) -> Any:
    """A model class whose `call` is `answer(logits)`."""

    def build(self: Any) -> None:
        keras.Model.__init__(self)
        self.flatten, self.dense = keras.layers.Flatten(), keras.layers.Dense(10)
        self.attention = keras.layers.Softmax()  # an attribute, not what comes last

    call = {"call": lambda self, x, training=False: answer(self.dense(self.flatten(x)))}
    return type("Own", (keras.Model,), {"__init__": build} | call | methods)


SOFTMAXES = {
    "an activation": dense(lambda: keras.layers.Dense(10, activation="softmax")),
    "a layer": dense(lambda: keras.layers.Dense(10), keras.layers.Softmax),
    "nested": lambda: keras.Sequential([dense(lambda: keras.layers.Dense(10, activation="softmax"))()]),
    "Lambda": dense(lambda: keras.layers.Dense(10), lambda: keras.layers.Lambda(lambda x: keras.ops.softmax(x))),
    "an operation": subclass(lambda x: keras.ops.softmax(x)),
    "by hand": subclass(lambda x: keras.ops.exp(x) / keras.ops.sum(keras.ops.exp(x), axis=-1, keepdims=True)),
    "few bits": dense(lambda: keras.layers.Dense(10, activation="softmax", dtype="mixed_float16")),
    "words": dense(
        lambda: keras.layers.Embedding(2, 4),
        keras.layers.GlobalAveragePooling1D,
        lambda: keras.layers.Dense(10, activation="softmax"),
    ),
}


@pytest.mark.parametrize("kind", SOFTMAXES)
def test_a_softmax_at_the_end_is_refused_however_it_is_made(kind: str) -> None:
    with pytest.raises(InvalidInputError, match="ends in a softmax"):
        built(SOFTMAXES[kind], input_shape=(4, 4))


@pytest.mark.parametrize(
    "model",
    [
        subclass(lambda x: x),
        subclass(lambda x: keras.ops.log_softmax(x)),
        subclass(lambda x: keras.ops.relu(x)),
        subclass(lambda x: keras.ops.sigmoid(x)),
        dense(lambda: keras.layers.Dense(10, kernel_initializer="zeros")),
        dense(lambda: keras.layers.Embedding(2, 4), keras.layers.Flatten, lambda: keras.layers.Dense(10)),
    ],
)
def test_anything_else_at_the_end_is_welcome(model: Callable[..., Any] | type[Any]) -> None:
    built(model, input_shape=(4, 4))


def test_trying_a_model_leaves_it_as_it_was() -> None:
    class Counting(keras.layers.Layer):  # type: ignore[misc, name-defined]
        def build(self, shape: Any) -> None:
            self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False)
            self.generator = keras.random.SeedGenerator(3)

        def call(self, x: Any) -> Any:
            self.calls.assign(self.calls + 1)
            return x + 0 * keras.random.uniform((), seed=self.generator)

    model = built(dense(Counting, lambda: keras.layers.Dense(10)), input_shape=(4,))
    states = {variable.name: variable.numpy().tolist() for variable in model.layers[1].variables}
    assert states["variable"] == 1  # the first call makes the weights
    assert states["seed_generator_state"] == [3, 1]


KEPT: list[Any] = []


def kept_model() -> Any:
    KEPT.append(dense(lambda: keras.layers.Dense(10))())
    return KEPT[0]


def around_a_kept_layer() -> Any:
    KEPT.append(keras.layers.Dense(10))
    return keras.Sequential([keras.layers.Flatten(), KEPT[0]])


def with_a_kept_generator() -> Any:
    KEPT.append(keras.layers.Dropout(0.5))
    return dense(lambda: KEPT[0], lambda: keras.layers.Dense(10))()


@pytest.mark.parametrize("model", [kept_model, around_a_kept_layer, with_a_kept_generator])
def test_a_model_is_built_anew_every_time(model: Callable[..., Any]) -> None:
    KEPT.clear()
    first = built(model, input_shape=(4,))
    with pytest.raises(InvalidInputError, match="same model twice, or one with the same layers"):
        built(model, input_shape=(4,))
    assert first.count_params() == 50


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("mpl", "model is 'mpl'; allowed: mlp, 2nn, cnn"),
        ("nowhere.at_all:model", "cannot import"),
        ("math:no_such_function", "has no function"),
        (lambda: 3, "^model <lambda> returned a int"),
        (lambda: keras.Sequential, "returned a .*type.*, not a Keras model"),
        (lambda: keras.layers.Dense(10), "returned a Dense, not a Keras model"),
        (lambda units: keras.Sequential([keras.layers.Dense(units)]), "missing 1 required positional argument"),
        (None, "model is None; needed: one of mlp"),
        (3, "model is 3; needed: one of mlp"),
        ("", "model is ''; allowed: mlp"),
        (lambda: keras.Sequential(), r"refuses samples of the shape \(28, 28\): "),
        (subclass(lambda x: x.no_such_thing), r"refuses samples of the shape \(28, 28\): .*no_such_thing"),
        (subclass(lambda x: [x]), r"returns a list; needed: a tensor \[n, 10\]"),
        (subclass(lambda x: {"logits": x}), "returns a dict"),
        (subclass(lambda x: x[:1]), r"returns \[1, 10\] for 2 samples; needed: \[2, 10\]"),
        (subclass(lambda x: keras.ops.sum(x)), r"returns \[\] for 2 samples"),
        (subclass(lambda x: keras.ops.cast(x, "int32")), "returns int32; needed: logits"),
        (subclass(lambda x: x, train_step=lambda self, data: {}), "train_step of its own"),
        (subclass(lambda x: x, compute_loss=lambda self, **data: Any), "compute_loss of its own"),
        (compiled, "comes compiled, but its loss and optimizer would not count"),
        (
            dense(lambda: keras.layers.Dense(10, bias_initializer=keras.initializers.Constant(np.nan))),
            "begins with NaN or Inf in sequential/dense/bias",
        ),
        (dense(lambda: keras.layers.Dense(10, name="größe [m]")), r"a layer named 'größe \[m\]': TensorFlow's graphs"),
        (dense(lambda: keras.layers.Dense(7)), "7] per sample; needed: 10 logits"),
        (
            lambda: keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(10, dtype="float64")]),
            "not float32.*floatx",
        ),
        (lambda: keras.Sequential([keras.Input((5,)), keras.layers.Dense(10)]), r"refuses samples of the shape \(28"),
    ],
)
def test_models_that_cannot_work_say_why(model: Any, message: str) -> None:
    with pytest.raises(FbflError, match=message) as caught:
        built(model)
    assert caught.value.exit_status == 2


def test_a_model_is_no_function_that_makes_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = own_model()
    with pytest.raises(InvalidInputError, match="model is a Sequential, but each core needs one of its own"):
        built(model)
    (tmp_path / "ready.py").write_text("import keras\nmodel = keras.Sequential([keras.layers.Dense(10)])\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InvalidInputError, match="model is a Sequential"):
        built("ready:model")


def test_named_models_are_the_same_in_another_process_whatever_keras_json_says(tmp_path: Path) -> None:
    folder = tmp_path / ".keras"
    folder.mkdir()
    (folder / "keras.json").write_text('{"image_data_format": "channels_first", "backend": "jax"}')
    program = """
import hashlib, json, numpy as np
from fbfl.learning import backend, models
from tests.support.models import built
backend.load_tensorflow()
import keras
others = [keras.layers.Dense(3) for _ in range(7)]
x = np.random.default_rng(0).random((2, 8, 9)).astype(np.float32)
made = [built(name, input_shape=(8, 9), seed=9) for name in models.NAMES]
weights = [hashlib.sha256(models.weights_of(model).tobytes()).hexdigest() for model in made]
print(json.dumps([weights, [np.asarray(model(x)).tolist() for model in made]]))
"""
    environment = {**os.environ, "KERAS_HOME": str(folder), "KERAS_BACKEND": ""}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr
    weights, answers = json.loads(done.stdout)
    x = np.random.default_rng(0).random((2, 8, 9)).astype(np.float32)
    own = [built(name, input_shape=(8, 9), seed=9) for name in models.NAMES]
    assert weights == [hashlib.sha256(models.weights_of(model).tobytes()).hexdigest() for model in own]
    np.testing.assert_allclose(answers, [np.asarray(model(x)) for model in own], atol=1e-5)
