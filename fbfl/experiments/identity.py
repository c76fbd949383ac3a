"""What a stored run depends on besides its settings: the versions of ours, and the files of the user's, that they name.

Nothing is said of what all first releases computed alike, so runs that were stored before have the names they had.
"""

import functools
import hashlib
from pathlib import Path

from fbfl.errors import InvalidInputError
from fbfl.learning import aggregation, attacks, plugins
from fbfl.settings import RunSettings

_FUNCTIONS = ("mobility", "radio", "partition", "model", "aggregator", "attack")
"""The settings that may be ``package.module:function``."""


def dependencies(settings: RunSettings) -> dict[str, dict[str, object]]:
    """Versions above 1, and SHA-256 digests of data files and of the files of modules, by the setting that names them.

    Of code it is the file of the module that is named, and not what that imports. A file that cannot be read, and a
    module that cannot be imported, raise `InvalidInputError` or `UserCodeError`.
    """
    versions = {
        "aggregator": aggregation.names.VERSIONS.get(settings.aggregator, 1),
        "attack": attacks.names.VERSIONS.get(settings.attack, 1) if settings.attack else 1,
    }
    files = {}
    if settings.dataset is not None and settings.dataset.endswith(".npz"):
        files["dataset"] = Path(settings.dataset)
    trace = settings.mobility_args.get("file")
    if isinstance(trace, str):
        files["mobility_args"] = Path(trace)
    for name in _FUNCTIONS:
        value = getattr(settings, name)
        if value is not None and ":" in value:
            source = plugins.source_of(name, value)
            files |= {name: source} if source else {}
    found: dict[str, dict[str, object]] = {
        "versions": {name: version for name, version in versions.items() if version > 1},
        "files": {name: _digest_of(name, path) for name, path in files.items()},
    }
    return {kind: entries for kind, entries in found.items() if entries}


def _digest_of(name: str, path: Path) -> str:
    try:
        status = path.stat()
        return _digest(path, status.st_mtime_ns, status.st_size)
    except OSError as error:
        raise InvalidInputError(f"{name} {path}: cannot be read: {error.strerror}") from error


@functools.lru_cache(maxsize=64)
def _digest(path: Path, *_: int) -> str:
    """Thousands of runs name the same files."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
