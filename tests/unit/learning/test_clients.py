"""Clients are named by whole numbers, of whatever type, and nothing that only looks like them."""

from typing import Any

import numpy as np
import pytest

from fbfl.errors import InvalidInputError
from fbfl.learning import metrics
from fbfl.learning.aggregation import foolsgold
from fbfl.learning.clients import client_numbers


@pytest.mark.parametrize(
    "given", [(2, 0), [2, 0], np.array([2, 0], np.uint8), {2: "a", 0: "b"}.keys(), range(2, -1, -2)]
)
def test_whole_numbers_of_any_kind_are_clients(given: Any) -> None:
    assert client_numbers("malicious", given, 3) == (2, 0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (1, "malicious is 1; allowed: several numbers of clients, which are 0 to 2"),
        (None, "malicious is None"),
        (np.array(1), r"malicious is array\(1\)"),
        ("01", "malicious is '01'"),
        (b"\x01", "malicious is b"),
        (["1"], "holds '1': clients are whole numbers, 0 to 2"),
        ([0.7], "holds 0.7"),
        ([1.0], "holds 1.0"),
        (np.array([1.0]), "holds np.float64.1.0.|holds 1.0"),
        ([None], "holds None"),
        ([[1, 2]], "holds .1, 2."),
        ([True, False, True], "holds True: .* give np.flatnonzero"),
        (np.array([True, False, True]), "holds True"),
        ([3], "holds 3: clients are 0 to 2"),
        ([-1], "holds -1"),
        ([float("nan")], "holds nan"),
    ],
)
def test_anything_else_is_refused(given: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        client_numbers("malicious", given, 3)


def test_all_that_names_clients_is_held_to_it() -> None:
    wrong: Any = (("01", ()), ((0,), (True,)), ((0.0,), ()))
    for selected, malicious in wrong:
        with pytest.raises(InvalidInputError, match=r"selected|malicious"):
            metrics.detection(selected, 3, malicious)
    halves: Any = [0.5, 1]
    with pytest.raises(InvalidInputError, match=r"clients holds 0\.5"):
        foolsgold(np.eye(2, dtype=np.float32), clients=halves)
