"""The agents' board of signed messages, over real HTTP on the loopback."""

import contextlib
import json
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import requests
from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_keys.constants import SECPK1_N
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette

from fbfl.chain.digests import Domain
from fbfl.chain.ledger import Stage
from fbfl.chain.signatures import SignedUpdate, SignedVote, sign_update, sign_vote
from fbfl.mec import board as boards
from fbfl.mec.agent import Agent, LocalTraining
from fbfl.mec.board import (
    MAX_VOTES,
    UPDATES,
    VOTES,
    HttpBoard,
    MessageRefusedError,
    board_routes,
    update_from_json,
    update_to_json,
    vote_from_json,
    vote_to_json,
)
from fbfl.mec.endpoint import application, serving
from fbfl.settings import MAX_SERVERS
from fbfl.storage.store import Reference
from tests.integration.machine import free_ports
from tests.support.servers import Committee, account, committee

VALUE = bytes(range(32))


@pytest.fixture
def members(tmp_path: Path) -> Committee:
    """Three servers in an open round, and a fourth that has left again."""
    found = committee(tmp_path)
    found.ledger.contracts.resign(found.servers[3].address)
    found.open()
    return found


@pytest.fixture(scope="module")
def accounts() -> list[LocalAccount]:
    return [*map(account, range(4)), account(9)]  # the last one is a stranger


@pytest.fixture
def board(members: Committee) -> Iterator[HttpBoard]:
    with closing(HttpBoard(members.ledger, members.task, members.servers[0].address)) as found:
        found.observe(members.state, members.ledger.seats(1, 1))
        yield found


@pytest.fixture
def url(board: HttpBoard) -> Iterator[str]:
    port = free_ports()
    with serving(Starlette(routes=board_routes(board)), port):
        yield f"http://127.0.0.1:{port}"


def update_of(members: Committee, account: LocalAccount, parent: bytes = b"", **changes: int) -> SignedUpdate:
    domain = members.ledger.domain(members.task.id)
    parent = parent or members.task.model.digest
    fields = {"round_number": 1, "size": 100, "samples": 7, **changes}
    return sign_update(
        account,
        replace(domain, task=changes.get("task", domain.task)),
        fields["round_number"],
        parent,
        Reference(VALUE, fields["size"]),
        fields["samples"],
    )


def vote_of(members: Committee, account: LocalAccount, view: int = 0, value: bytes = VALUE) -> SignedVote:
    domain = Domain(members.ledger.chain_id, members.task.consensus_address, members.task.id)
    return sign_vote(account, domain, 1, view, Stage.PREPARE, value, accept=True)


def test_messages_reach_the_collector_and_stay_with_who_signed_them(
    members: Committee, accounts: list[LocalAccount], board: HttpBoard
) -> None:
    server = members.servers[0]
    agent = Agent(server, LocalTraining(server.participant, 1, server.plan, server.samples), url="", stake=0)
    port = free_ports()
    own = accounts[1].address
    peers = [f"http://127.0.0.1:{port + 1}", f"http://127.0.0.1:{port}/"]  # nobody is at the first
    with (
        serving(application(agent, board_routes(board)), port),
        closing(HttpBoard(members.ledger, members.task, own, peers=peers)) as sending,
    ):
        update, vote = update_of(members, accounts[1]), vote_of(members, accounts[1])
        for _ in range(2):  # as after a restart
            sending.post_update(own, update, server.address)
            sending.post_vote(own, vote, server.address)
        assert sending.updates(1, 1) == ((own, update),)
        deadline = time.monotonic() + 10
        while not (board.updates(1, 1) and board.votes(1, 1)):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert board.updates(1, 1) == ((own, update),)
        assert board.votes(1, 1) == ((own, vote),)
        assert not board.updates(2, 1)
        assert not board.votes(1, 2)


def test_a_collector_that_is_dead_or_silent_holds_nobody_up(members: Committee, accounts: list[LocalAccount]) -> None:
    own = accounts[1].address
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        peer = f"http://127.0.0.1:{silent.getsockname()[1]}"
        started = time.monotonic()
        with closing(HttpBoard(members.ledger, members.task, own, peers=[peer], timeout=0.3)) as sending:
            for collector in (members.servers[0].address, accounts[4].address):
                sending.post_update(own, update_of(members, accounts[1]), collector)
        assert time.monotonic() - started < 0.3


def test_only_what_a_member_signed_for_this_round_is_kept(
    members: Committee, accounts: list[LocalAccount], board: HttpBoard, url: str
) -> None:
    member, other, _, resigned, stranger = accounts
    good = update_to_json(member.address, update_of(members, member))
    r, vs = good["signature"]
    parity_and_s = int(vs, 16)
    high = (parity_and_s ^ 1 << 255) >> 255 << 255 | SECPK1_N - (parity_and_s & (1 << 255) - 1) & (1 << 255) - 1
    too_many = members.ledger.state(1).max_samples + 1
    refused = [
        (403, {**good, "server": other.address}),
        (403, {**good, "samples": 8}),
        (403, {**good, "signature": [r, f"{high:064x}"]}),
        (403, {**good, "signature": ["0" * 64, vs]}),
        (403, update_to_json(stranger.address, update_of(members, stranger))),
        (403, update_to_json(resigned.address, update_of(members, resigned))),
        (409, update_to_json(member.address, update_of(members, member, round_number=2))),
        (409, vote_to_json(member.address, vote_of(members, member, view=1))),
        (409, update_to_json(member.address, update_of(members, member, parent=VALUE))),
        (400, update_to_json(member.address, update_of(members, member, task=2))),
        (400, update_to_json(member.address, update_of(members, member, samples=too_many))),
        (400, update_to_json(member.address, update_of(members, member, size=0))),
        (400, {**good, "size": -1}),
        (400, {**good, "signature": [r]}),
        (400, [good]),
        (413, {**good, "more": "x" * 3000}),
    ]
    for status, message in refused:
        answer = requests.post(url + (VOTES if "view" in message else UPDATES), json=message, timeout=5)
        assert answer.status_code == status, (message, answer.text)
        assert answer.json()["error"]
    assert requests.post(url + VOTES, json=good, timeout=5).status_code == 400
    assert requests.get(url + VOTES, timeout=5).status_code == 405
    assert not board.updates(1, 1)
    assert requests.post(url + UPDATES, json=good, timeout=5).status_code == 202
    assert len(board.updates(1, 1)) == 1


def test_a_member_cannot_fill_the_memory_and_equivocation_is_kept(
    members: Committee, accounts: list[LocalAccount], board: HttpBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boards, "MAX_VOTES", 3)
    votes = [vote_of(members, accounts[1], value=bytes([number] * 32)) for number in range(4)]
    bodies = [json.dumps(vote_to_json(accounts[1].address, vote)).encode() for vote in votes]
    for body in (*bodies[:3], bodies[0]):
        board.take_vote(body)
    with pytest.raises(MessageRefusedError, match="3 votes in view 0"):
        board.take_vote(bodies[3])
    kept = [vote for _, vote in board.votes(1, 1)]
    assert kept == votes[:3]
    assert kept[0].conflicts_with(kept[1])


def test_a_member_may_vote_in_each_of_the_many_views_of_a_large_committee(
    members: Committee, accounts: list[LocalAccount], board: HttpBoard
) -> None:
    state = members.ledger.state(1)
    for view in range(120):
        board.observe(replace(state, decision=replace(state.decision, round=1, view=view)), members.ledger.seats(1, 1))
        board.take_vote(json.dumps(vote_to_json(accounts[1].address, vote_of(members, accounts[1], view))).encode())
    assert len(board.votes(1, 1)) == 120


def test_liars_of_the_largest_committee_push_out_no_vote_and_bound_the_memory(
    members: Committee, board: HttpBoard
) -> None:
    """In the last of 120 views, 79 of 240 flood the board before anybody else votes, also with views to come."""
    committee = [Account.from_key(number.to_bytes(32, "big")) for number in range(1, MAX_SERVERS + 1)]
    liars, honest = committee[:79], committee[79::10]
    state = members.ledger.state(1)
    seats = {member.address: seat for seat, member in enumerate(committee)}
    board.observe(replace(state, decision=replace(state.decision, round=1, view=119)), seats)

    def take(sender: LocalAccount, vote: SignedVote) -> bool:
        try:
            board.take_vote(json.dumps(vote_to_json(sender.address, vote)).encode())
        except MessageRefusedError:
            return False
        return True

    for number, liar in enumerate(liars):
        views = (119,) * (MAX_VOTES + 1) if number else (*range(120), 120, 65535)
        flood = [vote_of(members, liar, view, bytes([place] * 32)) for place, view in enumerate(views)]
        assert sum(take(liar, vote) for vote in flood) == (MAX_VOTES if number else 120)
    for member in honest:
        assert take(member, vote_of(members, member, 119))
    kept = board.votes(1, 1)
    assert sum(sender in {member.address for member in honest} for sender, _ in kept) == len(honest)
    assert len(kept) == 120 + MAX_VOTES * (len(liars) - 1) + len(honest)


def test_whoever_sends_messages_the_node_is_not_asked(
    members: Committee, accounts: list[LocalAccount], board: HttpBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("state", "_refresh"):
        monkeypatch.setattr(members.ledger, name, None)
    for sender in accounts:
        update, vote = update_of(members, sender), vote_of(members, sender)
        for take, message in (
            (board.take_update, update_to_json(sender.address, update)),
            (board.take_vote, vote_to_json(sender.address, vote)),
            (board.take_update, update_to_json(sender.address, replace(update, round=2))),
        ):
            with contextlib.suppress(MessageRefusedError):
                take(json.dumps(message).encode())
    assert {server for server, _ in board.updates(1, 1)} == {sender.address for sender in accounts[:3]}


def test_before_the_chain_was_read_senders_are_asked_to_come_again(
    members: Committee, accounts: list[LocalAccount]
) -> None:
    body = json.dumps(update_to_json(accounts[1].address, update_of(members, accounts[1]))).encode()
    with (
        closing(HttpBoard(members.ledger, members.task, members.servers[0].address)) as board,
        pytest.raises(MessageRefusedError, match="not known here yet") as caught,
    ):
        board.take_update(body)
    assert caught.value.status == 409


def test_who_sends_slowly_is_not_waited_for(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boards, "BODY_SECONDS", 0.2)
    port = int(url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(b"POST /board/votes HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
        assert b" 408 " in connection.recv(1000).splitlines()[0]


@given(body=st.binary(max_size=100) | st.recursive(st.none() | st.integers(), st.lists, max_leaves=9).map(json.dumps))
def test_whatever_arrives_is_refused_in_words(body: bytes | str) -> None:
    raw = body if isinstance(body, bytes) else body.encode()
    for read in (update_from_json, vote_from_json):
        with pytest.raises(MessageRefusedError, match="no such message"):
            boards._parsed(raw, read)
