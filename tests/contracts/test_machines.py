"""The two chains of the tests agree: what is shown on revm holds on py-evm's signed transactions and real blocks."""

from dataclasses import replace
from typing import Any

import pytest
from eth_hash.auto import keccak

from tests.contracts.abi import Chain, reverts
from tests.contracts.blocks import BlockChain
from tests.contracts.deployment import deploy
from tests.contracts.federation import Federation, Settings, Stage

revm = pytest.importorskip("tests.contracts.revm", reason="pyrevm is not installed")


def story(chain: Chain, settings: Settings) -> str:
    """Rounds with a bit of everything; returns all that was emitted, and the state at the end.

    The values that were voted on, which bind block hashes, are called by their number.
    """
    told: list[Any] = []
    values: list[bytes] = []
    federation = Federation(deploy(chain), settings, chain.accounts[1:5])
    transact = chain.transact

    def listen(*arguments: Any, **options: Any) -> Any:
        receipt = transact(*arguments, **options)
        told.append(receipt.events)
        return receipt

    chain.transact = listen  # type: ignore[method-assign]
    federation.collect(federation.members[:3])
    federation.report(federation.members[0], by=federation.members[1])
    federation.propose(federation.leader(), keccak(b"wrong"))
    values.append(federation.decision.proposal)
    proposer = federation.decision.proposer
    for member in federation.members:
        if member.address != proposer:
            federation.vote(member, accept=False)
    with reverts("ConsensusWrongStage", task=1, stage=Stage.PREPARE, current=Stage.PROPOSE):
        federation.vote(federation.members[0], stage=Stage.PREPARE)
    federation.time_out()
    federation.propose(federation.leader(), keccak(b"right"))
    ballot = federation.ballot()
    values.append(ballot.digest)
    signatures = [federation.signed_vote(member, ballot) for member in federation.members]
    federation.consensus.attestSigned(1, 1, ballot.view, ballot.stage, ballot.digest, signatures, by=chain.accounts[9])
    chain.mine(3)
    federation.tasks.resign(1, by=federation.members[3])
    told.append(federation.state)
    text = repr(told)
    for number, value in enumerate(values):
        assert repr(value) in text
        text = text.replace(repr(value), f"value {number}")
    return text


@pytest.mark.parametrize("consensus", ["pow", "pbft"])
def test_both_machines_tell_the_same_story(consensus: str) -> None:
    # Block hashes differ, so only a puzzle that every nonce solves has the same solution on both.
    settings = replace(Settings(), consensus=consensus, rejection_penalty=100, target=2**256 - 1)
    assert story(revm.Revm(10), settings) == story(BlockChain(10), settings)
