"""A PyTorch module of one lane and its training: importing this module imports PyTorch."""

import inspect
import os
import pickle
import random
import threading
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from fbfl.errors import InvalidInputError
from fbfl.learning import losses, plugins
from fbfl.learning.losses import Loss
from fbfl.learning.models import seeded
from fbfl.learning.samples import WHOLE
from fbfl.learning.training import Purpose
from fbfl.randomness import int32_seed
from fbfl.tensors import ModelSpec, TensorSpec, Vector

_FUSED = ("Adagrad", "Adam", "AdamW", "SGD")  # have a fused kernel for processors
_NEED_MORE = ("Optimizer", "LBFGS", "SparseAdam")  # than gradients, dense, at one point

_SAMPLES = {"float32": torch.float32, WHOLE: torch.int64}
"""Types of what modules are given, by the type of samples."""

_building = threading.Lock()
_drawing = threading.Lock()


def _in_fork() -> None:
    """Begin with a lock that nobody holds: the threads of the parent are not there."""
    global _drawing
    _drawing = threading.Lock()


os.register_at_fork(after_in_child=_in_fork)


class TorchLane:
    """A module of its own with its loss and optimizers. One thread at a time may use it."""

    def __init__(self, purpose: Purpose) -> None:
        self._settings = purpose.settings
        self._label = plugins.label_of(purpose.model)
        make = _maker(purpose.model)
        with _building, seeded(int32_seed(purpose.seed, "initial weights")), torch.random.fork_rng(devices=[]):
            torch.manual_seed(int32_seed(purpose.seed, "initial weights"))
            self._module = make()
            if not isinstance(self._module, torch.nn.Module):
                raise InvalidInputError(
                    f"model {self._label} returned a {type(self._module).__name__}, not a torch.nn.Module"
                )
            _exchanged(self._label, self._module)  # other types are refused before something fails with them
            with plugins.users_code(f"model {self._label}"):
                zeros = torch.zeros((2, *purpose.input_shape), dtype=_SAMPLES[purpose.sample_type])
                output = self._output(zeros)  # lazy modules get their shapes
        _check_output(self._label, output, purpose)
        self._exchanged = _exchanged(self._label, self._module)
        self._trained = [tensor for tensor in self._exchanged.values() if tensor.requires_grad]
        if not self._trained:
            raise InvalidInputError(f"model {self._label} has no parameter to train")
        self.spec = ModelSpec(tuple(TensorSpec(name, tuple(each.shape)) for name, each in self._exchanged.items()))
        sizes = [tensor.size for tensor in self.spec.tensors]
        self.trainable = np.repeat([tensor.requires_grad for tensor in self._exchanged.values()], sizes)
        known = {id(tensor) for tensor in self._exchanged.values()}
        self._local = [(buffer, buffer.clone()) for buffer in self._module.buffers() if id(buffer) not in known]
        if not np.isfinite(self.weights()).all():
            raise InvalidInputError(f"model {self._label} begins with NaN or Inf; needed: finite weights")
        self._loss = loss_of(self._settings.loss, purpose.num_classes)
        self._label_type = torch.int64 if purpose.num_classes else torch.float32
        self._optimizer = _optimizer(self._settings.optimizer, self._trained, fused=self._settings.fused)
        self._sources = self._tried(purpose)

    def weights(self) -> Vector:
        """Return the weights [P]."""
        return self.spec.flatten([tensor.detach().numpy() for tensor in self._exchanged.values()])

    def shares_with(self, other: "TorchLane") -> bool:
        """Return True if the two have a tensor in common."""
        return not {id(each) for each in self._exchanged.values()}.isdisjoint(map(id, other._exchanged.values()))

    def train(
        self,
        start: Vector,
        x: npt.NDArray[Any],
        y: npt.NDArray[Any],
        order: npt.NDArray[np.int64],
        seed: int,
        rate: float | None,
    ) -> Vector:
        """Return the update [P], trained minus `start` [P], of training on samples x [n, ...], y [n].

        `order` int64 [epochs, n] are their orders, or [steps, batch] the batches themselves, `seed` that of what the
        module draws.
        """
        if not len(y):
            return np.zeros_like(start)
        self._begin(start)
        self._module.train()
        samples, labels = _tensor(x), torch.tensor(_forward(y), dtype=self._label_type)
        optimizer = self._optimizer(self._trained)
        if rate is not None:
            for group in optimizer.param_groups:
                group["lr"] = rate
        anchors = [tensor.detach().clone() for tensor in self._trained] if self._settings.proximal else []
        size = self._settings.batch_size
        drawing = _Drawing(seed, self._sources)
        stepping = nullcontext() if isinstance(self._settings.optimizer, str) else drawing
        for row in torch.from_numpy(order):
            for batch in row.split(size):
                for tensor in self._trained:
                    tensor.grad = None
                with drawing:
                    loss = self._loss(self._module(samples.index_select(0, batch)), labels.index_select(0, batch))
                loss.backward()
                for tensor, anchor in zip(self._trained, anchors, strict=False):
                    if tensor.grad is not None:  # of proximal / 2 * |w - start|^2
                        tensor.grad.add_(tensor.detach() - anchor, alpha=self._settings.proximal)
                with stepping:
                    optimizer.step()
        update = self.weights()
        update -= start
        return update

    def logits(self, start: Vector, blocks: Sequence[npt.NDArray[Any]]) -> list[npt.NDArray[np.float32]]:
        """Return the output float32 [n, k] with the weights [P] for each block of samples."""
        self._begin(start)
        return [self._output(_tensor(block)).to(torch.float32).numpy() for block in blocks]

    def _output(self, samples: torch.Tensor) -> Any:
        self._module.eval()
        with torch.no_grad():
            return self._module(samples)

    def _begin(self, start: Vector) -> None:
        for tensor, part in zip(self._exchanged.values(), self.spec.unflatten(start), strict=True):
            tensor.detach().numpy()[...] = part
        with torch.no_grad():
            for buffer, first in self._local:
                buffer.copy_(first)

    def _tried(self, purpose: Purpose) -> "tuple[_Source, ...]":
        """Try a step but for the backward pass; return the sources that training has to draw from anew."""
        initial = self.weights()
        generator = np.random.default_rng(0)
        shape = (4, *purpose.input_shape)
        whole = purpose.sample_type == WHOLE
        samples = _tensor(
            generator.integers(2, size=shape, dtype=np.int32) if whole else generator.random(shape, np.float32)
        )
        self._module.train()
        drawing = _Drawing(0, _SOURCES)
        with drawing, plugins.users_code(f"model {self._label}"):
            loss = self._loss(self._module(samples), torch.zeros(4, dtype=self._label_type))
        if not isinstance(loss, torch.Tensor) or loss.shape or not loss.requires_grad:
            is_number = isinstance(loss, torch.Tensor) and not loss.shape
            returned = "a number without a gradient" if is_number else _form(loss)
            raise InvalidInputError(
                f"loss {plugins.label_of(self._settings.loss)} returned {returned}; needed: one number that depends on "
                "the weights"
            )
        self._begin(initial)
        return (_PYTORCH, *(source for source in drawing.drawn_from() if source is not _PYTORCH))


@dataclass(frozen=True)
class _Source:
    """Random numbers that all of a program shares."""

    seeded: Callable[[int], Any]
    """Makes the state that a seed gives."""
    get: Callable[[], Any]
    set: Callable[[Any], Any]


_PYTORCH = _Source(
    lambda seed: torch.Generator().manual_seed(seed).get_state(),
    torch.default_generator.get_state,
    torch.default_generator.set_state,
)
_SOURCES = (
    _PYTORCH,
    _Source(lambda seed: random.Random(seed).getstate(), random.getstate, random.setstate),
    _Source(
        lambda seed: np.random.RandomState(seed).get_state(),
        np.random.get_state,
        np.random.set_state,
    ),
)


class _Drawing:
    """Blocks of one client's, in which sources begin with a seed and go on from block to block; outside, as before."""

    def __init__(self, seed: int, sources: tuple[_Source, ...]) -> None:
        self._seed, self._sources = seed, sources
        self._states = [source.seeded(seed) for source in sources]

    def __enter__(self) -> None:
        _drawing.acquire()  # all threads share them
        self._before = [source.get() for source in self._sources]
        self._set(self._states)

    def __exit__(self, *_: object) -> None:
        self._states = [source.get() for source in self._sources]
        self._set(self._before)
        _drawing.release()

    def drawn_from(self) -> list[_Source]:
        """Return the sources that are not as the seed made them."""
        pairs = zip(self._sources, self._states, strict=True)
        return [source for source, now in pairs if pickle.dumps(now) != pickle.dumps(source.seeded(self._seed))]

    def _set(self, states: list[Any]) -> None:
        for source, state in zip(self._sources, states, strict=True):
            source.set(state)


def _maker(model: Any) -> Callable[[], Any]:
    if isinstance(model, str) and ":" not in model:
        raise InvalidInputError(
            f"model is {model!r}; allowed with trainer torch: package.module:function that returns a torch.nn.Module"
        )
    found = plugins.find("model", model, {}) if isinstance(model, str) else model
    if isinstance(found, torch.nn.Module):
        label = f"model {model}" if isinstance(model, str) else "model"
        raise InvalidInputError(
            f"{label} is a {type(found).__name__}, but each core needs one of its own: give a function that returns a "
            "new one, or the class"
        )
    return plugins.resolve("model", model, {}, {}, data=0)


def _exchanged(label: str, module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return the tensors of the task, each once, under the first of its names."""
    found: dict[str, torch.Tensor] = {}
    other: list[str] = []
    seen: set[int] = set()
    for name, tensor in module.state_dict(keep_vars=True).items():
        if not isinstance(tensor, torch.Tensor):
            other.append(f"{name} ({type(tensor).__name__})")
        elif id(tensor) not in seen:
            seen.add(id(tensor))
            parameter = isinstance(tensor, torch.nn.Parameter)
            if tensor.dtype == torch.float32 and tensor.device.type == "cpu" and tensor.layout == torch.strided:
                found[name] = tensor
            elif parameter or tensor.is_floating_point() or tensor.is_complex():
                where = "" if tensor.device.type == "cpu" else f" on {tensor.device}"
                other.append(f"{name} ({str(tensor.dtype).removeprefix('torch.')}{where})")
    if other:
        raise InvalidInputError(
            f"model {label} has tensors that are not float32 on the processor: {', '.join(other)}; allowed: float32, "
            "and whole numbers in buffers"
        )
    return found


def loss_of(loss: Loss, num_classes: int) -> Callable[[torch.Tensor, torch.Tensor], Any]:
    """Return a loss as a function of the module's outputs [n, k] and labels [n]."""
    if loss == "cross_entropy":
        return lambda outputs, y: functional.cross_entropy(outputs, y)
    if loss == "binary_cross_entropy":
        binary = functional.binary_cross_entropy_with_logits
        return lambda outputs, y: binary(outputs[:, 0], y.to(outputs.dtype))
    if loss == "mean_squared_error":
        return lambda outputs, y: functional.mse_loss(outputs[:, 0], y)
    plugin = plugins.resolve("loss", loss, {}, {}, data=2)
    return (lambda outputs, y: plugin(outputs[:, 0], y)) if losses.has_one_output(loss, num_classes) else plugin


def loss_on(loss: Loss, num_classes: int, scores: npt.NDArray[np.float32], y: npt.NDArray[Any]) -> float:
    """Return a user's loss on a test set, of scores [n, classes], or numbers [n], and labels [n]."""
    label_type = torch.int64 if num_classes else torch.float32
    outputs = torch.tensor(scores if num_classes else scores[:, None])
    return float(loss_of(loss, num_classes)(outputs, torch.tensor(y, dtype=label_type)))


def _check_output(label: str, output: Any, purpose: Purpose) -> None:
    shape, loss = (2, purpose.num_outputs), purpose.settings.loss
    if not isinstance(output, torch.Tensor) or tuple(output.shape) != shape or not output.is_floating_point():
        what = "logits" if purpose.num_classes else "numbers"
        raise InvalidInputError(f"model {label} returns {_form(output)} for 2 samples; needed: {[*shape]} {what}")
    rows = output.to(torch.float64)
    if loss == "cross_entropy" and bool((rows >= 0).all()) and bool(((rows.sum(dim=1) - 1).abs() < 0.01).all()):
        raise InvalidInputError(f"model {label} ends in a softmax: it has to return logits, since the loss applies one")


def _optimizer(
    optimizer: str | Callable[..., Any], trained: list[torch.Tensor], *, fused: bool
) -> Callable[[list[torch.Tensor]], torch.optim.Optimizer]:
    """Return the function that makes an optimizer of parameters; one of the user's is tried on those of the module."""
    kinds = {
        name.lower(): kind
        for name, kind in vars(torch.optim).items()
        if isinstance(kind, type) and issubclass(kind, torch.optim.Optimizer) and name not in _NEED_MORE
    }
    if isinstance(optimizer, str) and ":" not in optimizer:
        kind: Any = kinds.get(optimizer.lower())
        if kind is None:
            raise InvalidInputError(
                f"optimizer is {optimizer!r}; allowed with trainer torch: {', '.join(sorted(kinds))}, or "
                "package.module:function"
            )
        options = {"fused": True} if fused and kind.__name__ in _FUSED else {}
        return lambda parameters: kind(parameters, **options)
    plugin = plugins.resolve("optimizer", optimizer, {}, {}, data=1)
    made, again = plugin(list(trained)), plugin(list(trained))
    if not isinstance(made, torch.optim.Optimizer):
        raise InvalidInputError(
            f"optimizer {plugin.name} returned a {type(made).__name__}; needed: a torch.optim.Optimizer"
        )
    stepped = {id(tensor) for group in made.param_groups for tensor in group["params"]}
    if made is again or not stepped <= {id(tensor) for tensor in trained}:
        raise InvalidInputError(
            f"optimizer {plugin.name} returned one that is in use, or of other parameters; needed: a new one of the "
            "parameters that it is given"
        )
    named = [
        p for p in inspect.signature(made.step).parameters.values() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]
    needs = [p.name for p in named if p.default is p.empty]
    if needs:
        raise InvalidInputError(
            f"optimizer {plugin.name} returned a {type(made).__name__}, whose step needs {', '.join(needs)}; needed: "
            "one that steps by gradients alone"
        )
    return plugin


def _tensor(x: npt.NDArray[Any]) -> torch.Tensor:
    """Return samples as float32, bytes as 0 to 1, or as int64, in PyTorch's memory: kernels round by how arrays lie."""
    tensor = torch.tensor(_forward(x))
    if tensor.dtype == torch.int32:
        return tensor.to(torch.int64)
    return tensor.to(torch.float32).div_(255) if tensor.dtype == torch.uint8 else tensor


def _forward(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the array, or a copy of one that lies backwards, as `x[::-1]` does: PyTorch takes none."""
    return array.copy() if min(array.strides, default=0) < 0 else array


def _form(value: Any) -> str:
    return str(list(value.shape)) if isinstance(value, torch.Tensor) else f"a {type(value).__name__}"
