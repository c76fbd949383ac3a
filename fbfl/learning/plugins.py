"""Names to functions: of a table of ours, or a user's own as ``package.module:function``, with checked settings.

A plugin is a plain function. Its first parameters are the data it works on; parameters named like an entry of the
kind's context (the round number, the weights, ...) are filled in by the caller; all others are settings, which a user
gives by name.
"""

import ast
import importlib
import inspect
import types
import typing
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fbfl.errors import InvalidInputError

PLAIN = {int: (int,), float: (int, float), bool: (bool,), str: (str,)}
KEYWORD = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@dataclass(frozen=True)
class Plugin:
    """A function with its settings; calling it adds what it wants of the context."""

    name: str
    function: Callable[..., Any]
    settings: Mapping[str, Any]
    wants: frozenset[str]
    """The names of the context that the function has as parameters."""

    def __call__(self, *data: Any, **context: Any) -> Any:
        """Call the function with its settings and what it names of the context."""
        wanted = {key: value for key, value in context.items() if key in self.wants}
        return self.function(*data, **{**wanted, **self.settings})


def resolve(
    kind: str,
    name: str | Callable[..., Any],
    table: Mapping[str, Callable[..., Any]],
    settings: Mapping[str, Any],
    *,
    data: int,
    context: Collection[str] = (),
) -> Plugin:
    """Find the function of a name (or take a function as it is) and check the names and presence of its settings.

    `kind` is how messages call it ("aggregator"), `data` the number of leading parameters that are no settings.
    An entry of the context can be given as a setting too, and then wins.
    """
    function = _find(kind, name, table) if isinstance(name, str) else name
    label = name if isinstance(name, str) else getattr(name, "__name__", repr(name))
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"{kind} {label}: must be a function whose parameters can be read") from error
    named = {p.name: p for p in parameters[data:] if p.kind in KEYWORD}
    wants = frozenset(named) & frozenset(context)
    allowed = [key for key in named if key not in wants]
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
    for key in settings:
        if key not in named and not takes_any:
            raise InvalidInputError(
                f"{kind} {label}: does not take {key!r}; allowed: {', '.join(allowed) or 'no settings'}"
            )
    for key in allowed:
        if named[key].default is inspect.Parameter.empty and key not in settings:
            raise InvalidInputError(f"{kind} {label}: needs {key}; its settings are: {', '.join(allowed)}")
    for key, value in settings.items():
        if key in named:
            _check_type(f"{kind} {label}", key, value, named[key].annotation)
    return Plugin(label, function, dict(settings), wants)


def parse_settings(pairs: Iterable[str]) -> dict[str, Any]:
    """Read ``KEY=VALUE`` words of a command line; values are Python literals (0.5, 3, True, (1, 2)), else text."""
    settings: dict[str, Any] = {}
    for pair in pairs:
        key, separator, text = pair.partition("=")
        if not separator or not key.isidentifier():
            raise InvalidInputError(f"{pair!r}: must be KEY=VALUE")
        if key in settings:
            raise InvalidInputError(f"{pair!r}: {key} is given twice")
        try:
            settings[key] = ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            settings[key] = text
    return settings


def _find(kind: str, name: str, table: Mapping[str, Callable[..., Any]]) -> Callable[..., Any]:
    if name in table:
        return table[name]
    module_name, separator, function_name = name.partition(":")
    if not separator:
        raise InvalidInputError(f"{kind} {name!r}: must be one of {', '.join(table)}, or package.module:function")
    try:
        module = importlib.import_module(module_name)
    except (ImportError, ValueError, TypeError) as error:
        raise InvalidInputError(f"{kind} {name!r}: cannot import {module_name!r}: {error}") from error
    function = getattr(module, function_name, None)
    if not callable(function):
        raise InvalidInputError(f"{kind} {name!r}: module {module_name} has no function {function_name!r}")
    found: Callable[..., Any] = function
    return found


def _check_type(label: str, key: str, value: Any, annotation: Any) -> None:
    """Refuse a value of another type than a plain number, flag or text that the function asks for."""
    is_union = typing.get_origin(annotation) in (types.UnionType, typing.Union)
    options = typing.get_args(annotation) if is_union else (annotation,)
    kinds = [kind for kind in options if kind is not type(None)]
    if value is None and len(kinds) < len(options):
        return
    if len(kinds) != 1 or kinds[0] not in PLAIN:
        return
    if not isinstance(value, PLAIN[kinds[0]]) or (isinstance(value, bool) and kinds[0] is not bool):
        raise InvalidInputError(f"{label}: {key} = {value!r}: must be of type {kinds[0].__name__}")
