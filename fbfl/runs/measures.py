"""Measures of the global model after every round, as metrics.jsonl names them, and their words in pictures."""

from collections.abc import Mapping

CURVES: Mapping[str, str] = {
    "accuracy": "test accuracy",
    "loss": "test loss (cross-entropy)",
    "attack_success_rate": "attack success rate",
}

PANELS = tuple((name, CURVES[name]) for name in ("accuracy", "attack_success_rate", "loss"))
"""The panels of a picture, from the left."""
