import random

import pytest

from tests.contracts.abi import Contract, deploy_contract
from tests.contracts.compiled import compiled_for_tests
from tests.contracts.deployment import Deployment

FULL = (1 << 240) - 1
SETS = [1, 2, 0b1011, 1 << 239, FULL, FULL ^ 1 << 100, *(random.Random(n).getrandbits(240) for n in range(6))]


@pytest.fixture
def libraries(deployment: Deployment) -> Contract:
    return deploy_contract(deployment.chain, compiled_for_tests("Libraries"))


def test_count_equals_the_number_of_ones(libraries: Contract) -> None:
    assert [libraries.count(bitmap) for bitmap in [0, *SETS]] == [bitmap.bit_count() for bitmap in [0, *SETS]]
    assert libraries.count(2**255 - 1) == 255


def test_select_finds_the_kth_seat(libraries: Contract) -> None:
    for bitmap in SETS:
        seats = [seat for seat in range(240) if bitmap >> seat & 1]
        for k in {0, len(seats) // 2, len(seats) - 1}:
            assert libraries.select(bitmap, k) == seats[k]


def test_lowest_free_is_the_first_seat_not_taken(libraries: Contract) -> None:
    for bitmap in [0, *SETS]:
        assert libraries.lowestFree(bitmap) == next(seat for seat in range(256) if not bitmap >> seat & 1)
