"""What tests of servers begin with."""

from pathlib import Path

import pytest

from tests.support.faulty_store import FaultyStore


@pytest.fixture
def store(tmp_path: Path) -> FaultyStore:
    return FaultyStore(tmp_path)
