"""Attacks on federated learning: plain functions on data or updates, with their parameters as keyword arguments.

Data attacks map ``(x, y, rng) -> (x, y)``; update attacks map ``(honest updates, own update, rng) -> update``.
``resolve("label_flipping", fraction=0.5)`` gives an `Attack` that a federation calls.
"""

from fbfl.learning.attacks.backdoor import (
    backdoor,
    bar_trigger,
    distributed_backdoor,
    edge_case,
    rare_samples,
    square_trigger,
)
from fbfl.learning.attacks.data import (
    data_poisoning,
    label_flipping,
    random_label_flipping,
    targeted_label_flipping,
)
from fbfl.learning.attacks.fang import fang_gaussian, fang_krum, fang_krum_partial, fang_trim, fang_trim_partial
from fbfl.learning.attacks.lookup import Attack, resolve
from fbfl.learning.attacks.registry import ATTACKS, version_of
from fbfl.learning.attacks.updates import (
    a_little_is_enough,
    gaussian_noise,
    inner_product_manipulation,
    mimic,
    min_max,
    min_sum,
    model_poisoning,
    model_replacement,
    neurotoxin,
    same_value,
    scaling,
    sign_flipping,
)

__all__ = [
    "ATTACKS",
    "Attack",
    "a_little_is_enough",
    "backdoor",
    "bar_trigger",
    "data_poisoning",
    "distributed_backdoor",
    "edge_case",
    "fang_gaussian",
    "fang_krum",
    "fang_krum_partial",
    "fang_trim",
    "fang_trim_partial",
    "gaussian_noise",
    "inner_product_manipulation",
    "label_flipping",
    "mimic",
    "min_max",
    "min_sum",
    "model_poisoning",
    "model_replacement",
    "neurotoxin",
    "random_label_flipping",
    "rare_samples",
    "resolve",
    "same_value",
    "scaling",
    "sign_flipping",
    "square_trigger",
    "targeted_label_flipping",
    "version_of",
]
