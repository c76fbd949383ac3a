"""RESULTS.md: every claim with our numbers and a verdict, written from the tables alone."""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import quote

from fbfl.errors import InvalidInputError
from fbfl.experiments import robustness
from fbfl.experiments.definition import OF_SERVERS, Claim, Experiment
from fbfl.experiments.markdown import code, plain
from fbfl.experiments.results import ADDED, Curves
from fbfl.runs.measures import RATES, text_of
from fbfl.system.atomic import write_file
from fbfl.system.printable import counted
from fbfl.system.statistics import LEVEL, Estimate, estimate, p_value

_SIGN = {"higher": ">", "lower": "<", "equal": "within ±", "different": "≠"}

_HEAD = """# Results

Written by `fbfl experiment` from the tables beside the pictures; `fbfl experiment all` writes it again from
the stored runs. Every run goes through the whole system (contracts, payloads, consensus), unless its section says that
it goes through `Federation` without the chain, which computes the same bytes (`tests/e2e/test_equivalence.py`).

± is half of the 95 % confidence interval of the mean over n seeds (Student's t); where the interval of a rate would
leave 0 to 1, its ends stand in brackets instead. A claim **holds** if a paired t-test across equal seeds says so at
5 %: one-sided, against the margin if there is one; two one-sided tests for "within"; two-sided for "different". It is
**not shown** if the means agree with it, but differ too little for the test. Otherwise it **does not hold**; it
**cannot be judged** where a figure is not finite (–). A claim about several pairs is judged by the worst. Nothing was
tuned to make a claim come true.
"""


def write_report(path: Path, experiments: Iterable[tuple[Experiment, Curves]], pictures: str) -> list[str]:
    """Write the report on experiments with their curves; `pictures` is the folder of the pictures as seen from it.

    Returns a line for each experiment that is left out, since its tables lack what the report needs.
    """
    claims: list[str] = []
    sections: list[str] = []
    left_out: list[str] = []
    for experiment, curves in experiments:
        try:
            section, judged = _section(experiment, curves, pictures), _overview(experiment, curves)
        except InvalidInputError as error:
            left_out.append(f"{experiment.name}: {error}")
        else:
            sections.append(section)
            claims += judged
    lines = [_HEAD, "| experiment | claim | verdict |", "|---|---|---|", *claims, "", *sections]
    write_file(path, "\n".join(lines).encode())
    return left_out


def verdict(claim: Claim, curves: Curves) -> str:
    """Return `holds`, `not shown`, `does not hold`, or the reason why there is no verdict.

    The reason is `cannot be tested` with fewer than two seeds, and `cannot be judged` if a figure of some seed was not
    finite and no other pair decides.
    """
    if len(curves.seeds) < 2:
        return "cannot be tested"
    first = curves.measure(claim.variant, claim)
    worst = "holds"
    for label in claim.than:
        second = curves.measure(label, claim)
        difference = estimate(first).mean - estimate(second).mean
        if math.isnan(difference):
            worst = "cannot be judged"
        elif not _agrees(difference, claim):
            return "does not hold"
        elif worst == "holds" and not p_value(first, second, claim.relation, claim.margin) < 1 - LEVEL:
            worst = "not shown"
    return worst


def _agrees(difference: float, claim: Claim) -> bool:
    """Return True if the means alone agree with a claim."""
    if claim.relation == "higher":
        return difference > claim.margin
    if claim.relation == "lower":
        return difference < -claim.margin
    return difference != 0 if claim.relation == "different" else abs(difference) < claim.margin


def _overview(experiment: Experiment, curves: Curves) -> list[str]:
    anchor = f"[{plain(experiment.name)}](#{quote(experiment.name)})"
    return [f"| {anchor} | {plain(claim.text)} | **{verdict(claim, curves)}** |" for claim in experiment.claims]


def _section(experiment: Experiment, curves: Curves, pictures: str) -> str:
    name = experiment.name
    rounds = len(curves.measured(experiment.variants[0].label, "loss")[0])
    changed = ", ".join(code(f"{key} = {_toml(value)}") for key, value in experiment.base.items())
    lines = [
        f"## {plain(name)}",
        "",
        f"**{plain(experiment.title)}.** {experiment.about}".rstrip(),
        "",
        f"{counted(rounds, 'round')}, {counted(len(curves.seeds), 'seed')}"
        f"{'' if experiment.chain else ', without the chain'}; all variants: {changed}.",
        "",
        f"![{plain(experiment.title)}]({pictures}{quote(name)}.png)",
        "",
        *_numbers(experiment, curves),
        "",
    ]
    for claim in experiment.claims:
        lines += [*_judged(claim, curves), ""]
    return "\n".join(lines)


def _numbers(experiment: Experiment, curves: Curves) -> list[str]:
    if experiment.grid:
        return robustness.table(experiment, curves)
    labels = [variant.label for variant in experiment.variants]
    final = [] if experiment.against_setting else curves.curves
    means = _costs(experiment)
    titles = [f"final {_words(curve)}" for curve in final] + [f"{_words(curve)} per round" for curve in means]
    titles = [f"{title} (n = {len(curves.seeds)})" for title in titles]
    lines = ["| variant | " + " | ".join(titles) + " |", "|---|" + "---|" * len(titles)]
    for label in labels:
        cells = [
            _text(estimate([series[-1] for series in curves.measured(label, curve)]), is_rate=curve in RATES)
            for curve in final
        ]
        for curve in means:
            unknown = curve in ADDED and not curves.knows(label, curve)
            cells.append(_text(estimate([math.nan] if unknown else curves.means(label, curve))))
        lines.append(f"| {plain(label)} | " + " | ".join(cells) + " |")
    return lines


def _costs(experiment: Experiment) -> tuple[str, ...]:
    """Return the costs that a table shows."""
    if experiment.against == "servers":
        return *OF_SERVERS, "payload_bytes"
    if experiment.panels:
        return tuple(dict.fromkeys(panel.measure for panel in experiment.panels))
    return () if experiment.against == "round" else (experiment.against,)


def _words(curve: str) -> str:
    return {"cpu_seconds": "processor seconds", "gas_used": "gas"}.get(curve, curve.replace("_", " "))


def _judged(claim: Claim, curves: Curves) -> list[str]:
    first = curves.measure(claim.variant, claim)
    kind, _, curve = claim.measure.partition("_")
    what = f"{kind} {_words(curve)}"
    if claim.rounds is not None:
        what += f" of the first {counted(claim.rounds, 'round')}" if claim.rounds > 1 else " of the first round"
    outcome = verdict(claim, curves)
    lines = [f"**{plain(claim.text)}**: **{outcome}**.", ""]
    for label in claim.than:
        second = curves.measure(label, claim)
        p = p_value(first, second, claim.relation, claim.margin)
        difference = estimate([a - b for a, b in zip(first, second, strict=True)])
        pair = [_text(estimate(each), is_rate=curve in RATES) for each in (first, second)]
        lines.append(
            f"- {what}: {plain(claim.variant)}: {pair[0]}; {plain(label)}: {pair[1]}; "
            f"difference {_text(difference, sign=True)}, claimed {_claimed(claim)}: {_p(p, difference)}"
        )
    if outcome != "holds" and claim.remark:
        lines += ["", f"Why: {claim.remark}"]
    return lines


def _claimed(claim: Claim) -> str:
    minus = "-" if claim.relation == "lower" and claim.margin else ""
    return f"{_SIGN[claim.relation]} {minus}{claim.margin:g}"


def _text(value: Estimate, *, sign: bool = False, is_rate: bool = False) -> str:
    if math.isnan(value.mean):
        return "–"
    size = max(abs(value.mean), value.half_width if not math.isnan(value.half_width) else 0)
    form = ".4f" if size < 10 else ".1f" if size < 1000 else ",.0f" if size < 1e9 else ".3g"
    plus = "+" if sign and not math.copysign(1, value.mean) < 0 else ""
    if math.isnan(value.half_width):
        return plus + format(value.mean, form)
    return plus + text_of(value.mean, value.half_width, form, is_rate=is_rate)


def _p(p: float, difference: Estimate) -> str:
    if math.isnan(difference.mean):
        return "not finite, no test"
    if math.isnan(p):
        return "one seed, no test"
    return "p < 0.0001" if p < 0.0001 else f"p = {p:.4f}"


def _toml(value: object) -> str:
    """Return a value as in the definition."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{key} = {_toml(each)}' for key, each in value.items())} }}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return f'"{value}"' if isinstance(value, str) else str(value)
