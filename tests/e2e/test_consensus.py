"""Consensus and incentives in the whole system: liars, signatures, rewards, real proof of work, several tasks."""

from pathlib import Path
from typing import Any

import pytest
from eth_typing import BlockNumber
from eth_utils.abi import event_abi_to_log_topic
from eth_utils.address import to_checksum_address
from web3._utils.events import get_event_data

from fbfl.audit import audit
from fbfl.chain.devnet import Devnet
from fbfl.chain.elections import SEED_BLOCKS, seed_of_puzzle, seed_waits
from fbfl.chain.embedded.chain import account_keys
from fbfl.chain.embedded.ethash import EthashNetwork
from fbfl.chain.ledger import Ledger
from fbfl.chain.logs import EventDecoder
from fbfl.chain.queries import task_terms
from fbfl.chain.remote import accounts_of
from fbfl.chain.rounds import ABORT, Phase
from fbfl.cli import main
from fbfl.cli import register as register_command
from fbfl.cli import task as task_commands
from fbfl.cli.keys import KEY_VARIABLE
from fbfl.learning import sampling
from fbfl.mec.dishonest import Behaviour
from fbfl.mec.plan import TaskPlan
from tests.support.federations import embedded, federation
from tests.support.split_network import SplitNetwork


def credits(fed: Any) -> dict[str, int]:
    return {s.address: fed.ledger.rewards.functions.creditOf(s.address).call() for s in fed.servers}


@pytest.mark.slow
@pytest.mark.parametrize("signatures", [False, True])
def test_three_liars_among_ten_change_nothing_but_the_time_it_takes(tmp_path: Path, signatures: Any) -> None:
    settings: dict[str, Any] = {"consensus": "pbft", "servers": 10, "devices": 10, "rounds": 4}
    liars = range(1, 4)  # the leaders of rounds 1 to 3
    honest = federation(
        tmp_path / "honest",
        simulation={"behaviours": {n: Behaviour(proposes="never", votes="never") for n in liars}},
        **settings,
    )
    lying = federation(
        tmp_path / "lying",
        simulation={"behaviours": {n: Behaviour(proposes="wrong", votes="inverted") for n in liars}},
        signatures=signatures,
        **settings,
    )
    for quiet, loud in zip(honest.rounds(), lying.rounds(), strict=True):
        assert quiet.record.status == loud.record.status == "final"
        assert quiet.record.model_digest == loud.record.model_digest
        assert not {lying.servers[n].address for n in liars} & {loud.record.leader}
    assert honest.weights.tobytes() == lying.weights.tobytes()


@pytest.mark.slow
def test_all_liars_that_pbft_withstands_may_lead_one_after_the_other(tmp_path: Path) -> None:
    servers, liars = 28, 9  # more than the 8 views that smaller committees have
    fed = federation(tmp_path, consensus="pbft", servers=servers, devices=servers, liars=liars)
    record = fed.play_round().record
    assert record.status == "final"
    assert record.views > 8
    assert record.leader == fed.servers[liars].address


@pytest.mark.parametrize("consensus", ["pow", "pbft"])
def test_signatures_record_a_round_in_fewer_transactions(tmp_path: Path, consensus: Any) -> None:
    plain = federation(tmp_path / "plain", consensus=consensus).play_round()
    fed = federation(tmp_path / "signed", consensus=consensus, signatures=True)
    signed = fed.play_round()
    assert signed.record.model_digest == plain.record.model_digest
    assert {vote.voter for vote in signed.record.votes} == {server.address for server in fed.servers}
    assert signed.record.transactions < plain.record.transactions
    assert audit(fed.ledger, fed.store, fed.task).passed


def test_events_are_decoded_as_web3_decodes_them(tmp_path: Path) -> None:
    fed = federation(tmp_path, consensus="pbft", signatures=True, liars=1)
    fed.play_round()
    w3, newest, known = fed.chain.w3, fed.chain.w3.eth.block_number, 0
    contracts = [fed.ledger.tasks, fed.ledger.registry, fed.ledger.rewards, *fed.ledger.consensus.values()]
    for contract in contracts:
        logs = w3.eth.get_logs({"fromBlock": BlockNumber(0), "toBlock": newest, "address": [contract.address]})
        for abi in (entry for entry in contract.abi if entry["type"] == "event"):
            decoder, topic = EventDecoder(abi), event_abi_to_log_topic(abi)
            for log in (each for each in logs if each["topics"][0] == topic):
                known += 1
                assert decoder.arguments(log) == dict(get_event_data(w3.codec, abi, log)["args"])
    assert known > 20


def test_a_collector_that_sleeps_costs_only_gas(tmp_path: Path) -> None:
    # Seat 1 collects the updates of round 1, and leads it.
    asleep = Behaviour(submits=False, proposes="never", votes="never")
    fed = federation(tmp_path, consensus="pbft", signatures=True, simulation={"behaviours": {1: asleep}})
    result = fed.play_round()
    assert result.record.status == "final"
    assert len(result.record.updates) == 3


def test_an_equivocator_loses_its_whole_stake(tmp_path: Path) -> None:
    fed = federation(
        tmp_path, consensus="pbft", signatures=True, stake=1000, simulation={"behaviours": {3: Behaviour(votes="both")}}
    )
    result = fed.play_round()
    assert result.record.status == "final"
    culprit = fed.servers[3].address
    assert result.record.slashes == ((culprit, 1000, "equivocation"),)
    assert not fed.ledger.registry.functions.isActive(culprit).call()


def test_a_final_round_pays_its_leader_and_every_update_by_samples(tmp_path: Path) -> None:
    fed = federation(tmp_path, reward=10**9)
    result = fed.play_round()
    earned = credits(fed)
    total = sum(update.samples for update in result.record.updates)
    for update in result.record.updates:
        expected = (10**9 * 8 // 10) * update.samples // total
        expected += 10**9 // 5 if update.server == result.record.leader else 0
        assert earned[update.server] == expected
    assert 0 <= 10**9 - sum(earned.values()) < len(earned), "what rounding leaves stays with the task"
    server = fed.servers[0]
    address = to_checksum_address(server.address)
    before = fed.chain.w3.eth.get_balance(address)
    receipt = server.participant.withdraw_rewards()
    cost = receipt["gasUsed"] * receipt["effectiveGasPrice"]
    assert fed.chain.w3.eth.get_balance(address) == before - cost + earned[server.address]


def test_an_owner_ends_its_task_and_takes_back_what_no_round_earned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Half of what was paid in, and what rounding left of the round that was played."""
    fed = federation(tmp_path, reward=10**9)
    fed.play_round()
    owner = accounts_of(fed.devnet.nodes, 5)[0]
    monkeypatch.setenv(KEY_VARIABLE, owner.key.hex())
    monkeypatch.setattr(task_commands, "ledger_on", lambda network, deployment, task=None: fed.ledger)
    rewards = fed.ledger.rewards.functions
    assert main(["task", "reclaim", "--network", "anvil"]) == 3
    assert "RewardsNotEnded(task=1)" in capsys.readouterr().err
    assert main(["task", "end", "--network", "anvil", "--task", "1"]) == 0
    assert capsys.readouterr().out == "task 1 has ended with round 1\n"
    left = rewards.balanceOf(1).call()
    assert left >= 10**9
    assert main(["task", "reclaim", "--network", "anvil"]) == 0
    assert capsys.readouterr().out == f"task 1: {left} wei are back\n"
    assert rewards.balanceOf(1).call() == 0
    assert main(["task", "drive", "--network", "anvil", "--rounds", "2"]) == 3  # does not wait for what never comes
    assert "TasksEnded(task=1, maxRounds=1)" in capsys.readouterr().err


def test_a_task_trusts_a_server_of_the_registry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fed = federation(tmp_path, stake=1000)
    accounts = accounts_of(fed.devnet.nodes, 5)
    for module in (task_commands, register_command):
        monkeypatch.setattr(module, "ledger_on", lambda network, deployment, task=None: fed.ledger)
    monkeypatch.setenv(KEY_VARIABLE, accounts[0].key.hex())
    creating = ["task", "create", "--network", "anvil", "--dataset", "digits", "--servers", "4", "--payloads"]
    creating += [str(tmp_path), "--aggregator", "fltrust", "--aggregator-arg"]
    assert main([*creating, "root_server=4"]) == 2
    assert "root_server is 4; allowed: the number of a server in the registry, which has 4" in capsys.readouterr().err
    assert main([*creating, "root_server=2"]) == 0
    number = int(capsys.readouterr().out.split()[-1])
    assert TaskPlan.of(fed.ledger.task(number)).root == fed.servers[2].address
    assert main([*creating[:-3], "--servers", "5", "--aggregator", "krum", "--aggregator-arg", "num_byzantine=1"]) == 2
    assert "aggregator krum needs 5 updates; allowed with 5 servers" in capsys.readouterr().err
    assert main([*creating, "root_server=2", "--participation", "0.5"]) == 2
    assert "participation is 0.5; allowed: 1 with fltrust where the chain draws" in capsys.readouterr().err
    # One that comes back is registered again, and keeps its number.
    fed.servers[2].participant.retire()
    monkeypatch.setenv(KEY_VARIABLE, accounts[3].key.hex())
    for _ in range(2):
        assert main(["register", "--network", "anvil", "--url", "http://two", "--stake", "0"]) == 0
        assert capsys.readouterr().out == f"{fed.servers[2].address} is server 2\n"
        assert fed.ledger.is_active(fed.servers[2].address)


def test_the_chain_draws_who_trains_in_a_task_on_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fed = federation(tmp_path, stake=1000)
    monkeypatch.setattr(task_commands, "ledger_on", lambda network, deployment, task=None: fed.ledger)
    monkeypatch.setenv(KEY_VARIABLE, accounts_of(fed.devnet.nodes, 5)[0].key.hex())
    creating = ["task", "create", "--network", "anvil", "--dataset", "digits", "--servers", "4", "--seed", "9"]
    creating += ["--payloads", str(tmp_path), "--participation"]
    krum = ["--aggregator", "krum", "--aggregator-arg", "num_byzantine=0"]
    for refused, said in (
        (["0.33333"], "in steps of 0.0001"),
        (["0"], "more than 0, up to 1"),
        (["0.5", "--draw", "seed"], "draw is 'seed'; allowed on a network: chain"),
        (["0.5", *krum], "krum needs n >= 2f+3 updates; n=2, f=0 needs 3 (participation = 0.5 of 4)"),
        (["0.75", *krum], "allowed with 3 servers (participation = 0.75 of 4), some of which may be absent"),
        (["0.5", "--min-updates", "3"], "allowed with fedavg (participation = 0.5 of 4): 1 to 2"),
    ):
        assert main([*creating, *refused]) == 2
        assert said in capsys.readouterr().err
    (tmp_path / "run.toml").write_text('draw = "chain"\n')
    assert main([*creating, "0.5", "--config", str(tmp_path / "run.toml")]) == 0
    task = fed.ledger.task(int(capsys.readouterr().out.split()[-1]))
    assert (task.participation, task.seed, task.draws) == (5000, 9, True)
    assert task_terms(fed.ledger, task.id).items() >= {"participation": 0.5, "min_updates": 1}.items()
    assert "participation" not in task_terms(fed.ledger, fed.task.id)


def test_those_that_the_chain_draws_train_and_all_vote(tmp_path: Path) -> None:
    fed = federation(tmp_path, consensus="pbft", participation=0.5, draw="chain", seed=3)
    addresses = [server.address for server in fed.servers]
    for result in fed.rounds():
        record = result.record
        expected = tuple(addresses[n] for n in sampling.participants(4, 0.5, 3, record.round, "chain"))
        assert (record.status, record.drawn) == ("final", expected)
        assert tuple(update.server for update in record.updates) == expected
        assert {vote.voter for vote in record.votes} == {*addresses}
    assert audit(fed.ledger, fed.store, fed.task).passed
    assert federation(tmp_path).play_round().record.drawn is None


def test_a_rejected_leader_loses_a_part_of_its_stake_and_nobody_gains_it(tmp_path: Path) -> None:
    liar = Behaviour(proposes="wrong")
    fed = federation(tmp_path, consensus="pbft", stake=10_000, reward=0, simulation={"behaviours": {1: liar}})
    result = fed.play_round()
    assert result.record.slashes == ((fed.servers[1].address, 1000, "rejected aggregate"),)
    assert fed.ledger.rewards.functions.balanceOf(fed.task.id).call() == 0
    assert (fed.task.rejection_penalty, fed.task.withheld_penalty) == (1000, 1000)


@pytest.mark.parametrize("consensus", ["pow", "pbft"])
def test_a_round_that_the_rule_cannot_aggregate_ends_in_its_first_view(tmp_path: Path, consensus: Any) -> None:
    """FLTrust without the trusted update: only the rule knows that there is no aggregate of the others."""
    absent = {1: Behaviour(submits=False)}
    settings = {"aggregator": "fltrust", "aggregator_args": {"root_server": 1}, "stake": 1000}
    fed = federation(tmp_path, consensus=consensus, simulation={"behaviours": absent}, **settings)
    record = fed.play_round().record
    assert (record.status, record.reason) == ("aborted", ABORT)
    assert (record.views, record.barred, record.slashes, len(record.updates)) == (1, (), (), 3)
    assert audit(fed.ledger, fed.store, fed.task).passed


def test_two_tasks_run_on_the_same_contracts_and_servers_without_touching_each_other(tmp_path: Path) -> None:
    first = federation(tmp_path / "first", consensus="pow")
    settings: dict[str, Any] = {"consensus": "pbft", "aggregator": "median", "model": "2nn", "seed": 9}
    second = federation(tmp_path / "second", simulation={"devnet": first.devnet}, **settings)
    alone = federation(tmp_path / "alone", **settings)
    assert (first.task.id, second.task.id) == (1, 2)
    for one, other, expected in zip(first.rounds(), second.rounds(), alone.rounds(), strict=True):
        assert one.record.status == other.record.status == "final"
        assert other.record.model_digest == expected.record.model_digest != one.record.model_digest
        assert (one.record.consensus, other.record.consensus) == ("pow", "pbft")
    for fed in (first, second):
        assert audit(fed.ledger, fed.store, fed.task).passed


def test_the_seed_of_a_puzzle_is_stored_before_contracts_forget_it(tmp_path: Path) -> None:
    fed = federation(tmp_path)
    fed.owner.open_round(fed.task.id)
    for server in fed.servers:
        assert server.step()
    fed.owner.poke(fed.task.id)
    (closed,) = fed.ledger.round_events(fed.task.id, 1, "SubmissionsClosed")
    assert seed_of_puzzle(fed.ledger, fed.task.id, 1) == closed.block_hash
    embedded(fed.chain).mine(SEED_BLOCKS)
    assert not seed_waits(fed.ledger, fed.task.id, fed.ledger.state(fed.task.id))
    fed.chain.mine()
    assert seed_waits(fed.ledger, fed.task.id, fed.ledger.state(fed.task.id))
    fed.owner.poke(fed.task.id)
    assert not seed_waits(fed.ledger, fed.task.id, fed.ledger.state(fed.task.id))
    contract = fed.ledger.consensus["pow"]
    assert contract.functions.seedOf(fed.task.id).call() == [closed.block, closed.block_hash, True]
    assert fed.play_round().record.status == "final"


@pytest.mark.slow
def test_ethash_elects_the_miner_of_the_block_after_the_closing_one(tmp_path: Path) -> None:
    plain = federation(tmp_path / "plain", rounds=1).play_round()
    fed = federation(tmp_path / "ethash", rounds=1, consensus="ethash")
    result = fed.play_round()
    assert result.record.status == "final"
    assert result.record.consensus == "ethash"
    assert result.record.model_digest == plain.record.model_digest
    state = fed.ledger.state(fed.task.id)
    assert result.record.leader == fed.chain.w3.eth.get_block(state.closing_block + 1)["miner"]
    heads = {node.w3.eth.get_block("latest")["hash"] for node in fed.devnet.nodes}
    assert len(fed.devnet.nodes) == 3
    assert len(heads) == 1
    assert audit(fed.ledger, fed.store, fed.task).passed


@pytest.mark.slow
def test_where_the_miner_is_no_member_anyone_may_propose(tmp_path: Path) -> None:
    stranger = account_keys(6)[5].public_key.to_checksum_address()
    network = EthashNetwork(nodes=1, accounts=6, difficulty=4)
    network.miners = [stranger]
    fed = federation(tmp_path, rounds=1, consensus="ethash", simulation={"devnet": Devnet.deployed(network.nodes)})
    result = fed.play_round()
    assert result.record.status == "final"
    assert result.record.leader in {server.address for server in fed.servers}


@pytest.mark.slow
def test_a_silent_miner_loses_its_turn_to_the_next_electing_block(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"rounds": 1, "consensus": "ethash"}
    fed = federation(tmp_path / "before", **settings)
    leader = fed.play_round().record.leader
    assert leader is not None
    number = [server.address for server in fed.servers].index(leader)
    # The same seed gives the same chain, so the same server is elected.
    silent = federation(
        tmp_path / "after", simulation={"behaviours": {number: Behaviour(proposes="never")}}, **settings
    )
    result = silent.play_round()
    assert result.record.status == "final"
    assert result.record.views >= 2
    assert result.record.leader != leader


@pytest.mark.slow
def test_a_round_whose_closing_block_a_reorganisation_takes_back_is_closed_again(tmp_path: Path) -> None:
    undisturbed = federation(tmp_path / "undisturbed")
    expected = [result.record.model_digest for result in undisturbed.rounds()]
    network = SplitNetwork(nodes=3, accounts=5)
    fed = federation(tmp_path / "cut", consensus="ethash", simulation={"devnet": Devnet.deployed(network.nodes)})
    assert fed.play_round().record.model_digest == expected[0]

    fed.owner.open_round(fed.task.id)
    for server in fed.servers[:3]:
        assert server.step()
    network.split([0], [1, 2])
    cut_off = fed.servers[0], fed.servers[3]  # their node is node 0
    while any(server.step() for server in cut_off):
        pass
    fed.owner.poke(fed.task.id)
    embedded(fed.devnet.nodes[0]).mine(5)  # enough to confirm the election
    while any(server.step() for server in cut_off):
        pass
    stale = fed.ledger.state(fed.task.id)
    assert stale.phase is Phase.DECIDE
    assert len(stale.submitted) == 4
    (taken_back,) = fed.ledger.round_events(fed.task.id, 2, "SubmissionsClosed")
    while fed.devnet.nodes[1].head().number <= stale.block:
        fed.devnet.nodes[1].mine()
    network.heal()

    again = fed.ledger.state(fed.task.id)
    assert again.phase is Phase.SUBMIT
    assert len(again.submitted) == 3
    result = fed.play_round()
    assert (result.record.round, result.record.status) == (2, "final")
    assert sorted(update.server for update in result.record.updates) == sorted(s.address for s in fed.servers)
    (closed,) = fed.ledger.round_events(fed.task.id, 2, "SubmissionsClosed")
    assert closed.block_hash != taken_back.block_hash
    assert result.record.model_digest == expected[1]
    for node in fed.devnet.nodes:
        report = audit(Ledger(node.w3, fed.devnet.addresses), fed.store, fed.task)
        assert report.passed
        assert report.final == 2
