"""The servers of a federation together: honest, broken and malicious ones."""

import hashlib
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from eth_account.signers.local import LocalAccount
from eth_utils.address import to_checksum_address

from fbfl.audit import audit
from fbfl.chain.queries import task_terms
from fbfl.chain.remote import accounts_of
from fbfl.chain.rounds import Phase, Stage
from fbfl.chain.seats import SeatSet
from fbfl.chain.signatures import SignedVote
from fbfl.errors import ChainError, InvalidInputError, PayloadNotFoundError, StorageError, UserCodeError
from fbfl.learning import datasets
from fbfl.mec.dishonest import Behaviour, DishonestServer
from fbfl.mec.exchange import Exchange, MemoryBoard, vote_domain
from fbfl.mec.plan import TaskPlan
from fbfl.mec.signed_votes import SignedVotes
from fbfl.settings import RunSettings
from fbfl.simulation import Simulation, check, devnet_of, registered_devnet
from fbfl.storage.local import LocalStore
from fbfl.storage.store import Reference
from fbfl.tensors import Vector
from tests.support.federations import embedded, federation


class SpoiledReads(LocalStore):
    """A server's view of the store in which every payload but the global models reads as missing."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.readable: set[bytes] = set()

    def get(self, reference: Reference) -> bytes:
        if reference.digest not in self.readable:
            raise PayloadNotFoundError(f"payload {reference.cid} cannot be read here")
        return super().get(reference)


def votes(record: Any, accept: bool = True) -> set[str]:
    return {vote.voter for vote in record.votes if vote.accept == accept}


@pytest.mark.parametrize("consensus", ["pow", "pbft"])
def test_an_honest_round_is_final_with_everybodys_vote(tmp_path: Path, consensus: Any) -> None:
    fed = federation(tmp_path, consensus=consensus)
    before = fed.weights
    result = fed.play_round()
    assert result.record.status == "final"
    assert result.record.leader in {server.address for server in fed.servers}
    assert votes(result.record) == {server.address for server in fed.servers}
    assert len(result.record.updates) == 4
    assert not np.array_equal(before, fed.weights)
    assert audit(fed.ledger, fed.store, fed.task).passed


@pytest.mark.parametrize("consensus", ["pbft", pytest.param("ethash", marks=pytest.mark.slow)])
def test_a_federation_on_a_copy_of_registered_nodes_mines_the_same_blocks(tmp_path: Path, consensus: Any) -> None:
    settings = {"consensus": consensus, "servers": 2}
    chosen = RunSettings(dataset="digits", **settings)
    fed = federation(tmp_path / "own", simulation={"devnet": devnet_of(chosen)}, **settings)
    fed.play_round()
    devnet = registered_devnet(fed.settings)
    for place in ("copy", "another"):
        copied = federation(tmp_path / place, simulation={"devnet": devnet.copy()}, **settings)
        copied.play_round()
        assert [node.head() for node in copied.devnet.nodes] == [node.head() for node in fed.devnet.nodes]


def all_to_one(labels: Any, num_clients: int) -> Any:
    """A partition."""
    return [np.arange(len(labels)), *[np.arange(0)] * (num_clients - 1)]


def test_servers_without_an_update_say_why(tmp_path: Path) -> None:
    fed = federation(tmp_path, servers=3, proximal=1e30)
    result = fed.play_round()
    assert result.record.status == "aborted"
    assert result.warnings == ("3 servers without an update: training diverged",)
    bare = federation(tmp_path / "bare", servers=3, partition=f"{__name__}:all_to_one").play_round()
    assert bare.warnings == ("2 servers without an update: no samples",)


def no_sum(updates: Any) -> Any:
    """A rule that aggregates the made-up updates of before the run, and no others."""
    return updates[0] if updates.shape[1] == 8 else updates[0] * np.nan


def not_finite(update: Any, state: Any) -> Any:
    """A server optimizer."""
    return update / 0, {}


no_sum.canonical = not_finite.canonical = True  # type: ignore[attr-defined]


def test_a_round_that_ends_without_a_model_says_why(tmp_path: Path) -> None:
    fed = federation(tmp_path, servers=3, aggregator=f"{__name__}:no_sum")
    result = fed.play_round()
    assert result.line()["reason"] == "the updates cannot be aggregated"
    assert result.warnings == ("no model: the aggregate is not finite: it exceeds the range of float32",)
    with pytest.raises(InvalidInputError, match=r"server optimizer .*:not_finite returned a step that is not finite"):
        check(RunSettings(server_optimizer=f"{__name__}:not_finite"))


RANGES: set[tuple[float, float]] = set()


def note_range(x: Any, y: Any, rng: np.random.Generator, *, sample_range: Any) -> Any:
    """An attack that does nothing."""
    RANGES.add(sample_range)
    return x, y


def test_samples_of_any_range_are_trained_on_and_all_servers_know_the_range(tmp_path: Path) -> None:
    digits = datasets.load("digits")
    wide = replace(
        digits, x_train=8 * digits.x_train - 3, x_test=8 * digits.x_test - 3, y_test=11 * (digits.y_test == 0)
    )
    attack = "tests.e2e.test_simulation:note_range"
    settings = RunSettings(dataset="wide.npz", servers=4, devices=8, attack=attack, malicious=2, consensus="pbft")
    fed = Simulation(settings, wide, LocalStore(tmp_path))
    assert fed.play_round().record.status == "final"
    assert sorted(RANGES) == [(-3, 5)]
    assert TaskPlan.of(fed.task).sample_range == (-3, 5)
    absent, unlearnt, idle = fed.warnings
    assert "no sample has the label 10, yet there are 12 classes" in absent
    assert unlearnt == "no sample to train on has the label 11, and samples to test have it"
    assert idle == f"attack {attack} has no effect: no sample of the attackers is changed"


def unfit(*arguments: Any) -> float:
    raise ValueError(f"no use for {len(arguments)}")


@pytest.mark.parametrize("setting", ["metric", "loss"])
def test_a_function_that_cannot_measure_the_first_model_is_refused_before_the_task(
    tmp_path: Path, setting: str
) -> None:
    own: dict[str, Any] = {setting: f"{__name__}:unfit"}
    with pytest.raises(UserCodeError, match=rf"{setting} \S+:unfit raised ValueError: no use for 2"):
        federation(tmp_path, **own)
    assert not list(tmp_path.iterdir()), "no payload of a first model"


class FailingReads(SpoiledReads):
    """A store that is out of order, but for the global models."""

    def get(self, reference: Reference) -> bytes:
        try:
            return super().get(reference)
        except PayloadNotFoundError as error:
            raise StorageError("no daemon answers") from error


def test_a_server_whose_own_store_fails_accuses_nobody(tmp_path: Path) -> None:
    failing = FailingReads(tmp_path)
    fed = federation(tmp_path, consensus="pbft", simulation={"stores": {2: failing}})
    failing.readable.add(fed.task.model.digest)
    fed.owner.open_round(fed.task.id)
    for server in fed.servers:
        server.step()
    fed.owner.poke(fed.task.id)
    with pytest.raises(StorageError, match="no daemon answers"):
        fed.servers[2].step()
    assert not list(fed.ledger.round_events(fed.task.id, 1, "PayloadReported"))


def test_spoiled_reads_of_one_server_change_its_vote_alone(tmp_path: Path) -> None:
    whole = federation(tmp_path / "whole")
    expected = whole.play_round()

    spoiled = SpoiledReads(tmp_path / "spoiled")
    fed = federation(tmp_path / "spoiled", simulation={"stores": {2: spoiled}})
    spoiled.readable.add(fed.task.model.digest)
    result = fed.play_round()
    assert result.record.status == "final"
    assert result.record.model_digest == expected.record.model_digest
    assert votes(result.record) == votes(expected.record) - {fed.servers[2].address}
    assert not votes(result.record, accept=False)


def test_a_leader_computes_anew_when_a_report_lands_before_its_proposal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="fbfl.mec.server")
    fed = federation(tmp_path, consensus="pbft", stake=10_000)
    unlucky, leader, other, withholder = fed.servers  # seat 1 leads round 1
    fed.owner.open_round(fed.task.id)
    for server in fed.servers:
        assert server.step()
    fed.owner.poke(fed.task.id)
    accumulator = fed.ledger.state(fed.task.id).accumulator
    unlucky.participant.report_missing(fed.task.id, 1, withholder.address, accumulator)
    propose, asked_for = leader.participant.propose, []

    def propose_too_late(
        task: int, round_number: int, model: Reference, closing: bytes, value: bytes, proof: bytes
    ) -> None:
        asked_for.append(value)
        if len(asked_for) == 1:
            other.participant.report_missing(task, round_number, withholder.address, accumulator)
        propose(task, round_number, model, closing, value, proof)

    monkeypatch.setattr(leader.participant, "propose", propose_too_late)
    assert not leader.step()
    assert "TasksValueChanged" in caplog.text
    assert leader.step()
    seat = fed.ledger.seats(fed.task.id, 1)[withholder.address]
    state = fed.ledger.state(fed.task.id)
    assert len(set(asked_for)) == 2
    assert (state.decision.proposal, state.proposal.missing) == (asked_for[1], SeatSet.of([seat]))

    record = fed.play_round().record
    assert (record.status, record.leader, record.views, record.barred) == ("final", leader.address, 1, ())
    assert not record.slashes  # one of the three others can fetch it
    assert not votes(record, accept=False)
    assert audit(fed.ledger, fed.store, fed.task).passed


def test_setting_up_takes_few_blocks_and_seats_the_servers_in_their_order(tmp_path: Path) -> None:
    devnet = devnet_of(RunSettings(dataset="digits", servers=6))
    deployed = devnet.nodes[0].head().number
    fed = federation(tmp_path, servers=6, reward=0, simulation={"devnet": devnet})
    # All are admitted, all register, the task is created, all join.
    assert devnet.nodes[0].head().number == deployed + 4
    assert fed.ledger.seats(fed.task.id, 1) == {server.address: seat for seat, server in enumerate(fed.servers)}


@pytest.mark.parametrize("consensus", ["pow", "pbft"])
def test_what_the_servers_send_in_a_sweep_is_one_block(tmp_path: Path, consensus: Any) -> None:
    record = federation(tmp_path, consensus=consensus, reward=1).play_round().record
    by_stage: dict[str, set[int]] = {}
    for vote in record.votes[1:]:  # the first is the proposal
        by_stage.setdefault(vote.stage, set()).add(vote.block)
    assert len({update.block for update in record.updates}) == 1
    assert all(len(blocks) == 1 for blocks in by_stage.values())
    # It opens, all submit, the submissions close, one proposes, all vote (twice), the leader settles.
    assert record.last_block - record.first_block + 1 == (7 if consensus == "pbft" else 6)


def test_all_may_find_a_solution_at_once_and_those_who_are_late_vote(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="fbfl.mec.server")
    fed = federation(tmp_path, pow_hashes=1)
    result = fed.play_round()
    assert caplog.text.count("ConsensusWrongStage") == 3
    assert len(result.record.proposals) == result.record.views == 1
    assert votes(result.record) == {server.address for server in fed.servers}


def test_servers_whose_sweep_is_mined_by_halves_lose_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The node forgets the second half of what it was sent, as one that is started again."""
    withholder = {3: Behaviour(serves=False)}
    fed = federation(tmp_path, consensus="pbft", stake=10_000, simulation={"behaviours": withholder})
    for server in fed.servers:
        server.participant._sender.timeout = 0.3  # until it is sent again
    whole, forgotten = fed.chain.one_block, []

    @contextmanager
    def half_of_it() -> Iterator[Any]:
        with whole():
            yield
            pool = embedded(fed.chain).chain.pool
            forgotten.extend(pool[(len(pool) + 1) // 2 :])
            del pool[(len(pool) + 1) // 2 :]

    monkeypatch.setattr(type(fed.chain), "one_block", lambda _: half_of_it())
    result = fed.play_round()
    reports = [event.args["reporter"] for event in fed.ledger.round_events(fed.task.id, 1, "PayloadReported")]
    assert len(forgotten) > 4
    assert result.record.status == "final"
    assert sorted(reports) == sorted(server.address for server in fed.servers[:3])
    assert {server for server, *_ in result.record.slashes} == {fed.servers[3].address}
    assert len(votes(result.record)) == 4


def test_a_server_that_never_submits_does_not_halt_the_round(tmp_path: Path) -> None:
    fed = federation(tmp_path, simulation={"behaviours": {1: Behaviour(submits=False)}})
    result = fed.play_round()
    assert result.record.status == "final"
    assert fed.servers[1].address not in {update.server for update in result.record.updates}
    assert len(result.record.updates) == 3


@pytest.mark.parametrize("consensus", ["pow", "pbft"])
def test_silent_leaders_lose_their_turn(tmp_path: Path, consensus: Any) -> None:
    # Round 1 of PBFT belongs to seat 1; under proof of work whoever solves the puzzle next takes over.
    fed = federation(tmp_path, consensus=consensus, simulation={"behaviours": {1: Behaviour(proposes="never")}})
    result = fed.play_round()
    assert result.record.status == "final"
    assert result.record.leader != fed.servers[1].address
    if consensus == "pbft":
        assert result.record.barred == (fed.servers[1].address,)
        assert result.record.views == 2


@pytest.mark.parametrize("consensus", ["pow", "pbft"])
def test_wrong_aggregates_are_voted_down_and_their_leaders_barred(tmp_path: Path, consensus: Any) -> None:
    # Seat 1 leads round 1 of PBFT; under proof of work chance decides, the same one for the same seed.
    liars, rounds = ([1], 1) if consensus == "pbft" else ([0, 1, 2], 2)
    right = federation(tmp_path / "right", consensus=consensus, rounds=rounds)
    wrong = federation(
        tmp_path / "wrong",
        consensus=consensus,
        rounds=rounds,
        simulation={"behaviours": {n: Behaviour(proposes="wrong") for n in liars}},
    )
    barred = set()
    for expected, result in zip(right.rounds(), wrong.rounds(), strict=True):
        assert result.record.status == "final"
        assert result.record.leader not in result.record.barred
        assert result.record.model_digest == expected.record.model_digest
        assert bool(result.record.barred) == bool(votes(result.record, accept=False))
        barred |= set(result.record.barred)
    assert barred, "no liar had a turn: the test shows nothing"
    assert barred <= {wrong.servers[n].address for n in liars}
    assert audit(wrong.ledger, wrong.store, wrong.task).passed


def test_liars_beyond_the_quorum_stall_the_round_but_nothing_wrong_is_final(tmp_path: Path) -> None:
    liar = Behaviour(proposes="wrong", votes="inverted")
    fed = federation(tmp_path, consensus="pbft", max_views=3, simulation={"behaviours": {0: liar, 1: liar}})
    result = fed.play_round()
    assert result.record.status == "aborted"
    assert result.record.reason == "too many views"
    assert fed.ledger.state(fed.task.id).model == fed.task.model


def test_a_withheld_payload_is_reported_and_left_out(tmp_path: Path) -> None:
    fed = federation(tmp_path, simulation={"behaviours": {3: Behaviour(serves=False, proposes="never", votes="never")}})
    result = fed.play_round()
    assert result.record.status == "final"
    assert result.record.missing == (fed.servers[3].address,)
    assert [update.included for update in result.record.updates].count(False) == 1
    assert audit(fed.ledger, fed.store, fed.task).passed


def test_commit_reveal_records_the_same_updates(tmp_path: Path) -> None:
    plain = federation(tmp_path / "plain").play_round()
    hidden = federation(tmp_path / "hidden", commit_reveal=True).play_round()
    assert hidden.record.status == "final"
    assert hidden.record.model_digest == plain.record.model_digest


def test_the_same_seed_gives_the_same_model_with_one_lane_and_with_two(tmp_path: Path) -> None:
    def model(name: str, seed: int, lanes: int) -> str:
        fed = federation(tmp_path / name, seed=seed, simulation={"lanes": lanes})
        for _ in fed.rounds():
            pass
        return hashlib.sha256(fed.weights.tobytes()).hexdigest()

    one_lane = model("a", seed=5, lanes=1)
    assert model("b", seed=5, lanes=2) == one_lane
    assert model("c", seed=6, lanes=1) != one_lane


def test_a_backdoor_is_planted_by_malicious_servers_and_measured(tmp_path: Path) -> None:
    fed = federation(tmp_path, attack="backdoor", malicious=2, local_epochs=20)
    result = [*fed.rounds()][-1]
    assert result.attack_success_rate is not None
    assert result.attack_success_rate > 0.5


def test_fltrust_follows_the_update_that_a_trusted_server_publishes(tmp_path: Path) -> None:
    attacked: dict[str, Any] = {"attack": "sign_flipping", "malicious": 2, "consensus": "pbft", "local_epochs": 5}
    trusting: dict[str, Any] = {"aggregator": "fltrust", "aggregator_args": {"root_server": 3}}
    averaged = [*federation(tmp_path / "averaged", **attacked).rounds()][-1]
    fed = federation(tmp_path / "trusting", **attacked, **trusting)
    trusted = [*fed.rounds()][-1]
    assert trusted.record.status == "final"
    assert trusted.accuracy > averaged.accuracy + 0.2
    assert fed.servers[3].address.encode() in fed.task.rule_params
    assert audit(fed.ledger, fed.store, fed.task).passed

    silent = {"behaviours": {3: Behaviour(submits=False)}}
    alone = federation(tmp_path / "alone", **trusting, max_views=2, simulation=silent)
    assert alone.play_round().record.status == "aborted"


def test_what_a_reorganisation_takes_back_is_forgotten(tmp_path: Path) -> None:
    fed = federation(tmp_path)
    before = embedded(fed.chain).snapshot()
    state = fed.ledger.state(fed.task.id)
    fed.owner.open_round(fed.task.id)
    assert list(fed.ledger.round_events(fed.task.id, 1, "RoundOpened"))
    embedded(fed.chain).revert(before)
    assert not list(fed.ledger.round_events(fed.task.id, 1))
    assert fed.ledger.state(fed.task.id).round == state.round == 0
    assert fed.play_round().record.status == "final"


def test_other_updates_after_a_reorganisation_cost_nobody_anything(tmp_path: Path) -> None:
    """Votes were signed on one branch; on the other the same view has another proposal, with one more update."""
    fed = federation(tmp_path, consensus="pbft", signatures=True, commit_reveal=True)
    fed.owner.open_round(fed.task.id)
    before = embedded(fed.chain).snapshot()
    state = fed.ledger.state(fed.task.id)
    while not (state.phase is Phase.DECIDE and state.decision.stage is Stage.COMMIT):
        if not sum(server.step() for server in fed.servers[:3]):
            fed.chain.travel(max(1, state.deadline + 1 - state.now))
            fed.owner.poke(fed.task.id)
        state = fed.ledger.state(fed.task.id)
    lost = state.decision.proposal
    embedded(fed.chain).revert(before)

    result = fed.play_round()
    assert result.record.status == "final"
    assert result.record.views == 1
    assert result.record.value_digest != "0x" + lost.hex()
    assert len(result.record.updates) == 4
    while sum(server.step() for server in fed.servers):
        pass
    assert not list(fed.ledger.round_events(fed.task.id, 1, "Equivocation"))
    assert not list(fed.ledger.events("ServerSlashed"))
    assert audit(fed.ledger, fed.store, fed.task).passed
    expected = federation(tmp_path / "undisturbed", consensus="pbft").play_round()
    assert result.record.model_digest == expected.record.model_digest


def test_nothing_is_sent_that_comes_too_late(tmp_path: Path) -> None:
    fed = federation(tmp_path, consensus="pbft", simulation={"behaviours": {3: Behaviour(votes="never")}})
    fed.play_round()
    late = fed.servers[3]
    address = to_checksum_address(late.address)
    assert isinstance(late, DishonestServer)
    late.behaviour = Behaviour()
    state = fed.ledger.state(fed.task.id)
    fed.chain.travel(state.decision.deadline + 1 - state.now)
    assert not late.step()

    fed.owner.open_round(fed.task.id)
    state = fed.ledger.state(fed.task.id)
    fed.chain.travel(state.deadline + 1 - state.now)
    sent = fed.chain.w3.eth.get_transaction_count(address)
    assert not late.step()
    assert fed.chain.w3.eth.get_transaction_count(address) == sent


def test_a_server_trains_once_for_a_round(tmp_path: Path) -> None:
    fed = federation(tmp_path, consensus="pbft", commit_reveal=True)
    trained = []
    server = fed.servers[0]
    training = server.training

    def noted(weights: Vector, number: int) -> Vector:
        trained.append(number)
        return training(weights, number)

    server.training = noted
    fed.play_round()
    assert trained == [1]


def test_an_agent_forgets_old_rounds_and_still_plays_new_ones(tmp_path: Path) -> None:
    fed = federation(tmp_path, consensus="pbft", rounds=3)
    fed.play_round()
    fed.play_round()
    fed.ledger.forget_before(fed.task.id, 2)
    with pytest.raises(ChainError, match="round 1 was forgotten"):
        list(fed.ledger.round_events(fed.task.id, 1))
    assert {event.args["round"] for event in fed.ledger.events("RoundOpened")} == {2}
    assert fed.play_round().record.status == "final"
    assert len(fed.ledger.recorded(fed.task.id, 2)) == 4


class ForgetfulBoard(MemoryBoard):
    """Keeps the messages of one round, as agents do; `heard` is what somebody remembers who listens."""

    def __init__(self, heard: list[tuple[str, SignedVote]]) -> None:
        super().__init__()
        self._heard = heard

    def post_vote(self, server: str, vote: SignedVote, collector: str) -> None:
        self._heard.append((server, vote))
        self._votes = {key: votes for key, votes in self._votes.items() if key[1] == vote.round}
        super().post_vote(server, vote, collector)


@pytest.mark.parametrize("restarted", [False, True])
def test_a_chain_that_loses_two_rounds_makes_nobody_sign_two_votes_that_exclude_each_other(
    tmp_path: Path, restarted: Any
) -> None:
    fed = federation(tmp_path, consensus="pbft", signatures=True, stake=10_000, simulation={"lanes": 1})
    accounts: dict[str, LocalAccount] = {account.address: account for account in accounts_of(fed.devnet.nodes, 5)}
    heard: list[tuple[str, SignedVote]] = []

    def start(board: MemoryBoard) -> None:
        for server in fed.servers:
            account, domain = accounts[server.address], vote_domain(fed.ledger, fed.task)
            signed = SignedVotes(account, domain, tmp_path / f"{server.address}.sqlite")
            server._exchange = Exchange(board, server.participant, fed.task, account, signed=signed)
            server._votes = server._exchange

    start(ForgetfulBoard(heard))
    fed.owner.open_round(fed.task.id)
    fed._submit(fed.servers)
    before = embedded(fed.chain).snapshot()
    assert [fed.play_round().record.status for _ in range(2)] == ["final", "final"]
    assert {vote.round for _, vote in heard} == {1, 2}
    embedded(fed.chain).revert(before)
    if restarted:
        start(ForgetfulBoard(heard))
    for reporter in fed.servers[:2]:  # on this branch another model is proposed in the same view
        accumulator = fed.ledger.state(fed.task.id).accumulator
        reporter.participant.report_missing(fed.task.id, 1, fed.servers[3].address, accumulator)
    record = fed.play_round().record
    assert (record.round, record.status, record.views) == (1, "final", 1)
    assert {vote.voter for vote in record.votes} == {server.address for server in fed.servers}
    assert len({vote.value_digest for _, vote in heard if vote.round == 1}) == 1
    for (one, first), (other, second) in itertools.combinations(heard, 2):
        assert one != other or not first.conflicts_with(second)


def test_silent_servers_cost_views_and_hashes_are_counted(tmp_path: Path) -> None:
    fed = federation(tmp_path / "pbft", consensus="pbft", silent=2)
    results = list(fed.rounds())
    assert [result.record.views for result in results] == [1, 3]  # 2 and 3 are silent, and round r begins with server r
    puzzle = federation(tmp_path / "pow", silent=3, pow_hashes=1)
    lines = [result.line() for result in puzzle.rounds()]
    assert [line["hashes"] for line in lines] == [1, 1]
    assert {line["leader"] for line in lines} == {puzzle.servers[0].address}
    assert "hashes" not in results[0].line()


def test_what_a_task_fixes_is_on_the_chain_and_holds(tmp_path: Path) -> None:
    terms: dict[str, Any] = {
        "quorum": "byzantine",
        "view_timeout": 50,
        "max_views": 3,
        "pow_hashes": 1,
        "min_updates": 2,
        "max_samples": 100,
        "reward": 10**6,
        "leader_share": 0.5,
        "rejection_penalty": 0.25,
        "withheld_penalty": 0.0001,
    }
    fed = federation(tmp_path, **terms)
    record = fed.play_round().record
    assert task_terms(fed.ledger, fed.task.id) == terms | {"solve_time": 0}
    assert record.status == "final"
    assert [update.samples for update in record.updates] == [100] * 4
    assert (record.leader, 500_000) in record.rewards
    assert fed.task.quorum_of(4) == 3
    assert audit(fed.ledger, fed.store, fed.task).passed


def test_by_default_a_task_fixes_what_the_first_release_did(tmp_path: Path) -> None:
    for consensus, quorum in (("pow", "majority"), ("pbft", "byzantine")):
        fed = federation(tmp_path / consensus, consensus=consensus)
        found = task_terms(fed.ledger, fed.task.id)
        assert (found.pop("pow_hashes", 4096), found.pop("solve_time", 0)) == (4096, 0)
        assert found == {
            "quorum": quorum,
            "view_timeout": 600,
            "max_views": 8,
            "min_updates": 3,
            "max_samples": 360,
            "reward": 10**16,
            "leader_share": 0.2,
            "rejection_penalty": 0.1,
            "withheld_penalty": 0.1,
        }
