import json
from collections.abc import Iterator
from typing import Any

import pytest
from web3.contract import Contract

from fbfl.chain.artifacts import Artifact, parse_artifact
from fbfl.chain.compile import REPOSITORY
from fbfl.chain.embedded.chain import EmbeddedChain, start_chain

MINIMUM = 5


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


def deploy_ledger(chain: EmbeddedChain, artifact: Artifact) -> Contract:
    factory = chain.w3.eth.contract(abi=artifact.abi, bytecode=artifact.bytecode)
    transaction = factory.constructor(chain.accounts[0], MINIMUM).transact({"gas": 2_000_000})
    address: Any = chain.w3.eth.get_transaction_receipt(transaction)["contractAddress"]
    return chain.w3.eth.contract(address=address, abi=artifact.abi)
