"""The inversion of updates on a small scale, and the report that the repository has."""

from importlib import import_module

import numpy as np
import pytest

from fbfl.learning.datasets import load

inversion = import_module("experiments.inversion.__main__")


@pytest.mark.parametrize(("noise", "low", "high"), [(0.0, 0.999, 1.0), (20.0, -1.0, 0.8)])
def test_one_sample_is_read_off_an_update_unless_noise_drowns_it(noise: float, low: float, high: float) -> None:
    digits = load("digits")
    x, y = digits.x_test[:6].astype(np.float32), digits.y_test[:6]
    pictures, correlations = inversion.read_off(inversion.Variant("one", noise=noise), x, y)
    assert pictures.shape == x.shape
    assert low <= correlations.mean() <= high + 1e-9
    if not noise:
        np.testing.assert_allclose(pictures, x, atol=0.01)


def test_the_report_is_what_the_repository_has() -> None:
    rows = inversion.rows_of(inversion.FOLDER / "inversion.csv")
    assert [row["update"] for row in rows] == [variant.label for variant in inversion.VARIANTS]
    assert (inversion.FOLDER / "RESULTS.md").read_text() == inversion.report(rows)
    assert inversion.table(rows) == (inversion.FOLDER / "inversion.csv").read_bytes()
