"""The settings of McMahan et al. 2017 and the rule by which they count rounds."""

import numpy as np
import pytest

from experiments.external import mcmahan2017
from fbfl.learning import partition


@pytest.mark.parametrize(
    ("accuracies", "rounds"),
    [
        ([0.90, 0.96, 0.98], 2.5),
        ([0.90, 0.96, 0.93, 0.98], 3.5),  # The dip is made level first.
        ([0.90, 0.97], 2.0),
        ([0.99, 0.10], 1.0),
        ([0.90, 0.96], None),
        ([], None),
    ],
)
def test_the_best_so_far_is_interpolated_where_it_crosses_the_target(accuracies, rounds):
    assert mcmahan2017.rounds_to_target(accuracies, 0.97) == (None if rounds is None else pytest.approx(rounds))


@pytest.mark.parametrize("name", ["iid", "shards"])
def test_each_of_100_clients_has_600_samples_and_two_shards_hold_few_digits(name):
    labels = np.repeat(np.arange(10), 6000)
    split = partition.resolve(name, **mcmahan2017.PARTITION_SETTINGS[name])
    parts = split(labels, mcmahan2017.NUM_CLIENTS, seed=0)
    assert [part.size for part in parts] == [600] * 100
    digits = max(np.unique(labels[part]).size for part in parts)
    assert digits == 10 if name == "iid" else digits <= 2
