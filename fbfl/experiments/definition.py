"""Definitions of experiments: variants of one federation, run with the same seeds, and claims that compare them.

Declared in a TOML file, NAME.toml:

title, about       a line for headings; a few sentences of Markdown for the report
seeds              how many; seed s of one variant is compared with seed s of another
chain              false: play runs with `Federation`, without the chain, instead of through the whole system
[base]             fields of `fbfl.settings.RunSettings` that all variants share
[quick]            fields, and `seeds`, of the small version that only shows that everything works
listing            true: keep the blocks of the first run as NAME.json
against            the horizontal axis of the picture: see `AGAINST`
drawn              labels of the variants in the picture, if it would be too full with all; tables have them all
[[panels]]         of a picture against settings: measure (one of `COSTS`), against (a setting), a panel each
[[variants]]       label, settings (the changed fields), series (the line on which it is a point, against a setting)
[grid]             instead of variants: see `fbfl.experiments.variants.Grid`
[[claims]]         see `Claim`
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fbfl import shipped
from fbfl.errors import InvalidInputError, require
from fbfl.experiments.run_store import Run
from fbfl.experiments.toml_table import TomlTable, one_of
from fbfl.experiments.variants import OF_ATTACKS, Grid, Variant, read_grid, read_variant, refuse
from fbfl.runs.measures import CURVES
from fbfl.settings import RunSettings, check_names_and_types, refuse_elsewhere
from fbfl.system.textfile import read_toml
from fbfl.values.fields import Place

FOLDER = Path("experiments")
"""Folder under the current one for definitions by name, and for results."""

COSTS = (
    "seconds",
    "train_seconds",
    "consensus_seconds",
    "cpu_seconds",
    "views",
    "updates",
    "gas_used",
    "transactions",
    "calldata_bytes",
    "payload_bytes",
    "simulated_seconds",
    "simulated_energy_joules",
    "hashes",
)
"""Measures of every round itself; only with the chain."""

KINDS = ("final", "mean")
"""Of what a claim's measure is: of the last round, or the mean of the first `rounds` rounds."""

AGAINST = ("round", "payload_bytes", "gas_used", "cpu_seconds", "servers")
"""Horizontal axes of the picture: rounds, their summed cost so far, or the number of servers."""

AGAINST_SETTINGS = ("servers", "pow_hashes", "view_timeout")
"""Horizontal axes of a panel: settings of the variants, of which all are whole numbers."""

MAX_SEEDS = 10_000
"""Most seeds of an experiment, and so most runs of each variant."""

RELATIONS = ("higher", "lower", "equal", "different")


@dataclass(frozen=True)
class Claim:
    """A statement that the results can contradict."""

    text: str
    """Its words, as in the source."""
    measure: str
    """Of the last round, `final_`, or the mean of rounds, `mean_`, with the name of a curve, a metric or a cost."""
    variant: str
    """The label of the variant that the claim is about."""
    relation: str
    """`higher` or `lower` by more than `margin`, `equal` within it, or `different`."""
    than: tuple[str, ...]
    """The labels that it is compared with; the claim holds if it holds for each."""
    margin: float = 0.0
    """Margin in units of the measure."""
    rounds: int | None = None
    """For a mean: the number of rounds, from the first."""
    remark: str = ""
    """Reason why it does not hold, if known; Markdown."""


@dataclass(frozen=True)
class Panel:
    """A part of a picture against settings: the variants that change the setting are its points."""

    measure: str
    """One of `COSTS`, of which it shows the mean of a run's rounds."""
    against: str
    """The setting on the horizontal axis, one of `AGAINST_SETTINGS`."""


OF_SERVERS = ("cpu_seconds", "transactions", "gas_used", "calldata_bytes")
"""Measures of the panels against the number of servers."""


@dataclass(frozen=True)
class Experiment:
    """A figure: its runs, and the claims about them."""

    name: str
    title: str
    about: str
    base: Mapping[str, object]
    variants: tuple[Variant, ...]
    seeds: tuple[int, ...]
    claims: tuple[Claim, ...]
    chain: bool = True
    """True if runs go through the whole system: contracts, payloads, consensus."""
    grid: Grid | None = None
    """The grid whose cells are the variants, if there is one."""
    against: str = "round"
    """The horizontal axis of the picture, one of `AGAINST`."""
    drawn: tuple[str, ...] = ()
    """The labels of the variants in the picture; all if none is named."""
    panels: tuple[Panel, ...] = ()
    """Panels of a picture that shows the cost of rounds against settings of the variants."""
    listing: bool = False
    """True to keep the blocks of the first run, in the form of the paper's listing."""

    def settings(self, variant: Variant, seed: int) -> RunSettings:
        """Return the settings of one run."""
        return RunSettings(**{**self.base, **variant.settings, "seed": seed})  # type: ignore[arg-type]  # by `load`

    def run(self, variant: Variant, seed: int) -> Run:
        """Return one run."""
        return Run(self.settings(variant, seed), self.chain, self.listing)

    @property
    def against_setting(self) -> bool:
        """True if the picture shows the cost of rounds against settings of the variants."""
        return bool(self.panels)

    @property
    def rounds(self) -> int:
        """Number of rounds of every run."""
        return self.settings(self.variants[0], 0).rounds


def find(name: str) -> list[Path]:
    """Return the definition of a name, all definitions for `all`, or the file at a path.

    An unknown name raises `InvalidInputError`.
    """
    if is_path(name):
        return [Path(name)]
    found = {path.stem: path for path in known()}
    if name != "all" and name not in found:
        raise InvalidInputError(
            f"experiment {name!r} is unknown; allowed: all, {', '.join(found)}, and the path of a TOML file"
        )
    return [*found.values()] if name == "all" else [found[name]]


def is_path(name: str) -> bool:
    """Tell whether a definition is named by the path of its file."""
    return Path(name).suffix == ".toml" or Path(name).name != name


def known() -> list[Path]:
    """Return the definitions known by name: those in `FOLDER`, or if there are none, those that come with fbfl."""
    return files(FOLDER) or files(shipped.folder("experiments"))


def files(folder: Path) -> list[Path]:
    """Return the definitions in a folder."""
    return sorted(folder.glob("*.toml"))


def load(path: Path, *, quick: bool = False, seeds: int | None = None) -> Experiment:
    """Read and check a definition; `quick` takes the small version, `seeds` another number of seeds.

    A definition that cannot be read or is not allowed raises `InvalidInputError` with the file and the place.
    """
    top = TomlTable(read_toml(path, str(path)), str(path))
    small = TomlTable(top.take("quick", dict, {}), f"{path}: quick")
    base = top.take("base", dict, {})
    number = top.take("seeds", int, 5)
    quick_seeds = small.take("seeds", int, 2)
    grid = top.take("grid", dict, None)
    grid = read_grid(TomlTable(grid, f"{path}: grid")) if grid is not None else None
    against = one_of(f"{path}: against", top.take("against", str, "round"), AGAINST)
    listed = tuple(read_variant(table) for table in top.take_tables("variants", "variant"))
    if grid and listed:
        raise InvalidInputError(f"{path}: has [grid] and [[variants]]; allowed: one of them")
    experiment = top.record(
        Experiment,
        name=path.stem,
        about=top.take("about", str, ""),
        base={**base, **small.rest} if quick else base,
        variants=tuple(grid.variants()) if grid else listed,
        seeds=_seeds(f"{path}: seeds", seeds if seeds is not None else quick_seeds if quick else number),
        claims=tuple(_claim(table) for table in top.take_tables("claims", "claim")),
        grid=grid,
        against=against,
        panels=tuple(_panel(table) for table in top.take_tables("panels", "panel"))
        + tuple(Panel(measure, against) for measure in OF_SERVERS if against == "servers"),
        drawn=tuple(top.take("drawn", list, [])),
    )
    check_names_and_types(base, f"{path}: base")
    check_names_and_types(small.rest, f"{path}: quick")
    _check(experiment, path, quick)
    return experiment


def _seeds(where: str, number: int) -> tuple[int, ...]:
    require(number >= 1, where, number, "1 or more")
    require(number <= MAX_SEEDS, where, number, f"1 to {MAX_SEEDS:,}")
    return tuple(range(number))


def _panel(table: TomlTable) -> Panel:
    panel = table.record(Panel, measure=one_of(f"{table.where}: measure", table.take("measure", str), COSTS))
    one_of(f"{table.where}: against", panel.against, AGAINST_SETTINGS)
    return panel


def _claim(table: TomlTable) -> Claim:
    where = table.where
    than = table.take("than", (str, list))
    claim = table.record(Claim, than=tuple(than) if isinstance(than, list) else (than,))
    one_of(f"{where}: relation", claim.relation, RELATIONS)
    if claim.measure.startswith("mean_") != (claim.rounds is not None):
        raise InvalidInputError(f"{where}: rounds belongs to a mean, and only to one; measure is {claim.measure!r}")
    if claim.rounds is not None:
        require(claim.rounds >= 1, f"{where}: rounds", claim.rounds, "1 or more")
    if claim.margin < 0 or (claim.relation == "equal" and claim.margin == 0):
        raise InvalidInputError(f"{where}: margin is {claim.margin}; allowed: not negative, and above 0 for equal")
    if claim.relation == "different" and claim.margin:
        raise InvalidInputError(f"{where}: margin is {claim.margin}; allowed: none with relation different")
    return claim


def _curves(experiment: Experiment) -> list[str]:
    """Return the names of curves that its runs may have: those of classes, or of numbers, and metrics of variants."""
    settings = [experiment.settings(variant, 0) for variant in experiment.variants]
    in_numbers = {each.known_classes == 0 for each in settings}
    of_classes = [name for name in CURVES if name != "loss" and False in in_numbers]
    of_numbers = ["mae"] if True in in_numbers else []
    named = [each.metric or () for each in settings]
    metrics = [name for names in named for name in ([names] if isinstance(names, str) else names)]
    return [*dict.fromkeys((*of_classes, "loss", *of_numbers, *metrics))]


def _check(experiment: Experiment, path: Path, quick: bool) -> None:
    labels = [variant.label for variant in experiment.variants]
    if experiment.listing and not experiment.chain:
        raise InvalidInputError(f"{path}: listing is true: without chain there are no blocks")
    if not labels:
        raise InvalidInputError(f"{path}: no [[variants]]")
    if repeated := {label for label in labels if labels.count(label) > 1}:
        raise InvalidInputError(f"{path}: variant label {min(repeated)!r} is used twice")
    if experiment.grid:
        refuse(OF_ATTACKS, experiment.base, f"{path}: base", "in a grid its attacks do")
    for label in experiment.drawn:
        one_of(f"{path}: drawn", label, labels)
    if experiment.drawn and (experiment.grid or experiment.against_setting):
        raise InvalidInputError(f"{path}: drawn is {list(experiment.drawn)}; allowed: in pictures of curves only")
    for variant in experiment.variants:
        refuse(("rounds", "seed"), variant.settings, f"{path}: variant {variant.label!r}", "all variants share it")
        if experiment.against_setting != (variant.series is not None):
            raise InvalidInputError(
                f"{path}: variant {variant.label!r}: series belongs to a picture against a setting; against is "
                f"{experiment.against!r}, and there are {len(experiment.panels)} panels"
            )
        if not experiment.chain:
            given = {**experiment.base, **variant.settings}
            refuse_elsewhere(given, Place.FEDERATION, f"{path}: variant {variant.label!r}: ", "only with the chain")
        try:
            experiment.settings(variant, 0)
        except InvalidInputError as error:
            raise InvalidInputError(f"{path}: variant {variant.label!r}: {error}") from error
    for panel in experiment.panels:
        if not any(panel.against in variant.settings for variant in experiment.variants):
            raise InvalidInputError(f"{path}: a panel is against {panel.against!r}, which no variant sets")
    curves = _curves(experiment)
    if experiment.grid and "accuracy" not in curves:
        raise InvalidInputError(
            f"{path}: has [grid], whose harm is of accuracy; allowed where labels are numbers: variants"
        )
    measures = [f"{kind}_{measure}" for kind in KINDS for measure in (*curves, *COSTS)]
    for number, claim in enumerate(experiment.claims, 1):
        one_of(f"{path}: claim {number}: measure", claim.measure, measures)
        for key, label in (("variant", claim.variant), *(("than", label) for label in claim.than)):
            one_of(f"{path}: claim {number}: {key}", label, labels)
        if not experiment.chain and claim.measure.partition("_")[2] in COSTS:
            raise InvalidInputError(f"{path}: claim {number}: measure is {claim.measure!r}: not known without chain")
        if not claim.than or claim.variant in claim.than:
            raise InvalidInputError(f"{path}: claim {number}: than is {list(claim.than)}; allowed: other variants")
        if claim.rounds is not None and claim.rounds > experiment.rounds and not quick:
            raise InvalidInputError(
                f"{path}: claim {number}: rounds is {claim.rounds}; allowed: 1 to {experiment.rounds}"
            )
