"""What an experiment is: variants of one federation, run with the same seeds, and claims about how they compare.

Declared in a TOML file, `experiments/NAME.toml`:

title, about       a line for headings; a few sentences for the report
seeds              how many; seed s of one variant is compared with seed s of another
[base]             fields of `fbfl.settings.RunSettings` that all variants share
[quick]            fields, and `seeds`, of the small version that only shows that everything works
[[variants]]       label, settings (the changed fields)
[[claims]]         see `Claim`
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fbfl import settings as run_settings
from fbfl.errors import InvalidInputError
from fbfl.settings import RunSettings

FOLDER = Path("experiments")
"""Where the definitions are looked for, under the current folder."""

MEASURES = (
    *("final_accuracy", "final_loss", "final_attack_success_rate"),
    *("mean_accuracy", "mean_loss", "mean_attack_success_rate"),
)
"""After the last round, or the mean of the first `rounds` rounds: how fast it converges."""

RELATIONS = ("higher", "lower", "equal", "different")

_REQUIRED = object()
_KINDS: dict[object, str] = {
    dict: "a table",
    list: "a list",
    str: "a text",
    int: "a whole number",
    (int, float): "a number",
    (str, list): "a text or a list of texts",
}


@dataclass(frozen=True)
class Variant:
    """One curve of the figure."""

    label: str
    settings: Mapping[str, object]
    """The fields of `RunSettings` that differ from the base."""


@dataclass(frozen=True)
class Claim:
    """A statement that the results can contradict."""

    text: str
    """In words, as the source has it."""
    measure: str
    """One of `MEASURES`."""
    variant: str
    """The label of the variant that the claim is about."""
    relation: str
    """`higher` or `lower` by more than `margin`, `equal` within it, or `different`."""
    than: tuple[str, ...]
    """The labels that it is compared with; the claim holds if it holds for each."""
    margin: float = 0.0
    """In units of the measure."""
    rounds: int | None = None
    """Of a mean: how many rounds from the first."""
    remark: str = ""
    """Why it does not hold, where that is known."""


@dataclass(frozen=True)
class Experiment:
    """A figure: what is run, and what is claimed about it."""

    name: str
    title: str
    about: str
    base: Mapping[str, object]
    variants: tuple[Variant, ...]
    seeds: tuple[int, ...]
    claims: tuple[Claim, ...]

    def settings(self, variant: Variant, seed: int) -> RunSettings:
        """The settings of one run."""
        return RunSettings(**{**self.base, **variant.settings, "seed": seed})  # type: ignore[arg-type]  # by `load`

    @property
    def rounds(self) -> int:
        """The rounds of every run."""
        return self.settings(self.variants[0], 0).rounds


def load_named(name: str, *, quick: bool = False, seeds: int | None = None) -> tuple[Experiment, ...]:
    """The experiment of that name, or every one there is for `all`. An unknown name raises `InvalidInputError`."""
    found = {path.stem: path for path in sorted(FOLDER.glob("*.toml"))}
    if not found:
        raise InvalidInputError(f"no definitions in {FOLDER}/; run it where the experiments are")
    if name != "all" and name not in found:
        raise InvalidInputError(f"experiment {name!r} is unknown; allowed: all, {', '.join(found)}")
    paths = found.values() if name == "all" else [found[name]]
    return tuple(load(path, quick=quick, seeds=seeds) for path in paths)


def load(path: Path, *, quick: bool = False, seeds: int | None = None) -> Experiment:
    """Read and check a definition; `quick` takes the small version, `seeds` another number of seeds.

    What cannot be read, or is not allowed, raises `InvalidInputError` with the file and the place.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidInputError(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"{path}: not TOML: {error}") from error
    top = _Table(content, str(path))
    small = _Table(top.take("quick", dict, {}), f"{path}: quick")
    base = top.take("base", dict, {})
    number = top.take("seeds", int, 5)
    quick_seeds = small.take("seeds", int, 2)
    experiment = Experiment(
        name=path.stem,
        title=top.take("title", str),
        about=top.take("about", str, ""),
        base=_settings({**base, **small.rest} if quick else base, f"{path}: {'quick' if quick else 'base'}"),
        variants=tuple(_variant(each, f"{path}: variant {n}") for n, each in enumerate(top.tables("variants"), 1)),
        seeds=tuple(
            range(_positive(f"{path}: seeds", seeds if seeds is not None else quick_seeds if quick else number))
        ),
        claims=tuple(_claim(each, f"{path}: claim {n}") for n, each in enumerate(top.tables("claims"), 1)),
    )
    top.end()
    _settings(small.rest, f"{path}: quick")
    _check(experiment, path, quick)
    return experiment


def _variant(content: object, where: str) -> Variant:
    table = _Table(content, where)
    label = table.take("label", str)
    variant = Variant(label, _settings(table.take("settings", dict, {}), f"{where} ({label})"))
    table.end()
    return variant


def _claim(content: object, where: str) -> Claim:
    table = _Table(content, where)
    than = table.take("than", (str, list))
    claim = Claim(
        text=table.take("text", str),
        measure=table.take("measure", str),
        variant=table.take("variant", str),
        relation=table.take("relation", str),
        than=tuple(than) if isinstance(than, list) else (than,),
        margin=float(table.take("margin", (int, float), 0.0)),
        rounds=table.take("rounds", int, None),
        remark=table.take("remark", str, ""),
    )
    table.end()
    _one_of(f"{where}: measure", claim.measure, MEASURES)
    _one_of(f"{where}: relation", claim.relation, RELATIONS)
    if claim.measure.startswith("mean_") != (claim.rounds is not None):
        raise InvalidInputError(f"{where}: rounds belongs to a mean, and only to one; measure is {claim.measure!r}")
    if claim.rounds is not None:
        _positive(f"{where}: rounds", claim.rounds)
    if claim.margin < 0 or (claim.relation == "equal" and claim.margin == 0):
        raise InvalidInputError(f"{where}: margin is {claim.margin}; allowed: not negative, and above 0 for equal")
    if claim.relation == "different" and claim.margin:
        raise InvalidInputError(f"{where}: margin is {claim.margin}; allowed: none with relation different")
    return claim


def _check(experiment: Experiment, path: Path, quick: bool) -> None:
    labels = [variant.label for variant in experiment.variants]
    if not labels:
        raise InvalidInputError(f"{path}: no [[variants]]")
    if repeated := {label for label in labels if labels.count(label) > 1}:
        raise InvalidInputError(f"{path}: variant label {min(repeated)!r} is used twice")
    for variant in experiment.variants:
        for field in ("rounds", "seed"):
            if field in variant.settings:
                raise InvalidInputError(f"{path}: variant {variant.label!r} sets {field}: all variants share it")
        try:
            experiment.settings(variant, 0)
        except InvalidInputError as error:
            raise InvalidInputError(f"{path}: variant {variant.label!r}: {error}") from error
    for number, claim in enumerate(experiment.claims, 1):
        for label in (claim.variant, *claim.than):
            _one_of(f"{path}: claim {number}: variant", label, labels)
        if not claim.than or claim.variant in claim.than:
            raise InvalidInputError(f"{path}: claim {number}: than is {list(claim.than)}; allowed: other variants")
        if claim.rounds is not None and claim.rounds > experiment.rounds and not quick:
            raise InvalidInputError(
                f"{path}: claim {number}: rounds is {claim.rounds}; allowed: 1 to {experiment.rounds}"
            )


class _Table:
    """A TOML table from which the known keys are taken one by one, so that those left over are unknown."""

    def __init__(self, content: object, where: str) -> None:
        if not isinstance(content, dict):
            raise InvalidInputError(f"{where} is {content!r}; allowed: a table")
        self.rest = dict(content)
        self._where = where
        self._known: list[str] = []

    def take(self, key: str, kind: Any, default: Any = _REQUIRED) -> Any:
        self._known.append(key)
        if key not in self.rest:
            if default is _REQUIRED:
                raise InvalidInputError(f"{self._where}: {key} is missing")
            return default
        value = self.rest.pop(key)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise InvalidInputError(f"{self._where}: {key} is {value!r}; allowed: {_KINDS[kind]}")
        return value

    def tables(self, key: str) -> list[Any]:
        """The tables of an array, none if it is absent."""
        found: list[Any] = self.take(key, list, [])
        return found

    def end(self) -> None:
        """Refuse what nobody took."""
        if self.rest:
            unknown = next(iter(self.rest))
            raise InvalidInputError(f"{self._where}: unknown key {unknown!r}; allowed: {', '.join(self._known)}")


def _settings(values: Mapping[str, object], where: str) -> dict[str, object]:
    run_settings.check_names_and_types(values, where)
    return dict(values)


def _positive(name: str, value: int) -> int:
    if value < 1:
        raise InvalidInputError(f"{name} is {value}; allowed: 1 or more")
    return value


def _one_of(name: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise InvalidInputError(f"{name} is {value!r}; allowed: {', '.join(allowed)}")
