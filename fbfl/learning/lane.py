"""The compiled half of the trainer: importing this module imports TensorFlow.

The graph holds the loops over clients, local epochs and batches, so that there is no Python per client or step, and
one trace serves clients of every size: full batches have a static shape, the remainder a dynamic one.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from fbfl.errors import InvalidInputError
from fbfl.learning import kerasstate, losses, plugins
from fbfl.learning.losses import Loss
from fbfl.learning.models import spec_of
from fbfl.learning.optimizers import in_graph
from fbfl.learning.training import TrainingSettings
from fbfl.tensors import Vector

Int32s = npt.NDArray[np.int32]

_tracing = threading.Lock()


@dataclass(frozen=True)
class Work:
    """The local training of K clients, whose samples lie one after another in `x` and `y`.

    `y` are classes, int32, or numbers, float32. `order` int32: for each client its epochs' sample orders, as positions
    in `x`; `sizes` and `epochs` int32 [K]; `seeds` int32 [K, S], one per random layer.
    """

    x: npt.NDArray[Any]
    y: npt.NDArray[Any]
    order: Int32s
    sizes: Int32s
    epochs: Int32s
    seeds: Int32s


class Lane:
    """A model of its own and its compiled local training. One thread at a time may use it.

    `settings` are those of the training, `num_classes` is 0 where labels are numbers.
    """

    def __init__(self, model: Any, optimizer: Any, settings: TrainingSettings, num_classes: int) -> None:
        self._model = model
        self._batch_size = settings.batch_size
        self._proximal = settings.proximal
        self._label_type = tf.int32 if num_classes else tf.float32
        self._loss = loss_of(settings.loss, num_classes)
        self._shapes = [tensor.shape for tensor in spec_of(model).tensors]
        self._sizes = [tensor.size for tensor in spec_of(model).tensors]
        self._weights = [variable.value for variable in model.weights]
        self._trained = [variable.value for variable in model.trainable_variables]
        exchanged = {id(variable) for variable in model.weights}
        self._generators = [variable.value for variable in model.variables if id(variable) not in exchanged]
        places = {id(variable): place for place, variable in enumerate(model.weights)}
        self._trained_places = [places[id(variable)] for variable in model.trainable_variables]
        # A variable: TensorFlow turns division by a constant into a product, which rounds differently from NumPy.
        self._white = tf.Variable(255.0, trainable=False)
        self._optimizer = in_graph(optimizer, model, fused=settings.fused)
        self._run = tf.function(self._train_clients, autograph=False)
        self._call = tf.function(self._logits, autograph=False)
        self._traced: dict[Any, Callable[..., Any]] = {}
        self._keras = kerasstate.of_this_thread()

    @property
    def num_generators(self) -> int:
        """S, the number of random layers."""
        return len(self._generators)

    def train(self, start: Vector, work: Work, learning_rate: float) -> Vector:
        """Train every client from `start` [P]; return their updates, trained minus start, float32 [K, P]."""
        shape = (None, *work.x.shape[1:])
        function = self._trace(
            ("train", work.x.dtype),
            self._run,
            tf.TensorSpec(shape, work.x.dtype),
            tf.TensorSpec([None], self._label_type),
            *(tf.TensorSpec(rank, tf.int32) for rank in ([None], [None], [None], [None, self.num_generators])),
            tf.TensorSpec([], tf.float32),
            tf.TensorSpec(start.shape, tf.float32),
        )
        inputs = (work.x, work.y, work.order, work.sizes, work.epochs, work.seeds, np.float32(learning_rate), start)
        updates: Vector = function(*map(tf.constant, inputs)).numpy()
        return updates

    def logits(self, weights: Vector, blocks: list[npt.NDArray[Any]]) -> list[npt.NDArray[np.float32]]:
        """Return the model's output [n, classes] for each block of samples [n, ...]."""
        self._assign(tf.constant(weights))
        results = []
        for block in blocks:
            spec = tf.TensorSpec((None, *block.shape[1:]), block.dtype)
            results.append(self._trace(("logits", block.dtype), self._call, spec)(tf.constant(block)).numpy())
        return results

    def _trace(self, key: Any, function: Any, *signature: Any) -> Callable[..., Any]:
        if key not in self._traced:
            with _tracing, kerasstate.under(self._keras):
                self._traced[key] = function.get_concrete_function(*signature)
        return self._traced[key]

    def _assign(self, flat: Any) -> None:
        for variable, part, shape in zip(self._weights, tf.split(flat, self._sizes), self._shapes, strict=True):
            variable.assign(tf.reshape(part, shape))

    def _logits(self, x: Any) -> Any:
        return tf.cast(self._model(self._scaled(x), training=False), tf.float32)

    def _scaled(self, x: Any) -> Any:
        """Return pixels in [0, 1], from bytes; other samples are what they are."""
        return tf.cast(x, tf.float32) / self._white if x.dtype == tf.uint8 else x

    def _train_clients(
        self, x: Any, y: Any, order: Any, sizes: Any, epochs: Any, seeds: Any, learning_rate: Any, start: Any
    ) -> Any:
        count = tf.shape(sizes)[0]
        begins = tf.cumsum(sizes * epochs, exclusive=True)

        def one(k: Any, rows: Any) -> Any:
            self._assign(start)
            self._optimizer.restart()
            for place, generator in enumerate(self._generators):
                generator.assign(tf.cast(tf.stack([seeds[k, place], 0]), generator.dtype))
            self._train_client(x, y, order, begins[k], sizes[k], epochs[k], learning_rate, start)
            trained = tf.concat([tf.reshape(variable, [-1]) for variable in self._weights], 0)
            return k + 1, rows.write(k, trained - start)

        rows = tf.TensorArray(tf.float32, size=count, element_shape=start.shape)
        _, rows = tf.while_loop(lambda k, _: k < count, one, (tf.constant(0), rows), parallel_iterations=1)
        return rows.stack()

    def _train_client(
        self, x: Any, y: Any, order: Any, begin: Any, size: Any, epochs: Any, learning_rate: Any, start: Any
    ) -> None:
        full = size // self._batch_size
        anchors = [
            tf.reshape(part, shape) for part, shape in zip(tf.split(start, self._sizes), self._shapes, strict=True)
        ]
        anchors = [anchors[place] for place in self._trained_places]

        def step(indices: Any, number: Any) -> Any:
            gradients = self._gradients(self._scaled(tf.gather(x, indices)), tf.gather(y, indices), anchors)
            self._optimizer.apply(gradients, learning_rate, number)
            return number + 1

        def epoch(number: Any, steps: Any) -> Any:
            first = begin + number * size
            rest = first + full * self._batch_size

            def batch(place: Any, steps: Any) -> Any:
                indices = tf.slice(order, [place], [self._batch_size])
                return place + self._batch_size, step(indices, steps)

            _, steps = tf.while_loop(lambda place, _: place < rest, batch, (first, steps), parallel_iterations=1)
            steps = tf.cond(
                size > full * self._batch_size,
                lambda: step(order[rest : first + size], steps),
                lambda: steps,
            )
            return number + 1, steps

        _, steps = tf.while_loop(lambda number, _: number < epochs, epoch, (0, 1), parallel_iterations=1)
        self._optimizer.finish(steps - 1)

    def _gradients(self, x: Any, y: Any, anchors: list[Any]) -> list[Any]:
        """Return the gradients of the trained weights; None for one on which the loss does not depend."""
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            for variable in self._trained:
                tape.watch(variable)
            # Layers may compute with fewer bits.
            loss = self._loss(y, tf.cast(self._model(x, training=True), tf.float32))
            if self._model.losses:  # regularisers
                loss += tf.add_n([tf.reduce_sum(tf.cast(added, tf.float32)) for added in self._model.losses])
            loss = self._optimizer.scaled(loss)
        gradients = tape.gradient(loss, self._trained)
        if all(gradient is None for gradient in gradients):
            raise InvalidInputError("the loss depends on none of the model's weights that are to be trained")
        if self._proximal:  # the gradient of proximal / 2 * |w - start|^2
            gradients = [
                None if gradient is None else gradient + self._optimizer.scaled(self._proximal * (variable - anchor))
                for gradient, variable, anchor in zip(gradients, self._trained, anchors, strict=True)
            ]
        return list(gradients)


def loss_of(loss: Loss, num_classes: int) -> Callable[[Any, Any], Any]:
    """Return the mean loss as a function of tensors: labels [n] and the model's outputs [n, k], float32."""
    if loss == "cross_entropy":
        return lambda y, outputs: tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, outputs))
    if loss == "binary_cross_entropy":
        binary = tf.nn.sigmoid_cross_entropy_with_logits
        return lambda y, outputs: tf.reduce_mean(binary(tf.cast(y, tf.float32), outputs[:, 0]))
    if loss == "mean_squared_error":
        return lambda y, outputs: tf.reduce_mean(tf.math.squared_difference(outputs[:, 0], y))
    plugin = plugins.resolve("loss", loss, {}, {}, data=2)
    flat = losses.has_one_output(loss, num_classes)

    def own(y: Any, outputs: Any) -> Any:
        value = plugin(y, outputs[:, 0] if flat else outputs)
        if not tf.is_tensor(value) or not value.dtype.is_floating:
            raise InvalidInputError(
                f"loss {plugin.name} returned a {type(value).__name__}; needed: a tensor of losses, or of their mean, "
                "from labels and the model's outputs"
            )
        return tf.reduce_mean(tf.cast(value, tf.float32))

    return own


def loss_on(loss: Loss, num_classes: int, scores: npt.NDArray[np.float32], y: npt.NDArray[Any]) -> float:
    """Return the mean of a user's loss on a test set, of scores [n, classes], or numbers [n], and labels [n]."""
    label_type = np.int32 if num_classes else np.float32
    outputs = scores if num_classes else scores[:, None]
    return float(loss_of(loss, num_classes)(tf.constant(y.astype(label_type)), tf.constant(outputs)))
