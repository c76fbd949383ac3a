"""What it takes for attacks that hide within the honest spread to harm: the way from the grid of `defences`, in steps.

ALIE, Min-Max and Min-Sum push by about as much as honest updates differ, always the same way. In `defences` they cost
no rule anything. Here the same 8 of 20 servers attack FedAvg on the same data, in all directions, for longer, with
single steps instead of epochs, and with momentum: what the studies beside this one have, where the attacks harm.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.external import accuracies
from experiments.external.study import Row, Study
from fbfl.learning import attacks, datasets, partition
from fbfl.learning.federation import Federation

NUM_SERVERS, NUM_CORRUPT = 20, 8
STEPS: dict[str, Any] = {"optimizer": "sgd", "learning_rate": 0.1, "local_steps": 1}
VARIANTS: dict[str, tuple[int, dict[str, Any]]] = {
    "6 epochs of Adam, as in `defences`": (6, {"learning_rate": 0.003}),
    "60 epochs of Adam": (60, {"learning_rate": 0.003}),
    "420 steps of SGD": (420, STEPS),
    "420 steps of SGD, momentum": (420, {**STEPS, "server_optimizer": "momentum"}),
}
"""Rounds and settings: an epoch is seven steps."""
ATTACKS: dict[str, dict[str, Any]] = {
    "": {},
    "alie": {},
    "alie:1.5": {"z": 1.5},
    **{
        f"{name}:{direction}": {"deviation": direction}
        for name in ("min_max", "min_sum")
        for direction in ("std", "sign", "unit")
    },
}


def run(cell: Mapping[str, str], seed: int) -> Row:
    """Play all rounds; the best accuracy of all global models, and that of the last."""
    data = datasets.load("mnist-5k")
    rounds, settings = VARIANTS[cell["variant"]]
    name = cell["attack"]
    federation = Federation(
        [(data.x_train[own], data.y_train[own]) for own in partition.iid(data.y_train, NUM_SERVERS, seed=seed)],
        (data.x_test, data.y_test),
        attack=attacks.resolve(name.partition(":")[0], **ATTACKS[name]) if name else None,
        malicious=range(NUM_CORRUPT) if name else (),
        seed=seed,
        lanes=1,
        **settings,
    )
    return accuracies.outcome(federation, rounds)


def section(rows: Sequence[Row]) -> str:
    """Return what RESULTS.md says about the runs so far."""
    lines = [_ABOUT, "| variant | seeds | " + " | ".join(attack or "none" for attack in ATTACKS) + " |"]
    lines.append("|---|---|" + "---|" * len(ATTACKS))
    for variant in VARIANTS:
        of_attacks = [
            [float(row["last_accuracy"]) for row in rows if (row["variant"], row["attack"]) == (variant, attack)]
            for attack in ATTACKS
        ]
        seeds = sorted({len(each) for each in of_attacks if each})
        means = [accuracies.with_margin(each) if each else "not run" for each in of_attacks]
        lines.append(f"| {variant} | {', '.join(map(str, seeds)) or 0} | {' | '.join(means)} |")
    return "\n".join([*lines, "", _WHY])


_ABOUT = """## Why ALIE, Min-Max and Min-Sum cost nothing in `defences`

`python -m experiments.external hiding`: 8 of 20 attack FedAvg on `mnist-5k`, as there. Accuracy of the last model, the
mean over seeds; ± is half of its 95 % confidence interval. 60 epochs see as many samples as 420 steps. `alie` has the z
that its authors' formula gives for these numbers (0.67), `alie:1.5` that of their experiments; `std`, `sign` and `unit`
are directions. Momentum is the server's.
"""

_WHY = """- **Direction.** `std`, the default and what `defences` has, moves every coordinate down by its share,
  wherever training goes, and costs half a point. Against the mean of the honest (`sign`, `unit`) the same two attacks
  cost three to five points, at the settings of `defences` and all else equal.
- **Steps instead of epochs.** The attacks keep to how far honest updates are apart. With one step of SGD in a round,
  on a batch each, that lets them cost two to three points with `std` and twelve to twenty-one with `sign` and `unit`.
  Ten times as many epochs of Adam change little.
- **Momentum at the server** adds up what pushes the same way in every round: eight to ten points with `std`, over
  twenty with the others. The last model swings then, so that seeds differ by up to seventeen points. Momentum is not
  needed for harm, as the section above shows, too.
- **Length.** ALIE's own z is small where 8 of 20 attack, and costs half a point, with momentum one. With 1.5 it costs
  one point in `defences`, three with single steps, thirteen with momentum.
- **Updates or weights.** To aggregate weights instead makes no difference to ALIE and `std`, nor to the mean, which
  move with the point that updates start from; `sign` and `unit` are those of the mean update, as their authors have it.
"""


CELLS: Sequence[Row] = [{"variant": variant, "attack": attack} for variant in VARIANTS for attack in ATTACKS]
STUDY = Study("hiding", CELLS, accuracies.OUTCOMES, run, section)
