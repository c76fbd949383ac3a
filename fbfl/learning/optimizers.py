"""Keras optimizers inside a compiled graph. Importing this module imports TensorFlow."""

from typing import Any, Protocol

import keras
import tensorflow as tf

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


class InGraph(Protocol):
    """One optimizer for the trainable variables of one model."""

    state: list[Any]
    """Its variables; assign their first values again and it starts anew."""

    def apply(self, gradients: list[Any], learning_rate: Any, step: Any) -> None:
        """Change the model's variables by one step; `step` counts from 1."""


def in_graph(optimizer: Any, model: Any, *, fused: bool) -> InGraph:
    """Wrap a new Keras optimizer; with `fused`, plain SGD and Adam become TensorFlow's kernels (about 1.4x faster)."""
    config = optimizer.get_config()
    plain = isinstance(config["learning_rate"], float) and all(config.get(k, v) == v for k, v in _PLAIN.items())
    constrained = any(variable.constraint is not None for variable in model.trainable_variables)
    if fused and plain and not constrained:
        variables = [variable.value for variable in model.trainable_variables]
        if type(optimizer) is keras.optimizers.SGD:
            return _FusedSgd(variables)
        if type(optimizer) is keras.optimizers.Adam:
            return _FusedAdam(variables, config)
    return _Keras(optimizer, model.trainable_variables)


class _FusedSgd:
    def __init__(self, variables: list[Any]) -> None:
        self._variables = variables
        self.state: list[Any] = []

    def apply(self, gradients: list[Any], learning_rate: Any, step: Any) -> None:
        del step
        for variable, gradient in zip(self._variables, gradients, strict=True):
            tf.raw_ops.ResourceApplyGradientDescent(
                var=variable.handle, alpha=learning_rate, delta=tf.convert_to_tensor(gradient)
            )


class _FusedAdam:
    def __init__(self, variables: list[Any], config: dict[str, Any]) -> None:
        self._variables = variables
        self._config = config
        self._moments = [tuple(tf.Variable(tf.zeros_like(variable)) for _ in range(2)) for variable in variables]
        self.state = [moment for pair in self._moments for moment in pair]

    def apply(self, gradients: list[Any], learning_rate: Any, step: Any) -> None:
        config = self._config
        exponent = tf.cast(step, tf.float32)
        powers = [tf.pow(tf.constant(config[name], tf.float32), exponent) for name in ("beta_1", "beta_2")]
        for variable, gradient, (first, second) in zip(self._variables, gradients, self._moments, strict=True):
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


class _Keras:
    def __init__(self, optimizer: Any, variables: list[Any]) -> None:
        self._optimizer = optimizer
        self._variables = variables
        self._scheduled = not isinstance(optimizer.get_config()["learning_rate"], float)
        optimizer.build(variables)
        self.state = [variable.value for variable in optimizer.variables]

    def apply(self, gradients: list[Any], learning_rate: Any, step: Any) -> None:
        del step  # Keras counts by itself
        if not self._scheduled:
            self._optimizer.learning_rate.assign(learning_rate)
        self._optimizer.apply(gradients, self._variables)
