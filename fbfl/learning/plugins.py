"""Names to functions: of a table of ours, or a user's own as ``package.module:function``, with checked settings.

A plugin is a plain function. Its first parameters are the data it works on; parameters named like an entry of the
kind's context (the round number, the weights, ...) are filled in by the caller; all others are settings, which a user
gives by name.
"""

import ast
import functools
import importlib.util
import inspect
import os
import sys
import sysconfig
import traceback
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from fbfl.errors import FbflError, InvalidInputError, UserCodeError, require
from fbfl.learning import backend
from fbfl.system.printable import counted
from fbfl.values import checks

T = TypeVar("T")

KEYWORD = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)

_PACKAGE = str(Path(__file__).parents[1]) + os.sep
_PYTHON = tuple(sysconfig.get_path(name) + os.sep for name in ("stdlib", "platstdlib"))
_INSTALLED = tuple(sysconfig.get_path(name) + os.sep for name in ("purelib", "platlib"))
_MAKE = ("dataset", "mobility", "model", "optimizer", "radio", "trainer")
"""Kinds whose functions make what is used: a class does so, too. A call of the others answers a question."""

_WITHOUT_SETTINGS = ("loss", "metric", "model", "optimizer")
"""Kinds whose functions get nothing but data, since no option gives them settings."""

_FLAGS = {"true": True, "false": False}
_SHOWN = 4
"""Most frames, and most lines of text, to show of an error in a user's function."""


@dataclass(frozen=True)
class Plugin:
    """A function with its settings; a call adds the parameters that it takes from the context."""

    kind: str
    """Its name in messages ("aggregator")."""
    name: str
    function: Callable[..., Any]
    settings: Mapping[str, Any]
    wants: frozenset[str]
    """Names of the function's parameters that the context fills in."""

    def __call__(self, *data: Any, **context: Any) -> Any:
        """Call the function with its settings and what it names of the context.

        A user's function gets arrays and lists of its own, which it may change. What it raises becomes `UserCodeError`;
        what is wrong with a setting is said of the function.
        """
        named = {key: value for key, value in context.items() if key in self.wants} | {**self.settings}
        if not is_ours(self.function):
            data, named = _private(data), _private(named)
        label = f"{self.kind} {self.name}"
        try:
            with users_code(label, self.function):
                return self.function(*data, **named)
        except InvalidInputError as error:
            if str(error).startswith(tuple(f"{setting} is " for setting in self.settings)):
                raise type(error)(f"{label}: {error}") from error
            raise


def _private(value: Any) -> Any:
    """Return a copy of an array, a table, a list or a tuple, and of what is in these; all else as it is."""
    import numpy as np  # by now it is imported

    if isinstance(value, np.ndarray):
        return value.copy("K")
    if isinstance(value, Mapping):
        return {key: _private(each) for key, each in value.items()}
    return type(value)(map(_private, value)) if type(value) in (list, tuple) else value


@contextmanager
def users_code(label: str, function: object = None) -> Iterator[None]:
    """Turn whatever is raised inside into `UserCodeError`, except errors of fbfl and interrupts.

    `label` names the code in the message. If the `function` is fbfl's own, everything passes.
    """
    try:
        yield
    except FbflError:
        raise
    except (Exception, SystemExit) as error:
        if is_ours(function):
            raise
        text = "\n".join(f"{type(error).__name__}: {error}".splitlines()[:_SHOWN])
        raise UserCodeError("\n".join([f"{label} raised {text}", *_own_frames(error)])) from error


def guarded(kind: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function, wrapped if it is a user's so that what it raises becomes `UserCodeError`."""
    if is_ours(function):
        return function

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        with users_code(f"{kind} {label_of(function)}"):
            return function(*args, **kwargs)

    return call


def is_ours(function: object) -> bool:
    """Return True if a function, perhaps a partial one, is part of fbfl."""
    while isinstance(function, functools.partial):
        function = function.func
    return str(getattr(function, "__module__", "")).startswith("fbfl.")


def label_of(function: object) -> str:
    """Return the name in messages of a function, or of a name of one."""
    return function if isinstance(function, str) else getattr(function, "__name__", " ".join(repr(function).split()))


def resolve(
    kind: str,
    name: str | Callable[..., Any],
    table: Mapping[str, Callable[..., Any]],
    settings: Mapping[str, Any],
    *,
    data: int,
    context: Collection[str] = (),
    also: Sequence[str] = (),
) -> Plugin:
    """Find the function of a name (or take a function as it is) and check the names and presence of its settings.

    `kind` is its name in messages ("aggregator"), `data` the number of leading parameters that are not settings.
    An entry of the context can be given as a setting too, and then wins. `also` are settings that the caller takes
    itself, for messages.
    """
    function = find(kind, name, table) if isinstance(name, str) else name
    label = label_of(name)
    if kind not in _MAKE:
        refuse_class(f"{kind} {label}", function)
    parameters = _parameters(kind, label, function)
    leading = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if len(leading) < data and not any(p.kind is p.VAR_POSITIONAL for p in parameters):
        shown = ", ".join(p.name for p in leading)
        raise InvalidInputError(f"{kind} {label}: its parameters are ({shown}); needed: {data} or more, by place")
    named = {p.name: p for p in parameters[data:] if p.kind in KEYWORD}
    wants = frozenset(named) & frozenset(context)
    allowed = [key for key in named if key not in wants]
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
    for key in settings:
        if key not in named and not takes_any:
            raise InvalidInputError(
                f"{kind} {label}: does not take {key!r}; allowed: {', '.join([*allowed, *also]) or 'no settings'}"
            )
    for key in allowed:
        if named[key].default is inspect.Parameter.empty and key not in settings:
            wrong = f"{kind} {label}: needs {key}"
            if kind in _WITHOUT_SETTINGS:
                arguments = counted(data, "argument") if data else "no arguments"
                raise InvalidInputError(f"{wrong}; allowed: a function of {arguments}")
            raise InvalidInputError(f"{wrong}; its settings are: {', '.join(allowed)}")
    for key, value in settings.items():
        if key in named:
            checks.check(f"{kind} {label}: ", key, value, named[key].annotation)
    return Plugin(kind, label, function, dict(settings), wants)


def refuse_class(label: str, function: object) -> None:
    """Raise `InvalidInputError` for a class: a call would make an object of it, and ask that nothing."""
    if inspect.isclass(function):
        raise InvalidInputError(f"{label} is a class; needed: a function, or an object of the class that can be called")


def names_of_parameters(kind: str, name: str, table: Mapping[str, Callable[..., Any]]) -> set[str]:
    """Return the names of a named function's parameters; `kind` and `table` as for `resolve`."""
    return {parameter.name for parameter in _parameters(kind, name, find(kind, name, table))}


def own_settings(function: Callable[..., Any], data: int, context: Collection[str] = ()) -> dict[str, Any]:
    """Return the settings of a function of ours with their defaults, `inspect.Parameter.empty` where there is none.

    `data` and `context` as for `resolve`.
    """
    parameters = list(inspect.signature(function).parameters.values())[data:]
    return {p.name: p.default for p in parameters if p.kind in KEYWORD and p.name not in context}


def source_of(kind: str, name: str) -> Path | None:
    """Return the file of the module of ``package.module:function``; None for one of fbfl or without a file.

    `kind` is its name in messages. The module itself is not imported, since that may import TensorFlow.
    """
    module = name.partition(":")[0]
    require(all(module.split(".")), kind, name, "package.module:function")
    if module.startswith("fbfl."):
        return None
    if module in sys.modules:  # perhaps without a specification, as a script is, or what a notebook made
        file = getattr(sys.modules[module], "__file__", None)
        return Path(file) if file else None
    spec = _of_module(kind, name, module, importlib.util.find_spec)
    if spec is None:
        raise InvalidInputError(f"{kind} {name!r}: cannot import {module!r}: there is no such module")
    return Path(spec.origin) if spec.has_location and spec.origin else None


def parse_settings(option: str, pairs: Iterable[str]) -> dict[str, Any]:
    """Read the ``KEY=VALUE`` words of an option; values are Python literals (0.5, 3, True, (1, 2)), else text.

    Flags may be written as in TOML, too: true, false.
    """
    settings: dict[str, Any] = {}
    for pair in pairs:
        key, separator, text = pair.partition("=")
        if not separator or not key.isidentifier():
            raise InvalidInputError(f"{option} {pair}: must be KEY=VALUE")
        if key in settings:
            raise InvalidInputError(f"{option} {pair}: {key} is given twice")
        try:
            settings[key] = _FLAGS[text] if text in _FLAGS else ast.literal_eval(text)
            repr(settings[key])  # fails for a number of thousands of digits, which no message could show
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            settings[key] = text
    return settings


def find(kind: str, name: str, table: Mapping[str, Callable[..., Any]]) -> Callable[..., Any]:
    """Return the function of a name: of the table, or imported as ``package.module:function``."""
    if name in table:
        return table[name]
    module_name, separator, function_name = name.partition(":")
    require(separator, kind, name, f"{', '.join(table)}, or package.module:function")
    require(module_name not in table, kind, name, f"{module_name}, with its settings apart as KEY=VALUE")
    backend.set_environment()  # its kernels decide about bytes, whoever imports TensorFlow first
    function = getattr(_of_module(kind, name, module_name, importlib.import_module), function_name, None)
    if not callable(function):
        raise InvalidInputError(f"{kind} {name!r}: module {module_name} has no function {function_name!r}")
    found: Callable[..., Any] = function
    return found


def _of_module(kind: str, name: str, module: str, find: Callable[[str], T]) -> T:
    """Return what `find` makes of a user's module, which it imports, or the packages that it is in."""
    try:
        with users_code(f"{kind} {name!r}: the import of {module}"):
            return find(module)
    except UserCodeError as error:
        cause = error.__cause__
        if cause is None or _own_frames(cause):
            raise
        raise InvalidInputError(f"{kind} {name!r}: cannot import {module!r}: {cause}") from error


def _parameters(kind: str, label: str, function: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"{kind} {label}: must be a function whose parameters can be read") from error


def _own_frames(error: BaseException) -> list[str]:
    """Return the last places in the user's files that an error passed through, a line each."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename.startswith(_INSTALLED) or not frame.filename.startswith((*_PYTHON, _PACKAGE, "<frozen"))
    ]
    own = [frame for frame in frames if not frame.filename.startswith(_INSTALLED)]
    # For a function in an installed package, the frames of the packages that it calls come last.
    shown = own[-_SHOWN:] or frames[:_SHOWN]
    return [f"  {frame.filename}:{frame.lineno} in {frame.name}: {frame.line}" for frame in shown]
