"""A Flower app as its folder describes it: `pyproject.toml` with the components and the configuration."""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from fbfl.errors import InvalidInputError
from fbfl.system.textfile import read_toml, toml_in

FILE = "pyproject.toml"

Value = bool | int | float | str
Config = Mapping[str, Value]

_PAIR = re.compile(r"""([^\s=]+)\s*=\s*("[^"]*"|'[^']*'|\S+)""")
_COMPONENT = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
_NO_CODE = {"__pycache__", "node_modules", "build", "dist"}


@dataclass(frozen=True)
class App:
    """A Flower app."""

    path: Path
    """Its folder."""
    name: str
    client: str
    """The `ClientApp`, as `package.module:object` seen from the folder."""
    server: str
    """The `ServerApp`, likewise."""
    config: Config
    """Its run configuration; tables in it are joined with dots, as Flower does."""
    dependencies: tuple[str, ...]
    """Requirements of its environment, as pip takes them."""

    @property
    def digest(self) -> str:
        """SHA-256 over `pyproject.toml` and all Python files of the folder, by their paths."""
        found = hashlib.sha256()
        for path in (self.path / FILE, *_code_in(self.path)):
            found.update(f"{path.relative_to(self.path).as_posix()}\0".encode())
            found.update(hashlib.sha256(path.read_bytes()).digest())
        return found.hexdigest()


def read(path: str | Path, config: str | Config = MappingProxyType({})) -> App:
    """Read the app in a folder; `config` takes the place of values in its configuration.

    That is a table, or text as of `flwr run --run-config`: `lr=0.1 name="wide"`. What is no app, and a key that its
    configuration does not have, raise `InvalidInputError`.
    """
    folder = Path(path).absolute()
    where = f"app {path}"
    project = read_toml(folder / FILE, f"{where}: {FILE}")
    described = _table(where, project, "project")
    entry = _table(where, project, "tool", "flwr", "app")
    components = _table(where, project, "tool", "flwr", "app", "components")
    dependencies = described.get("dependencies", [])
    if not isinstance(dependencies, list) or not all(isinstance(each, str) for each in dependencies):
        raise InvalidInputError(f"{where}: dependencies in {FILE} are {dependencies!r}; needed: a list of texts")
    own = dict(_flat(where, entry.get("config", {})))
    return App(
        folder,
        str(described.get("name", folder.name)),
        _component(where, components, "clientapp"),
        _component(where, components, "serverapp"),
        {**own, **_overrides(where, own, config)},
        tuple(dependencies),
    )


def _code_in(folder: Path) -> list[Path]:
    """Return the Python files of a folder, but not those of environments and caches in it."""
    files = (path for path in folder.rglob("*.py") if path.is_file())
    parts = ((path, path.relative_to(folder).parts[:-1]) for path in files)
    return sorted(path for path, above in parts if not any(part in _NO_CODE or part[0] == "." for part in above))


def _table(where: str, project: Mapping[str, Any], *keys: str) -> Mapping[str, Any]:
    found: Any = project
    for key in keys:
        found = found.get(key) if isinstance(found, Mapping) else None
    if not isinstance(found, Mapping):
        raise InvalidInputError(f"{where}: {FILE} has no table [{'.'.join(keys)}]; needed: a Flower app")
    return found


def _component(where: str, components: Mapping[str, Any], name: str) -> str:
    found = components.get(name)
    if not isinstance(found, str) or not _COMPONENT.fullmatch(found):
        raise InvalidInputError(f"{where}: {name} is {found!r}; needed in {FILE}: package.module:object")
    return found


def _flat(where: str, table: object, above: str = "") -> Iterator[tuple[str, Value]]:
    if not isinstance(table, Mapping):
        raise InvalidInputError(f"{where}: config is {table!r}; needed: a table")
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(where, value, f"{above}{key}.")
        elif isinstance(value, bool | int | float | str):
            yield f"{above}{key}", value
        else:
            raise InvalidInputError(f"{where}: config {above}{key} is {value!r}; allowed: numbers, texts, true, false")


def _overrides(where: str, own: Config, config: str | Config) -> Config:
    """Return what takes the place of an app's own values."""
    if isinstance(config, str):
        config = _pairs(where, config)
    given = dict(_flat(where, config))
    for key, value in given.items():
        if key not in own:
            raise InvalidInputError(
                f"{where}: config has no {key!r}; allowed: {', '.join(own) or 'nothing, it has no configuration'}"
            )
        if isinstance(own[key], float) and type(value) is int:
            given[key] = float(value)
    return given


def _pairs(where: str, text: str) -> Config:
    """Read values as TOML writes them from `KEY=VALUE KEY=VALUE`."""
    pairs = _PAIR.findall(text)
    if "".join(text.split()) != "".join("".join(f"{key}={value}".split()) for key, value in pairs):
        raise InvalidInputError(f'{where}: config is {text!r}; allowed: KEY=VALUE KEY="TEXT" ...')
    found: dict[str, Value] = {}
    for key, value in pairs:
        try:
            found[key] = toml_in(f"value = {value}", key)["value"]
        except InvalidInputError:
            found[key] = value  # a text without quotes
    return found
