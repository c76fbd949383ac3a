"""Models by name or from a user's function, with weights and names that depend on nothing else in the process."""

import random
import re
import reprlib
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from fbfl.errors import InvalidInputError
from fbfl.learning import plugins
from fbfl.learning.backend import load_tensorflow
from fbfl.learning.pixels import channels_first
from fbfl.learning.samples import WHOLE
from fbfl.learning.training import Purpose
from fbfl.randomness import int32_seed
from fbfl.tensors import ModelSpec, TensorSpec, Vector

ABOUT = {
    "mlp": "A hidden layer of 128 units, with dropout 0.2, as in Wang and Li 2022.",
    "2nn": "Two hidden layers of 200 units, as in McMahan et al. 2017.",
    "cnn": "Two 5 x 5 convolutions with 32 and 64 filters and a layer of 512 units, as in McMahan et al. 2017.",
}
"""The models that `build` knows, by name."""

NAMES = tuple(ABOUT)
"""Names of the models that `build` knows."""

_SCOPE = re.compile(r"[A-Za-z0-9_.\\>-]*")
"""Allowed names of layers: Keras takes any eagerly, but not in a compiled graph."""

_building = threading.Lock()
_built: "weakref.WeakValueDictionary[int, Any]" = weakref.WeakValueDictionary()
"""Variables of all models that still exist, by their id."""


def build(purpose: Purpose) -> Any:
    """Build the new Keras model of a purpose, which maps samples [n, *input_shape] to logits [n, num_classes].

    With a loss that takes one output (see `fbfl.learning.losses`) it is [n, 1]: a number, or the logit of class 1.

    Initial weights and variable names depend on the purpose alone. For a user's function this holds as far as
    Keras allows (its initialisers, and Python's and NumPy's global generators, are seeded while it runs); it has
    to return logits, a new model at each call, and float32 weights, else `InvalidInputError` is raised. The settings
    of Keras in the caller's thread, such as its dtype policy, count.
    """
    load_tensorflow()
    from fbfl.learning import kerasstate

    if purpose.sample_type == WHOLE and purpose.model in NAMES:
        raise InvalidInputError(
            f"model is {purpose.model!r}, and samples are whole numbers; allowed: a model of your own that embeds "
            "them, or samples of uint8 or floating point, as x.astype('float32') makes them"
        )
    make = _maker(purpose)
    settings = kerasstate.of_this_thread()

    def built() -> Any:
        with kerasstate.under(settings):
            model = make()
            _check(model, purpose)
        return model

    # Keras numbers the layers ("dense_3") per thread: in a fresh one the count starts anew.
    with _building, seeded(int32_seed(purpose.seed, "initial weights")), ThreadPoolExecutor(1) as fresh:
        return fresh.submit(built).result()


def spec_of(model: Any) -> ModelSpec:
    """Return names and shapes of all that clients exchange: trained weights and others, as BatchNorm statistics."""
    return ModelSpec(tuple(TensorSpec(weight.path, tuple(weight.shape)) for weight in model.weights))


def trainable_of(model: Any) -> npt.NDArray[np.bool_]:
    """Return a mask of the model's weights that are trained, bool [P]."""
    trained = {id(weight) for weight in model.trainable_weights}
    sizes = [tensor.size for tensor in spec_of(model).tensors]
    return np.repeat([id(weight) in trained for weight in model.weights], sizes)


def weights_of(model: Any) -> Vector:
    """Return the model's current weights [P]."""
    return spec_of(model).flatten([np.asarray(weight.numpy(), np.float32) for weight in model.weights])


def _maker(purpose: Purpose) -> Callable[[], Any]:
    import keras

    model = purpose.model
    named = {name: partial(_named, name, purpose.input_shape, purpose.num_outputs) for name in NAMES}
    plugin = plugins.resolve("model", model, named, {}, data=0) if isinstance(model, str) else None
    function = plugin.function if plugin else model
    if isinstance(function, keras.Layer):
        raise InvalidInputError(
            f"model is a {type(function).__name__}, but each core needs one of its own: give a function that returns a"
            " new one"
        )
    if not callable(function):
        raise InvalidInputError(
            f"model is {reprlib.repr(model)}; needed: one of {', '.join(NAMES)}, package.module:function, or a"
            " function that returns a new Keras model"
        )
    return plugin or plugins.guarded("model", function)


def _named(name: str, input_shape: tuple[int, ...], num_outputs: int) -> Any:
    from keras import Input, Sequential, layers

    from fbfl.learning.layers import Dropout

    last = "channels_last"  # whatever keras.json says

    def dense(units: int, name: str) -> Any:
        return layers.Dense(units, activation="relu", name=name)

    flatten = layers.Flatten(last, name="flatten")

    if name == "mlp":
        body = [flatten, dense(128, "hidden"), Dropout(0.2, name="dropout")]
    elif name == "2nn":
        body = [flatten, dense(200, "hidden_1"), dense(200, "hidden_2")]
    else:
        moved = channels_first(input_shape)
        if len(input_shape) not in (2, 3) or min(input_shape[1:] if moved else input_shape[:2]) < 4:
            raise InvalidInputError(
                f"the model 'cnn' needs pictures of at least 4 x 4 pixels, not samples of the shape {input_shape}"
            )
        picture = input_shape if len(input_shape) == 3 else (*input_shape, 1)
        body = [layers.Permute((2, 3, 1), name="picture") if moved else layers.Reshape(picture, name="picture")]
        for number, filters in ((1, 32), (2, 64)):
            body += [
                layers.Conv2D(
                    filters, 5, padding="same", activation="relu", data_format=last, name=f"convolution_{number}"
                ),
                layers.MaxPooling2D(2, data_format=last, name=f"pooling_{number}"),
            ]
        body += [flatten, dense(512, "hidden")]
    output = layers.Dense(num_outputs, name="output")
    return Sequential([Input(input_shape, name="input"), *body, output], name=name)


def _check(model: Any, purpose: Purpose) -> None:
    import keras

    if not isinstance(model, keras.Model):
        raise InvalidInputError(
            f"model {plugins.label_of(purpose.model)} returned a {type(model).__name__}, not a Keras model; allowed:"
            " one, or the trainer of another framework, such as torch"
        )
    for name in ("train_step", "compute_loss"):
        if getattr(type(model), name) is not getattr(keras.Model, name):
            raise InvalidInputError(f"the model has a {name} of its own, which training would not call: remove it")
    if model.compiled:
        raise InvalidInputError(
            "the model comes compiled, but its loss and optimizer would not count: return it without compile;"
            " the optimizer is a setting"
        )
    _check_output(model, purpose)
    if any(_built.get(id(variable)) is variable for variable in model.variables):
        raise InvalidInputError(
            f"model {plugins.label_of(purpose.model)} returned the same model twice, or one with the same layers: it"
            " has to build a new one"
        )
    for layer in model._flatten_layers():
        if not _SCOPE.fullmatch(layer.name):
            raise InvalidInputError(
                f"the model has a layer named {layer.name!r}: TensorFlow's graphs allow letters, digits and _ . - >"
            )
    paths = [weight.path for weight in model.weights]
    if not model.trainable_weights or len(set(paths)) != len(paths):
        raise InvalidInputError(f"the model's weights need distinct names, and some to train: {paths}")
    other = [f"{weight.path} ({weight.dtype})" for weight in model.weights if weight.dtype != "float32"]
    if other:
        raise InvalidInputError(
            f"the model has weights that are not float32: {', '.join(other)}; allowed: layers, a dtype policy and"
            " a floatx in keras.json that leave them so, as float32 and mixed_bfloat16 do"
        )
    infinite = [weight.path for weight in model.weights if not np.isfinite(weight.numpy()).all()]
    if infinite:
        raise InvalidInputError(f"the model begins with NaN or Inf in {', '.join(infinite)}; needed: finite weights")
    _built.update({id(variable): variable for variable in model.variables})


def _check_output(model: Any, purpose: Purpose) -> None:
    """Try the model on samples of several sizes: they have to give what the loss takes."""
    import keras

    loss, num_outputs = purpose.settings.loss, purpose.num_outputs
    what = "logits" if loss in ("cross_entropy", "binary_cross_entropy") else "outputs"

    def answer(samples: Any) -> Any:
        return model(samples.astype(purpose.sample_type), training=False)

    samples = np.zeros((2, *purpose.input_shape))
    try:  # also gives weights to a model that has none before its first call
        output = answer(samples)
    except Exception as error:
        shape = purpose.input_shape
        raise InvalidInputError(f"the model refuses samples of the shape {shape}: {_gist(error)}") from error
    if not keras.ops.is_tensor(output):
        raise InvalidInputError(f"the model returns a {type(output).__name__}; needed: a tensor [n, {num_outputs}]")
    if len(output.shape) < 1 or output.shape[0] != len(samples):
        raise InvalidInputError(
            f"the model returns {list(output.shape)} for {len(samples)} samples; needed:"
            f" {[len(samples), num_outputs]} {what}"
        )
    if tuple(output.shape[1:]) != (num_outputs,):
        raise InvalidInputError(f"the model returns {list(output.shape[1:])} per sample; needed: {num_outputs} {what}")
    if not output.dtype.is_floating:
        raise InvalidInputError(f"the model returns {output.dtype.name}; needed: {what} in floating point")
    if loss == "binary_cross_entropy" and getattr(model.layers[-1], "activation", None) is keras.activations.sigmoid:
        raise InvalidInputError("the model ends in a sigmoid: it has to return logits, since the loss applies one")
    if loss != "cross_entropy":
        return
    kept = [variable for variable in model.variables if not variable.trainable]
    before = [variable.numpy() for variable in kept]
    rng, outputs = np.random.default_rng(0), [output]
    others = [rng.random(samples.shape), 1000 * rng.standard_normal(samples.shape)]
    with suppress(Exception):  # the numbers of words, say, are not so large
        outputs.append(answer(np.ones_like(samples) if purpose.sample_type == WHOLE else np.concatenate(others)))
    for variable, value in zip(kept, before, strict=True):  # some layers store state at every call
        variable.assign(value)
    rows = np.concatenate([np.asarray(keras.ops.cast(each, "float32")) for each in outputs])
    rows = rows[np.isfinite(rows).all(axis=1)]
    if len(rows) and rows.min() >= 0 and np.abs(rows.sum(axis=1) - 1).max() < 0.01:  # float16 rounds
        raise InvalidInputError("the model ends in a softmax: it has to return logits, since the loss applies one")


def _gist(error: Exception) -> str:
    """Return the message of a Keras error as one line, without colours and the arguments that it lists."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).split("Arguments received by")[0]
    return " ".join(text.split()) or type(error).__name__


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the global generators that initialisers draw from; afterwards they are as before."""
    states = random.getstate(), np.random.get_state()  # noqa: NPY002 - a function of the user's may draw from it
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
