"""The election by mined blocks: headers prove who mined, whatever chain they come from.

The chain here is a mock in one respect only: nobody had to work for its blocks.
"""

from collections.abc import Callable
from dataclasses import replace

import pytest
import rlp
from eth_hash.auto import keccak

from tests.contracts.abi import NOBODY, Account, deploy_contract, reverts
from tests.contracts.blocks import BlockChain, in_blocks
from tests.contracts.compiled import compiled_for_tests
from tests.contracts.deployment import Deployment
from tests.contracts.federation import Federation, Settings

pytestmark = pytest.mark.blocks
MODEL = keccak(b"new")


def header_of(chain: BlockChain, number: int) -> bytes:
    """The block's header as it is hashed."""
    header: bytes = rlp.encode(chain.chain.get_canonical_block_header_by_number(number))
    assert keccak(header) == chain.chain.get_canonical_block_hash(number)
    return header


def elect(federation: Federation, miner: Account, confirmations: int = 1) -> bytes:
    """A decision whose first electing block, the one after the closing one, is of this miner; returns the proof."""
    federation.open()
    for member in federation.members:
        federation.submit(member)
    federation.poke()
    in_blocks(federation.chain).set_miner(miner)
    federation.chain.mine(1 + confirmations)
    return header_of(in_blocks(federation.chain), electing_block(federation))


def electing_block(federation: Federation) -> int:
    return int(federation.state.round.closingBlock) + 1


@pytest.mark.parametrize(("confirmations", "spacing", "delay"), [(0, 10, 1), (200, 10, 1), (1, 0, 1), (1, 10, 0)])
def test_parameters_that_cannot_work_are_refused(
    deployment: Deployment, confirmations: int, spacing: int, delay: int
) -> None:
    settings = replace(Settings(), consensus="ethash", confirmations=confirmations, spacing=spacing, delay=delay)
    with reverts("EthashBadParameters", confirmations=confirmations, spacing=spacing, delay=delay):
        deployment.tasks.createTask(settings.encoded(deployment), by=deployment.owner)


def test_a_header_names_its_miner(deployment: Deployment, chain: BlockChain, servers: list[Account]) -> None:
    libraries = deploy_contract(chain, compiled_for_tests("Libraries"))
    for miner in servers[:2]:
        chain.set_miner(miner)
        chain.mine()
        assert libraries.coinbaseOf(header_of(chain, chain.block_number)) == miner.address


def test_the_miner_of_the_block_after_the_closing_one_leads(
    found: Callable[..., Federation], servers: list[Account]
) -> None:
    federation: Federation = found(4, consensus="ethash")
    proof = elect(federation, servers[2])
    assert federation.decision.leader == NOBODY  # the contract learns it from the proof
    with reverts("ConsensusNotLeader", task=federation.task, proposer=servers[0].address, leader=servers[2].address):
        federation.propose(servers[0], MODEL, proof=proof)
    federation.propose(servers[2], MODEL, proof=proof)
    assert federation.decision.proposer == servers[2].address


def test_nobody_proposes_before_the_confirmations(found: Callable[..., Federation], servers: list[Account]) -> None:
    federation: Federation = found(4, consensus="ethash", confirmations=3)
    proof = elect(federation, servers[2], confirmations=0)
    electing = electing_block(federation)
    assert federation.consensus.electionOf(federation.task, 0) == [electing, electing + 3]
    for _ in range(2):
        with reverts("EthashTooEarly", task=federation.task, fromBlock=electing + 3):
            federation.propose(servers[2], MODEL, proof=proof)  # the refused call is mined, too
    federation.propose(servers[2], MODEL, proof=proof)


def test_a_later_view_elects_by_a_later_block(found: Callable[..., Federation], servers: list[Account]) -> None:
    federation: Federation = found(4, consensus="ethash", spacing=3)
    elect(federation, servers[2])
    federation.time_out()
    electing = electing_block(federation)
    in_blocks(federation.chain).set_miner(servers[3])
    while federation.chain.block_number < electing + 4:
        federation.chain.mine()
    assert federation.consensus.electionOf(federation.task, 1) == [electing + 3, electing + 4]
    with reverts("EthashWrongHeader", task=federation.task, electingBlock=electing + 3):
        federation.propose(servers[2], MODEL, proof=header_of(in_blocks(federation.chain), electing))
    federation.propose(servers[3], MODEL, proof=header_of(in_blocks(federation.chain), electing + 3))


@pytest.mark.parametrize("stranger", [True, False])
def test_any_member_proposes_where_the_miner_may_not(
    found: Callable[..., Federation], servers: list[Account], stranger: bool
) -> None:
    federation: Federation = found(4, consensus="ethash", spacing=1)
    miner = servers[9] if stranger else servers[1]
    elect(federation, miner)
    proof = header_of(in_blocks(federation.chain), electing_block(federation))
    if not stranger:  # it proposes and is voted down, then mines the next electing block as well
        federation.propose(miner, MODEL, proof=proof)
        for member in (servers[0], servers[2], servers[3]):
            federation.vote(member, accept=False)
        federation.chain.mine()
        proof = header_of(in_blocks(federation.chain), electing_block(federation) + 1)
        with reverts("ConsensusBarred", task=federation.task, proposer=miner.address):
            federation.propose(miner, MODEL, proof=proof)
    federation.propose(servers[3], MODEL, proof=proof)
    assert federation.decision.proposer == servers[3].address


def test_strangers_never_propose(found: Callable[..., Federation], servers: list[Account]) -> None:
    federation: Federation = found(4, consensus="ethash")
    proof = elect(federation, servers[9])
    with reverts("TasksNotMember", task=federation.task, account=servers[9].address):
        federation.propose(servers[9], MODEL, proof=proof)


def test_after_the_proof_window_any_member_proposes(found: Callable[..., Federation], servers: list[Account]) -> None:
    federation: Federation = found(4, consensus="ethash", timeout=1000, timeout_cap=1000)
    elect(federation, servers[2])
    federation.chain.mine(199)
    electing = electing_block(federation)
    assert federation.chain.block_number == electing + 200
    federation.propose(servers[0], MODEL, proof=b"")
    assert federation.decision.proposer == servers[0].address


def test_inside_the_proof_window_a_proof_is_needed(found: Callable[..., Federation], servers: list[Account]) -> None:
    federation: Federation = found(4, consensus="ethash", timeout=1000, timeout_cap=1000)
    elect(federation, servers[2])
    federation.chain.mine(198)
    electing = electing_block(federation)
    assert federation.chain.block_number == electing + 199
    with reverts("EthashWrongHeader", task=federation.task, electingBlock=electing):
        federation.propose(servers[0], MODEL, proof=b"")


def test_the_vote_is_by_majority(found: Callable[..., Federation], servers: list[Account]) -> None:
    federation: Federation = found(4, consensus="ethash")
    proof = elect(federation, servers[2])
    federation.propose(servers[2], MODEL, proof=proof)
    for member in servers[:2]:
        receipt = federation.vote(member)
    assert receipt.named("RoundFinalized")
