"""Gas of the calls of a round, measured on real blocks; and of publishing a hash elsewhere."""

import json
from dataclasses import replace
from pathlib import Path

from eth_hash.auto import keccak

from fbfl.chain.digests import update_commitment
from tests.contracts.abi import Account, Contract, deploy_contract
from tests.contracts.blocks import BlockChain
from tests.contracts.compiled import compiled_for_tests
from tests.contracts.deployment import Deployment, deploy
from tests.contracts.federation import Federation, Settings, Stage, drawn_in, register, update_of

SNAPSHOT = Path(__file__).parent / "gas.json"

CEILINGS = {
    "submit, 5 servers": 44_000,
    "submit, 100 servers": 44_000,
    "vote (pow)": 38_000,
    "vote (pbft prepare)": 38_000,
    "vote (pbft commit)": 38_000,
    "submit in a batch of 100, each": 12_000,
    "pbft finalisation by signatures, 100 members": 8_000 * (66 + 67) + 2 * 40_000,  # signatures and transactions
}
"""Gas that a call must not exceed, whatever the snapshot says."""

BASELINES = ("32 bytes and nothing else", "string CID and scan, 5 servers", "string CID and scan, 100 servers")
"""Calls that are measured for comparison only."""

_CID = "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"


def measure() -> dict[str, int]:
    """Gas by call, from a server's second round on where the first differs."""
    chain = BlockChain(101)
    deployment = deploy(chain)
    servers = chain.accounts[1:]
    return {
        **_small(deployment, servers[:5]),
        **_votes(deployment, servers[:5]),
        **_hidden(deployment, servers[:5]),
        **_drawn(deployment, servers[:5]),
        **_large(deployment, servers),
        **_baselines(chain, servers),
    }


def snapshot() -> dict[str, int]:
    """The figures that are checked in."""
    return dict(json.loads(SNAPSHOT.read_text()))


def write_snapshot(figures: dict[str, int]) -> None:
    SNAPSHOT.write_text(json.dumps(figures, indent=2) + "\n")


def _small(deployment: Deployment, servers: list[Account]) -> dict[str, int]:
    federation = Federation(deployment, Settings(), servers[:4])
    register(deployment, servers[4])
    join = federation.enlist(servers[4]).gas
    federation.finish(keccak(b"first"))
    opened = federation.tasks.openRound(federation.task, by=servers[0]).gas
    submit = max(federation.submit(server).gas for server in servers)
    close = federation.poke().gas
    report = federation.report(servers[0], by=servers[1]).gas
    propose = federation.propose(servers[0], keccak(b"second")).gas
    vote = federation.vote(servers[1]).gas
    return {
        "join": join,
        "open a round": opened,
        "submit, 5 servers": submit,
        "close the submissions (pow)": close,
        "report a missing payload": report,
        "propose (pow)": propose,
        "vote (pow)": vote,
        "vote that decides (pow)": federation.vote(servers[2]).gas,
    }


def _drawn(deployment: Deployment, servers: list[Account]) -> dict[str, int]:
    """Calls of a task that draws who submits; and the dearest draw of twenty among as many seats as there can be."""
    federation = Federation(deployment, Settings(participation=6000, seed=1), servers)
    for _ in range(2):
        number = federation.open()
        submit = max(federation.submit(server).gas for server in drawn_in(federation, number))
        federation.poke()
        federation.decide(keccak(b"%d" % number))
    opened = federation.tasks.openRound(federation.task, by=servers[0]).gas
    libraries, everybody = deploy_contract(deployment.chain, compiled_for_tests("Libraries")), (1 << 240) - 1
    asked = [libraries.encode("draw", everybody, 120, 7, number) for number in range(20)]
    return {
        "open a round that draws 3 of 5": opened,
        "submit, drawn 3 of 5": submit,
        "draw 120 of 240 seats": max(
            deployment.chain.transact(servers[0], libraries.address, data).gas for data in asked
        ),
    }


def _votes(deployment: Deployment, servers: list[Account]) -> dict[str, int]:
    federation = Federation(deployment, Settings(consensus="pbft"), servers)
    federation.finish(keccak(b"first"))
    federation.collect()
    leader = federation.leader()
    figures = {"propose (pbft)": federation.propose(leader, keccak(b"second")).gas}
    one, two, three, _ = (server for server in servers if server != leader)
    figures["vote (pbft prepare)"] = max(federation.vote(one).gas, federation.vote(two).gas)
    figures["vote that prepares (pbft)"] = federation.vote(three).gas
    figures["vote (pbft commit)"] = max(federation.vote(server).gas for server in (leader, one, two))
    figures["vote that decides (pbft)"] = federation.vote(three).gas
    return figures


def _hidden(deployment: Deployment, servers: list[Account]) -> dict[str, int]:
    federation = Federation(deployment, Settings(commit_window=500), servers)
    tasks, task, salt = federation.tasks, federation.task, keccak(b"salt")
    for number in (1, 2):
        federation.open()
        commit = reveal = 0
        for server in servers:
            commitment = update_commitment(federation.domain, number, server.address, update_of(server), 100, 10, salt)
            commit = max(commit, tasks.commit(task, number, commitment, by=server).gas)
        federation.poke()
        for server in servers:
            reveal = max(reveal, tasks.reveal(task, number, update_of(server), 100, 10, salt, by=server).gas)
        federation.poke()
        federation.decide(keccak(b"%d" % number))
    return {"commit": commit, "reveal": reveal}


def _large(deployment: Deployment, servers: list[Account]) -> dict[str, int]:
    federation = Federation(deployment, Settings(consensus="pbft"), servers)
    chain, tasks, task = deployment.chain, federation.tasks, federation.task
    federation.open()
    batch = [federation.signed_update(server) for server in servers]
    tasks.submitBatch(task, 1, batch, by=servers[0], gas=20_000_000)
    federation.poke()
    _finish_by_signatures(federation)
    federation.open()
    fork = chain.snapshot()
    submit = max(federation.submit(server).gas for server in (servers[0], servers[50], servers[99]))
    chain.revert(fork)
    batch = [federation.signed_update(server) for server in servers]
    in_batch = tasks.submitBatch(task, 2, batch, by=servers[0], gas=20_000_000).gas
    federation.poke()
    return {
        "submit, 100 servers": submit,
        "submit in a batch of 100, each": -(-in_batch // 100),
        "pbft finalisation by signatures, 100 members": _finish_by_signatures(federation),
    }


def _finish_by_signatures(federation: Federation) -> int:
    """Propose, and vote in both stages with a quorum of signatures each; returns the gas of the votes."""
    leader = federation.leader()
    federation.propose(leader, keccak(b"model %d" % federation.round))
    quorum, prepare = federation.decision.quorum, federation.ballot()
    voters = [member for member in federation.members if member != leader][: quorum - 1]
    prepares = [federation.signed_vote(voter, prepare) for voter in voters]  # the proposal was its proposer's vote
    commit = replace(prepare, stage=Stage.COMMIT)
    commits = [federation.signed_vote(voter, commit) for voter in (leader, *voters)]
    spent = 0
    for ballot, signatures in ((prepare, prepares), (commit, commits)):
        about = (ballot.task, ballot.round, ballot.view, ballot.stage, ballot.digest)
        spent += federation.consensus.attestSigned(*about, signatures, by=leader, gas=20_000_000).gas
    assert federation.state.model == keccak(b"model %d" % federation.round)
    return spent


def _baselines(chain: BlockChain, servers: list[Account]) -> dict[str, int]:
    floor = deploy_contract(chain, compiled_for_tests("Floor"))
    figures = {BASELINES[0]: chain.transact(servers[0], floor.address, update_of(servers[0])).gas}
    for name, count in zip(BASELINES[1:], (5, 100), strict=True):
        scan: Contract = deploy_contract(chain, compiled_for_tests("StringScan"))
        scan.register([server.address for server in servers[:count]], by=servers[0])
        for number in (1, 2):
            figures[name] = scan.publish(number, _CID, by=servers[count - 1]).gas
    return figures
