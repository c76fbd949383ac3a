"""Test error of robust rules under attack on MNIST: Fang et al. 2020 (USENIX Security), Table 2a.

Multi-class logistic regression; m = 100 workers, c = 20 of them malicious, p = 0.5; every worker takes one step on 32
samples of its own a round, 500 rounds; the trimmed mean drops c values per side, Krum is told c. The columns "no
attack", "Gaussian" and "label flipping".

The paper gives no learning rate. Public copies of its authors' code for this classifier have 0.003 as the default, for
the gradient summed over the batch, which is 0.096 for its mean.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.external.study import Row, Study
from fbfl.learning import datasets, partition
from fbfl.learning.federation import Federation
from fbfl.runs.measures import text_of
from fbfl.system.statistics import estimate

NUM_WORKERS, NUM_MALICIOUS, BIAS = 100, 20, 0.5
BATCH_SIZE, ROUNDS = 32, 500
LEARNING_RATE = 0.003 * BATCH_SIZE
RULES: dict[str, dict[str, int]] = {
    "krum": {"num_byzantine": NUM_MALICIOUS},
    "trimmed_mean": {"trim": NUM_MALICIOUS},
    "median": {},
}
ATTACKS = ("", "fang_gaussian", "label_flipping")
PUBLISHED = {
    ("krum", ""): 0.14,
    ("krum", "fang_gaussian"): 0.13,
    ("krum", "label_flipping"): 0.13,
    ("trimmed_mean", ""): 0.12,
    ("trimmed_mean", "fang_gaussian"): 0.11,
    ("trimmed_mean", "label_flipping"): 0.13,
    ("median", ""): 0.13,
    ("median", "fang_gaussian"): 0.13,
    ("median", "label_flipping"): 0.15,
}


def logistic_regression() -> Any:
    """Return a Keras model of one linear layer to ten logits."""
    import keras

    return keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(10)])


def run(cell: Mapping[str, str], seed: int) -> Row:
    """Play all rounds; the error is that of the last global model."""
    data = datasets.load("mnist")
    parts = partition.label_bias(data.y_train, NUM_WORKERS, BIAS, seed=seed)
    federation = Federation(
        [(data.x_train[own], data.y_train[own]) for own in parts],
        (data.x_test, data.y_test),
        model=logistic_regression,
        aggregator=cell["aggregator"],
        aggregator_args=RULES[cell["aggregator"]],
        attack=cell["attack"] or None,
        malicious=range(NUM_MALICIOUS) if cell["attack"] else (),  # the partition deals labels to workers at random
        batch_size=BATCH_SIZE,
        optimizer="sgd",
        learning_rate=LEARNING_RATE,
        local_steps=1,
        seed=seed,
        lanes=1,
    )
    started = time.perf_counter()
    *_, last = federation.rounds(ROUNDS)
    return {"test_error": f"{1 - last.accuracy:.4f}", "seconds": f"{time.perf_counter() - started:.0f}"}


def section(rows: Sequence[Row]) -> str:
    """Return what RESULTS.md says about the runs so far."""
    lines = [_ABOUT, "| rule | attack | published | seeds | ours | ratio |", "|---|---|---|---|---|---|"]
    apart = []
    for (rule, attack), published in PUBLISHED.items():
        cell = f"| {rule} | {attack or 'none'} | {published:.2f} "
        errors = [float(row["test_error"]) for row in rows if (row["aggregator"], row["attack"]) == (rule, attack)]
        if not errors:
            lines.append(f"{cell}| 0 | not run | |")
            continue
        error = estimate(errors)
        shown = f"{error.mean:.3f}"
        if len(errors) > 1:
            shown = text_of(error.mean, error.half_width, ".3f", is_rate=True)
        ratio = error.mean / published
        lines.append(f"{cell}| {len(errors)} | {shown} | {ratio:.2f} |")
        apart += [f"{rule} with {attack or 'no attack'}"] if abs(ratio - 1) > 0.2 else []
    return "\n".join([*lines, "", f"More than a fifth apart: {', '.join(apart) or 'none'}.", "", _ABOUT_RATE])


_ABOUT = """## Fang et al. 2020: test error of robust rules on MNIST, logistic regression

Table 2a of "Local Model Poisoning Attacks to Byzantine-Robust Federated Learning", columns NoAttack, Gaussian and
LabelFlip: error of the last of 500 global models; m = 100, c = 20, p = 0.5, one step of SGD on 32 samples a round. The
paper has the mean of 50 trials. ± is half of the 95 % confidence interval over seeds.
"""

_ABOUT_RATE = """The learning rate is not in the paper. Copies of its authors' code for this classifier that others have
published have 0.003, for a gradient summed over the batch: 0.096 for the mean gradient, as used here, with no other
value tried.

Not run: Table 2b, the same with a convolutional network (2,000 rounds each), and the columns of the authors' own
attacks (`fang_krum`, `fang_trim` and their `_partial` forms are there).
"""

CELLS: Sequence[Row] = [{"aggregator": rule, "attack": attack} for rule in RULES for attack in ATTACKS]
STUDY = Study("fang2020", CELLS, ("test_error", "seconds"), run, section)
