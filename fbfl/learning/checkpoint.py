"""The state of a federation in one file: named float32 arrays, the round, and whose state it is. No pickle."""

import json
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from fbfl.errors import FbflError, InvalidInputError
from fbfl.tensors import Vector

_ABOUT = "about"


def write(path: Path, round_number: int, identity: Mapping[str, str], tensors: Mapping[str, Vector]) -> None:
    """Write the state, whole or not at all. `identity` describes the federation, in words that can be compared."""
    about = json.dumps({"round": round_number, "identity": dict(identity)})
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.name, delete=False) as file:
            np.savez(file, **{_ABOUT: np.array(about)}, **tensors)
        Path(file.name).replace(path)
    except OSError as error:
        raise FbflError(f"{path} cannot be written: {error.strerror or error}") from error


def read(path: Path, identity: Mapping[str, str]) -> tuple[int, dict[str, Vector]]:
    """Read the round and the arrays; `InvalidInputError` if the file is damaged or of another federation."""
    try:
        with np.load(path, allow_pickle=False) as content:
            about = json.loads(str(content[_ABOUT]))
            number, found = int(about["round"]), dict(about["identity"])
            tensors = {name: content[name] for name in content.files if name != _ABOUT}
    except OSError as error:
        raise InvalidInputError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        raise InvalidInputError(f"{path} is not the saved state of a federation: {error}") from error
    differing = [name for name in identity if found.get(name) != identity[name]]
    if differing:
        name = differing[0]
        raise InvalidInputError(
            f"{path} is the state of another federation: its {name} is {found.get(name)}, not {identity[name]}"
        )
    return number, tensors
