"""Identity of a stored run besides its settings: the versions of rules and attacks, and the user's files, they name.

Version 1 is left out, so that runs stored before versions existed keep their names.
"""

import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path

from fbfl.errors import InvalidInputError, failures_as
from fbfl.learning import aggregation, attacks, datasets, plugins
from fbfl.learning.flower import app as flower
from fbfl.settings import RunSettings

_FUNCTIONS = (
    "dataset",
    "mobility",
    "radio",
    "partition",
    "model",
    "trainer",
    "optimizer",
    "schedule",
    "loss",
    "aggregator",
    "server_optimizer",
)
"""The settings that may be ``package.module:function``, beside attacks and metrics."""


DRAWS = 2
"""Version of draws on a chain; in version 1 they followed from the seed of the run, which everybody knew beforehand."""


def dependencies(settings: RunSettings, chain: bool = True) -> dict[str, dict[str, object]]:
    """Return versions above 1, and SHA-256 digests of data files and modules' files, by the setting that names them.

    `chain` tells runs through the whole system from those without. For code it is the file of the named module, without
    what that imports. A file that cannot be read, or a module that cannot be imported, raises `InvalidInputError` or
    `UserCodeError`.
    """
    versions = {
        "aggregator": aggregation.version_of(settings.aggregator),
        **{place: attacks.version_of(name) for place, name in _attacks(settings).items()},
        "draws": DRAWS if chain and _draws(settings.aggregator) else 1,
    }
    files: dict[str, Path] = {}
    trace = settings.mobility_args.get("file")
    if isinstance(trace, str):
        files["mobility_args"] = Path(trace)
    for name, function in (_functions(settings) | _attacks(settings) | _metrics(settings)).items():
        if function is not None and ":" in function:
            source = plugins.source_of(name, function)
            files |= {name: source} if source else {}
    for key, value in settings.trainer_args.items():
        if isinstance(value, str) and ":" in value:
            source = plugins.source_of(f"trainer_args: {key}", value)
            files |= {f"trainer_args: {key}": source} if source else {}
    found: dict[str, dict[str, object]] = {
        "versions": {name: version for name, version in versions.items() if version > 1},
        "files": {
            **{name: _digest_of(name, path) for name, path in files.items()},
            **_data(settings),
            **({} if settings.app is None else {"app": flower.read(settings.app).digest}),
        },
    }
    return {kind: entries for kind, entries in found.items() if entries}


def code_in(settings: RunSettings) -> tuple[str, ...]:
    """Return the ``package.module:function`` names in settings, each once: code that is run with these settings."""
    listed = (*_attacks(settings).values(), *_metrics(settings).values())
    named = (*_functions(settings).values(), *listed, *settings.trainer_args.values())
    code = [name for name in named if isinstance(name, str) and ":" in name]
    return tuple(dict.fromkeys([*code, *([settings.app] if settings.app is not None else [])]))


def _data(settings: RunSettings) -> dict[str, str]:
    """Return the digest of the user's file of data, or that of the digests of several."""
    digests = [_digest_of("dataset", path) for path in _data_files(settings)]
    several = hashlib.sha256("".join(digests).encode()).hexdigest()
    return {"dataset": digests[0] if len(digests) == 1 else several} if digests else {}


def _data_files(settings: RunSettings) -> tuple[Path, ...]:
    return () if settings.dataset is None else datasets.files_of(settings.dataset)


def _functions(settings: RunSettings) -> dict[str, str | None]:
    on_disk = bool(_data_files(settings))  # its path may have a colon
    return {name: getattr(settings, name) for name in _FUNCTIONS if not (on_disk and name == "dataset")}


def _attacks(settings: RunSettings) -> dict[str, str]:
    return _placed("attack", [name for name, _ in settings.attacks])


def _metrics(settings: RunSettings) -> dict[str, str]:
    alone = isinstance(settings.metric, str)
    return _placed("metric", [settings.metric] if alone else settings.metric or [])  # type: ignore[list-item]  # a text


def _placed(kind: str, names: Sequence[str]) -> dict[str, str]:
    """Return names by their place: `attack`, `attack 2`, ..."""
    return {f"{kind} {place}" if place > 1 else kind: name for place, name in enumerate(names, 1)}


def _draws(aggregator: str) -> bool:
    """Return True if a rule draws at random; an unknown rule is refused elsewhere."""
    known = aggregator in aggregation.RULES or ":" in aggregator
    return known and "seed" in plugins.names_of_parameters("aggregator", aggregator, aggregation.RULES)


def _digest_of(name: str, path: Path) -> str:
    with failures_as(InvalidInputError, f"{name} {path}: cannot be read"):
        status = path.stat()
        return _digest(path, status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=64)
def _digest(path: Path, *_: int) -> str:
    """Return the file's SHA-256, cached: thousands of runs name the same files."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
