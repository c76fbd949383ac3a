import json
from collections.abc import Iterator

import pytest
from web3.contract import Contract

from fbfl.chain.artifacts import Artifact, parse_artifact
from fbfl.chain.embedded.chain import EmbeddedChain, start_chain
from tests.support.paths import REPOSITORY
from tests.unit.chain.ledger_contract import deploy_ledger


@pytest.fixture(scope="session")
def ledger_artifact() -> Artifact:
    text = (REPOSITORY / "tests" / "contracts" / "artifacts" / "Ledger.json").read_text()
    return parse_artifact("Ledger", json.loads(text))


@pytest.fixture(scope="session")
def session_chain() -> EmbeddedChain:
    return start_chain(6)


@pytest.fixture(scope="session")
def session_ledger(session_chain: EmbeddedChain, ledger_artifact: Artifact) -> Contract:
    return deploy_ledger(session_chain, ledger_artifact)


@pytest.fixture
def chain(session_chain: EmbeddedChain, session_ledger: Contract) -> Iterator[EmbeddedChain]:
    """One chain for the session, back to where it was after each test."""
    before = session_chain.snapshot()
    miner = session_chain.chain.miner
    yield session_chain
    session_chain.revert(before)
    session_chain.chain.miner = miner


@pytest.fixture
def ledger(chain: EmbeddedChain, session_ledger: Contract) -> Contract:
    return session_ledger
