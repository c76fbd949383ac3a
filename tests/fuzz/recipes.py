"""Recipes of samples and federations, in words that can be read and repeated, and what is made of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fbfl.learning.federation import Federation

SAMPLES: dict[str, Callable[[Any], Any]] = {
    "float32": lambda x: x.astype(np.float32),
    "float64": lambda x: x,
    "float16": lambda x: x.astype(np.float16),
    "uint8": lambda x: np.rint(x * 255).astype(np.uint8),
    "int64": lambda x: np.rint(x * 255).astype(np.int64),
    "bool": lambda x: x > 0.5,
    "wide": lambda x: (20 * x - 10).astype(np.float32),
    "huge": lambda x: (x * 1e38).astype(np.float32),
    "beyond float32": lambda x: x * 1e40,
    "NaN": lambda x: np.where(x > 0.9, np.nan, x).astype(np.float32),
    "Inf": lambda x: np.where(x > 0.9, np.inf, x).astype(np.float32),
    "zeros": lambda x: np.zeros(x.shape, np.float32),
    "objects": lambda x: x.astype(object),
    "texts": lambda x: x.astype(str),
    "complex": lambda x: x * 1j,
    "big-endian": lambda x: x.astype(">f4"),
    "columns first": lambda x: np.asfortranarray(x.astype(np.float32)),
    "every second": lambda x: np.repeat(x, 2, axis=0)[::2].astype(np.float32),
    "read only": lambda x: np.frombuffer(x.astype(np.float32).tobytes(), np.float32).reshape(x.shape),
    "lists": lambda x: x.tolist(),
    "one too many": lambda x: np.concatenate([x, x[:1]]).astype(np.float32),
    "none": lambda x: None,
}
"""Ways to hand over samples in [0, 1]."""

LABELS: dict[str, Callable[[Any], Any]] = {
    "int64": lambda y: y,
    "int32": lambda y: y.astype(np.int32),
    "int8": lambda y: y.astype(np.int8),
    "uint8": lambda y: y.astype(np.uint8),
    "uint64": lambda y: y.astype(np.uint64),
    "beyond int64": lambda y: y.astype(np.uint64) + np.uint64(2**63),
    "from one": lambda y: y + 1,
    "gaps": lambda y: 3 * y,
    "one class": lambda y: np.zeros_like(y),
    "negative": lambda y: y - 1,
    "hundreds": lambda y: y * 100,
    "billions": lambda y: y * 10**9,
    "one-hot": lambda y: np.eye(8)[y],
    "column": lambda y: y[:, np.newaxis],
    "floats": lambda y: y.astype(np.float32),
    "halves": lambda y: y + 0.5,
    "NaN": lambda y: np.where(y > 0, np.nan, y),
    "bool": lambda y: y > 0,
    "texts": lambda y: y.astype(str),
    "objects": lambda y: y.astype(object),
    "big-endian": lambda y: y.astype(">i4"),
    "every second": lambda y: np.repeat(y, 2)[::2],
    "lists": lambda y: y.tolist(),
    "none": lambda y: None,
}
"""Ways to hand over labels from 0."""


@dataclass(frozen=True)
class Data:
    """Samples and labels."""

    count: int
    shape: tuple[int, ...]
    classes: int
    x: str = "float32"
    """Of `SAMPLES`."""
    y: str = "int64"
    """Of `LABELS`."""
    seed: int = 0

    def made(self) -> tuple[Any, Any]:
        """The arrays, or what stands in for them."""
        rng = np.random.default_rng(self.seed)
        x = rng.random((self.count, *self.shape))
        y = np.arange(self.count) % self.classes  # so that classes are there, as far as there are samples
        return SAMPLES[self.x](x), LABELS[self.y](y)


@dataclass(frozen=True)
class Federated:
    """Arguments of `Federation`."""

    clients: tuple[Data, ...]
    test: Data
    root: Data | None
    arguments: Mapping[str, Any]

    def made(self, **more: Any) -> Federation:
        """The federation."""
        return Federation(
            [client.made() for client in self.clients],
            self.test.made(),
            root=self.root.made() if self.root else None,
            **{**self.arguments, **more},
        )


def save(name: str, train: Data, test: Data) -> None:
    """Write an .npz of both, as far as NumPy can."""
    parts: dict[str, Any] = {}
    for part, data in (("train", train), ("test", test)):
        x, y = data.made()
        parts |= {f"x_{part}": x, f"y_{part}": y}
    np.savez(Path(name), **{part: array for part, array in parts.items() if array is not None})
