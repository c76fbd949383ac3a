"""Keras optimizers inside a compiled graph. Importing this module imports TensorFlow."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from fbfl.errors import InvalidInputError
from fbfl.learning import plugins

# Where any of these is set differently, Keras does more than TensorFlow's fused kernels do.
_PLAIN = {
    "amsgrad": False,
    "momentum": 0.0,
    "weight_decay": None,
    "clipnorm": None,
    "clipvalue": None,
    "global_clipnorm": None,
    "use_ema": False,
    "loss_scale_factor": None,
    "gradient_accumulation_steps": None,
}


class InGraph(ABC):
    """One optimizer for the trainable variables of one model."""

    def __init__(self, variables: list[Any], state: Sequence[Any] = ()) -> None:
        self._variables = variables
        self._state = state  # all zeros at the start

    def restart(self) -> None:
        """Begin anew, from the weights that the model's variables have now."""
        for variable in self._state:
            variable.assign(tf.zeros_like(variable))

    def scaled(self, value: Any) -> Any:
        """Return the loss, or what is added to its gradient, scaled for differentiation; `apply` removes the scale."""
        return value

    @abstractmethod
    def apply(self, gradients: list[Any], learning_rate: Any, step: Any) -> None:
        """Change the model's variables by one step; `step` counts from 1. A variable may have no gradient: None."""

    def finish(self, steps: Any) -> None:
        """Give the model's variables their final values after `steps` steps."""
        del steps


def make(optimizer: str | Callable[[], Any]) -> Any:
    """Return a new optimizer by a name that Keras knows, or from a function (or class) that returns one.

    A name of the form ``package.module:function`` is that function. Raises `InvalidInputError` for anything else.
    """
    if isinstance(optimizer, str) and ":" not in optimizer:
        try:
            return keras.optimizers.get(optimizer)
        except Exception as error:  # not only an unknown name: a wrapper needs an optimizer to wrap
            raise InvalidInputError(
                f"optimizer is {optimizer!r}; allowed: {', '.join(_names())}, or package.module:function"
            ) from error
    if isinstance(optimizer, keras.optimizers.Optimizer):
        kind = type(optimizer).__name__
        raise InvalidInputError(
            f"optimizer is a {kind}, but each core needs one of its own: give a function that returns a new one, such"
            f" as lambda: keras.optimizers.{kind}(...)"
        )
    if not isinstance(optimizer, str) and not callable(optimizer):
        raise InvalidInputError(f"optimizer is {optimizer!r}; needed: a name, or a function that returns a new one")
    plugin = plugins.resolve("optimizer", optimizer, {}, {}, data=0)
    made = plugin()
    if not isinstance(made, keras.optimizers.Optimizer):
        raise InvalidInputError(f"optimizer {plugin.name} returned a {type(made).__name__}, not a Keras optimizer")
    if any(part.built for part in (made, *getattr(made, "optimizers", ()), getattr(made, "inner_optimizer", made))):
        raise InvalidInputError(f"optimizer {plugin.name} returned one that is in use: it has to return a new one")
    return made


def _names() -> list[str]:
    """Return the names from which alone `keras.optimizers.get` makes an optimizer."""
    base, wrappers = keras.optimizers.Optimizer, ("Optimizer", "LossScaleOptimizer", "MultiOptimizer")
    kinds = (kind for kind in vars(keras.optimizers).values() if isinstance(kind, type) and issubclass(kind, base))
    return sorted({kind.__name__.lower() for kind in kinds if kind.__name__ not in wrappers})


def in_graph(optimizer: Any, model: Any, *, fused: bool) -> InGraph:
    """Wrap a new Keras optimizer; with `fused`, plain SGD and Adam become TensorFlow's kernels (about 1.4x faster).

    Every option of the optimizer has the effect that it has in `fit`.
    """
    variables = model.trainable_variables
    if fused and all(variable.constraint is None for variable in variables) and not _scales_loss(model):
        if type(optimizer) is keras.optimizers.SGD and _is_plain(optimizer):
            return _FusedSgd([variable.value for variable in variables])
        if type(optimizer) is keras.optimizers.Adam and _is_plain(optimizer):
            return _FusedAdam([variable.value for variable in variables], optimizer.get_config())
    if _scales_loss(model) and not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)  # as `compile` does
    return _Keras(optimizer, variables)


def rate_of(optimizer: Any) -> float | None:
    """Return the learning rate; None if it is not a number: a schedule, a function, or several optimizers'."""
    try:
        rate = optimizer.learning_rate
    except AttributeError:  # keras.optimizers.MultiOptimizer
        return None
    return float(rate.numpy()) if isinstance(rate, keras.Variable) else None


def _is_plain(optimizer: Any) -> bool:
    if rate_of(optimizer) is None:
        return False
    config = optimizer.get_config()
    return all(config.get(key, value) == value for key, value in _PLAIN.items())


def _scales_loss(model: Any) -> bool:
    return bool(model.dtype_policy.name == "mixed_float16")


class _FusedSgd(InGraph):
    def apply(self, gradients: list[Any], learning_rate: Any, step: Any) -> None:
        del step
        for variable, gradient in zip(self._variables, gradients, strict=True):
            if gradient is not None:
                tf.raw_ops.ResourceApplyGradientDescent(
                    var=variable.handle, alpha=learning_rate, delta=tf.convert_to_tensor(gradient)
                )


class _FusedAdam(InGraph):
    def __init__(self, variables: list[Any], config: dict[str, Any]) -> None:
        self._config = config
        self._moments = [tuple(tf.Variable(tf.zeros_like(variable)) for _ in range(2)) for variable in variables]
        super().__init__(variables, [moment for pair in self._moments for moment in pair])

    def apply(self, gradients: list[Any], learning_rate: Any, step: Any) -> None:
        config = self._config
        exponent = tf.cast(step, tf.float32)
        powers = [tf.pow(tf.constant(config[name], tf.float32), exponent) for name in ("beta_1", "beta_2")]
        for variable, gradient, (first, second) in zip(self._variables, gradients, self._moments, strict=True):
            if gradient is None:
                continue
            tf.raw_ops.ResourceApplyAdam(
                var=variable.handle,
                m=first.handle,
                v=second.handle,
                beta1_power=powers[0],
                beta2_power=powers[1],
                lr=learning_rate,
                beta1=config["beta_1"],
                beta2=config["beta_2"],
                epsilon=config["epsilon"],
                grad=tf.convert_to_tensor(gradient),
            )


class _Keras(InGraph):
    def __init__(self, optimizer: Any, variables: list[Any]) -> None:
        super().__init__(variables)
        self._optimizer = optimizer
        self._has_rate = rate_of(optimizer) is not None
        # Some optimizers start from the weights (schedule-free AdamW). Random weights as marks show where.
        weights = [variable.numpy() for variable in variables]
        marks = [np.random.default_rng(place).random(weight.shape, np.float32) for place, weight in enumerate(weights)]
        _assign(variables, marks)
        optimizer.build(variables)
        _assign(variables, weights)
        self._first = [(state.value, _origin(state.numpy(), variables, marks)) for state in optimizer.variables]

    def restart(self) -> None:
        for variable, first in self._first:
            variable.assign(first)

    def scaled(self, value: Any) -> Any:
        return self._optimizer.scale_loss(value)

    def apply(self, gradients: list[Any], learning_rate: Any, step: Any) -> None:
        del step  # Keras counts by itself
        if self._has_rate:
            self._optimizer.learning_rate.assign(learning_rate)
        self._optimizer.apply(gradients, self._variables)

    def finish(self, steps: Any) -> None:
        def average() -> Any:
            self._optimizer.finalize_variable_values(self._variables)
            return steps

        tf.cond(steps > 0, average, lambda: steps)


def _assign(variables: list[Any], values: list[Any]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _origin(value: Any, variables: list[Any], marks: list[Any]) -> Any:
    """Return the variable that held the value as its mark, if one did, else the value."""
    copied = (
        variable.value
        for variable, mark in zip(variables, marks, strict=True)
        if mark.size and mark.dtype == value.dtype and np.array_equal(mark, value)
    )
    return next(copied, tf.constant(value))
