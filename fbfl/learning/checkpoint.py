"""The state of a federation in one safetensors file: named arrays of numbers, the round, and an identity."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt
import safetensors
import safetensors.numpy

from fbfl.errors import FbflError, InvalidInputError, failures_as
from fbfl.system.atomic import write_atomically
from fbfl.tensors import plain_array

Arrays = Mapping[str, npt.NDArray[Any]]


def write(path: Path, round_number: int, identity: Mapping[str, str], tensors: Arrays) -> None:
    """Write the state, whole or not at all. `identity` describes the federation, in words that can be compared."""
    plain = {name: plain_array(array) for name, array in tensors.items()}
    data = safetensors.numpy.save(plain, {"round": str(round_number), **identity})
    with failures_as(FbflError, f"{path} cannot be written"):
        write_atomically(path, data)


def read(path: Path, identity: Mapping[str, str]) -> tuple[int, dict[str, npt.NDArray[Any]]]:
    """Read the round and the arrays; `InvalidInputError` if the file is damaged or of another federation."""
    try:
        with safetensors.safe_open(path, "numpy") as file:
            about = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be read: {error.strerror or error}") from error
    except safetensors.SafetensorError as error:
        raise InvalidInputError(f"{path} is not the saved state of a federation: {error}") from error
    for name, expected in identity.items():
        if about.get(name) != expected:
            raise InvalidInputError(
                f"{path} is the state of another federation: its {name} is {about.get(name)}, not {expected}"
            )
    return _whole(about.get("round"), path), tensors


def _whole(number: str | None, path: Path) -> int:
    if number is None or not number.isdecimal():
        raise InvalidInputError(f"{path} is not the saved state of a federation: its round is {number}")
    return int(number)
