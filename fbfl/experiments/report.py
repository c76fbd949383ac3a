"""RESULTS.md: every claim beside our numbers, and whether it holds. Written from the tables alone."""

import math
from collections.abc import Iterable
from pathlib import Path

from fbfl.atomic import write_atomically
from fbfl.errors import StorageError
from fbfl.experiments.definition import Claim, Experiment
from fbfl.experiments.results import Curves
from fbfl.experiments.statistics import LEVEL, Estimate, estimate, p_value

_SIGN = {"higher": ">", "lower": "<", "equal": "within ±", "different": "≠"}

_HEAD = """# Results

Written by `fbfl experiment` from the tables beside the pictures; `fbfl experiment all --resume` writes it again from
the stored runs. Every run goes through the whole system: contracts, payloads, consensus.

± is half of the 95 % confidence interval of the mean over seeds (Student's t). A claim **holds** if a paired t-test
across equal seeds says so at 5 %: one-sided, against the margin if there is one; two one-sided tests for "within";
two-sided for "different". It is **not shown** if the means agree with it, but differ too little for the test. Otherwise
it **does not hold**. A claim about several pairs is judged by the worst. Nothing was tuned to make a claim come true.
"""


def write_report(path: Path, experiments: Iterable[tuple[Experiment, Curves]], pictures: str) -> None:
    """Write the report on experiments with their curves; `pictures` is the folder of the pictures as seen from it."""
    found = list(experiments)
    lines = [_HEAD, _overview(found)]
    for experiment, curves in found:
        lines += [_section(experiment, curves, pictures)]
    try:
        write_atomically(path, "\n".join(lines).encode())
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror}") from error


def verdict(claim: Claim, curves: Curves) -> str:
    """`holds`, `not shown`, `does not hold`, or `cannot be tested` where there are fewer than two seeds."""
    if len(curves.seeds) < 2:
        return "cannot be tested"
    first = curves.measure(claim.variant, claim)
    worst = "holds"
    for label in claim.than:
        second = curves.measure(label, claim)
        difference = estimate(first).mean - estimate(second).mean
        if not _agrees(difference, claim):
            return "does not hold"
        if not p_value(first, second, claim.relation, claim.margin) < 1 - LEVEL:
            worst = "not shown"
    return worst


def _agrees(difference: float, claim: Claim) -> bool:
    """Whether the means alone agree with a claim."""
    if claim.relation == "higher":
        return difference > claim.margin
    if claim.relation == "lower":
        return difference < -claim.margin
    return difference != 0 if claim.relation == "different" else abs(difference) < claim.margin


def _overview(found: list[tuple[Experiment, Curves]]) -> str:
    lines = ["| experiment | claim | verdict |", "|---|---|---|"]
    for experiment, curves in found:
        for claim in experiment.claims:
            anchor = f"[{experiment.name}](#{experiment.name})"
            lines.append(f"| {anchor} | {claim.text} | **{verdict(claim, curves)}** |")
    return "\n".join(lines) + "\n"


def _section(experiment: Experiment, curves: Curves, pictures: str) -> str:
    name = experiment.name
    rounds = len(curves.measured(experiment.variants[0].label, "accuracy")[0])
    changed = ", ".join(f"`{key} = {_toml(value)}`" for key, value in experiment.base.items())
    lines = [
        f"## {name}",
        "",
        f"**{experiment.title}.** {experiment.about}".rstrip(),
        "",
        f"{rounds} rounds, {len(curves.seeds)} seeds; all variants: {changed}.",
        "",
        f"![{experiment.title}]({pictures}{name}.png)",
        "",
        *_numbers(experiment, curves),
        "",
    ]
    for claim in experiment.claims:
        lines += [*_judged(claim, curves), ""]
    return "\n".join(lines)


def _numbers(experiment: Experiment, curves: Curves) -> list[str]:
    labels = [variant.label for variant in experiment.variants]
    shown = [
        (curve, title)
        for curve, title in (("accuracy", "accuracy"), ("loss", "loss"), ("attack_success_rate", "attack success rate"))
        if all(series for label in labels for series in curves.measured(label, curve))
    ]
    lines = ["| variant | " + " | ".join(f"final {title}" for _, title in shown) + " |"]
    lines.append("|---|" + "---|" * len(shown))
    for label in labels:
        cells = [_text(estimate([series[-1] for series in curves.measured(label, curve)])) for curve, _ in shown]
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return lines


def _judged(claim: Claim, curves: Curves) -> list[str]:
    first = curves.measure(claim.variant, claim)
    what = claim.measure.replace("_", " ")
    if claim.rounds is not None:
        what += f" of the first {claim.rounds} rounds"
    outcome = verdict(claim, curves)
    lines = [f"**{claim.text}**: **{outcome}**.", ""]
    for label in claim.than:
        second = curves.measure(label, claim)
        p = p_value(first, second, claim.relation, claim.margin)
        difference = estimate([a - b for a, b in zip(first, second, strict=True)])
        lines.append(
            f"- {what}: {claim.variant} {_text(estimate(first))}, {label} {_text(estimate(second))}; "
            f"difference {_text(difference, sign=True)}, claimed {_claimed(claim)}: {_p(p)}"
        )
    if outcome != "holds" and claim.remark:
        lines += ["", f"Why: {claim.remark}"]
    return lines


def _claimed(claim: Claim) -> str:
    minus = "-" if claim.relation == "lower" and claim.margin else ""
    return f"{_SIGN[claim.relation]} {minus}{claim.margin:g}"


def _text(value: Estimate, *, sign: bool = False) -> str:
    form = "+.4f" if sign else ".4f"
    if max(abs(value.mean), value.half_width if not math.isnan(value.half_width) else 0) >= 1000:
        form = "+.3g" if sign else ".3g"
    if math.isnan(value.half_width):
        return format(value.mean, form)
    return f"{value.mean:{form}} ± {value.half_width:{form.lstrip('+')}}"


def _p(p: float) -> str:
    if math.isnan(p):
        return "one seed, no test"
    return "p < 0.0001" if p < 0.0001 else f"p = {p:.4f}"


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)
