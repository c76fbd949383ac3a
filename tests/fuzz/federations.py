"""Federations as strangers make them: what has to hold of each."""

import contextlib
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fbfl.errors import FbflError, UserCodeError
from fbfl.learning.federation import Federation, Round
from tests.fuzz import faults
from tests.fuzz.faults import require
from tests.fuzz.recipes import Federated


def holds(recipe: Federated, rounds: int, lanes: int) -> None:
    """The rounds mean something, or an `FbflError` says why there are none; on other lanes, and when saved and loaded
    between them, they are the same.
    """
    first = _played(recipe, rounds, lanes=1)
    faults.same(first, _played(recipe, rounds, saved=Path("state.safetensors"), lanes=lanes))


@dataclass(frozen=True)
class _Played:
    rounds: tuple[str, ...]
    error: str | None = None
    """Type and first line of the `FbflError`, if there was one."""
    weights: bytes = b""


def _played(recipe: Federated, rounds: int, *, saved: Path | None = None, **more: Any) -> _Played:
    told: list[str] = []
    try:
        with _warnings_of_numpy_are_faults():
            federation = recipe.made(**more)
            for number in range(1, rounds + 1):
                if saved and number > 1:
                    federation.save(saved)
                    federation = recipe.made(**more)
                    federation.load(saved)
                (result,) = federation.rounds(1)
                _check(federation, result, number)
                told.append(str({key: value for key, value in vars(result).items() if not key.endswith("_seconds")}))
            return _Played(tuple(told), None, b"".join(array.tobytes() for array in federation.weights))
    except FbflError as error:
        lines = str(error).splitlines()
        # That of a user's function that raises shows its own frames, too.
        require(lines and (len(lines) <= faults.MOST_LINES or isinstance(error, UserCodeError)), f"a message: {lines}")
        return _Played(tuple(told), f"{type(error).__name__}: {lines[0]}")


def _check(federation: Federation, result: Round, number: int) -> None:
    """No figure that means nothing is called good."""
    require(result.round == number, f"round {result.round} instead of {number}")
    require(faults.is_share(result.accuracy), f"accuracy {result.accuracy}")
    rate = result.attack_success_rate
    require(rate is None or faults.is_share(rate), f"attack success rate {rate}")
    said = faults.NOT_FINITE in result.warnings
    require(math.isfinite(result.loss) != said, f"loss {result.loss} with the warnings {result.warnings}")
    require(all(np.isfinite(array).all() for array in federation.weights), "weights that are not finite")


@contextlib.contextmanager
def _warnings_of_numpy_are_faults() -> Iterator[None]:
    """In fbfl's own arithmetic: they are lines that a user cannot act on."""
    with warnings.catch_warnings(action="default"):
        warnings.simplefilter("ignore", UserWarning)
        warnings.filterwarnings("error", category=RuntimeWarning, module=r"fbfl\.")
        yield
