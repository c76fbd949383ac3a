"""The agents' board of signed messages, over real HTTP on the loopback."""

import contextlib
import itertools
import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests
from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_keys.constants import SECPK1_N
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from starlette.applications import Starlette

from fbfl.chain.digests import Domain
from fbfl.chain.rounds import Ballot, Stage
from fbfl.chain.signatures import SignedUpdate, SignedVote, sign_update, sign_vote
from fbfl.errors import ChainError
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
from tests.support.ports import free_ports
from tests.support.servers import Committee, account, committee, small_task

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
        found.observe(members.state, members.ledger.seats(1, 1), members.ledger.submitters(1, 1))
        yield found


@pytest.fixture
def url(board: HttpBoard) -> Iterator[str]:
    port = free_ports()
    with serving(Starlette(routes=board_routes(board)), port):
        yield f"http://127.0.0.1:{port}"


def update_of(members: Committee, account: LocalAccount, parent: bytes = b"", **changes: Any) -> SignedUpdate:
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
    return sign_vote(account, domain, Ballot(domain.task, 1, view, Stage.PREPARE, value, accept=True))


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
        assert answer.json()["error"] != "None"
    assert requests.post(url + VOTES, json=good, timeout=5).status_code == 400
    assert requests.get(url + VOTES, timeout=5).status_code == 405
    assert not board.updates(1, 1)
    answer = requests.post(url + UPDATES, json=good, timeout=5)
    assert (answer.status_code, answer.json()) == (202, {})
    assert len(board.updates(1, 1)) == 1


def test_why_a_message_is_refused_is_said(members: Committee, accounts: list[LocalAccount], board: HttpBoard) -> None:
    member, other, *_ = accounts
    update, vote = update_of(members, member), vote_of(members, member)
    most = members.state.max_payload
    told: list[tuple[str, str, SignedUpdate | SignedVote]] = [
        ("task 2 is not this server's, 1", member.address, replace(update, task=2)),
        ("round 1 in view 0 is the current one", member.address, replace(update, round=2)),
        ("round 1 in view 0 is the current one", member.address, replace(vote, round=0)),
        ("round 1 in view 0 is the current one", member.address, replace(vote, view=1)),
        (
            f"the update is of another model than {members.state.model.cid}",
            member.address,
            replace(update, parent=VALUE),
        ),
        (f"{account(9).address} has no seat in round 1", account(9).address, update),
        (
            "the signature is not in the form that contracts take",
            member.address,
            replace(vote, signature=(b"\xff" * 32, VALUE)),
        ),
        (f"{other.address} did not sign this", other.address, vote),
        (
            f"size is {most + 1} and samples are 7; allowed in this task: 1 to {most} and 1 to 1000",
            member.address,
            update_of(members, member, size=most + 1),
        ),
    ]
    assert members.state.model.digest != VALUE
    for reason, server, message in told:
        take, as_json = (
            (board.take_update, update_to_json(server, message))
            if isinstance(message, SignedUpdate)
            else (board.take_vote, vote_to_json(server, message))
        )
        with pytest.raises(MessageRefusedError) as caught:
            take(json.dumps(as_json).encode())
        assert str(caught.value) == reason
    no_point = {**vote_to_json(member.address, vote), "signature": [f"{5:064x}", f"{1:064x}"]}  # of the curve
    with pytest.raises(MessageRefusedError, match=r"^the signature is none: (BadSignature|ValueError)$") as caught:
        board.take_vote(json.dumps(no_point).encode())
    assert caught.value.status == 403
    assert not board.updates(1, 1)
    assert not board.votes(1, 1)


@pytest.mark.parametrize(("size", "samples"), [(1, 1), (10_000, 1_000)])
def test_the_limits_of_the_task_are_allowed(
    members: Committee, accounts: list[LocalAccount], board: HttpBoard, size: int, samples: int
) -> None:
    update = update_of(members, accounts[1], size=size, samples=samples)
    board.take_update(json.dumps(update_to_json(accounts[1].address, update)).encode())
    assert board.updates(1, 1) == ((accounts[1].address, update),)


def test_votes_of_views_that_are_over_are_kept_as_evidence_and_those_of_former_decisions_are_of_view_0(
    members: Committee, accounts: list[LocalAccount], board: HttpBoard
) -> None:
    state, seats = members.state, members.ledger.seats(1, 1)
    body = json.dumps(vote_to_json(accounts[1].address, vote_of(members, accounts[1], view=1))).encode()
    for round_number, view, taken in ((0, 3, False), (1, 0, False), (1, 1, True), (1, 2, True)):
        board.observe(replace(state, decision=replace(state.decision, round=round_number, view=view)), seats, seats)
        with contextlib.nullcontext() if taken else pytest.raises(MessageRefusedError, match="current one"):
            board.take_vote(body)


def test_only_those_who_were_drawn_leave_updates_and_all_leave_votes(
    tmp_path: Path, accounts: list[LocalAccount]
) -> None:
    """The contracts refuse a batch with an update of another, whatever that has signed."""
    members = committee(tmp_path, task=replace(small_task(), participation=5000, seed=3))
    members.open()
    drawn = {members.servers[seat].address for seat in members.ledger.drawn(1, 1)}
    assert len(drawn) == 2
    with closing(HttpBoard(members.ledger, members.task, min(drawn))) as board:
        board.observe(members.state, members.ledger.seats(1, 1), members.ledger.submitters(1, 1))
        for sender in accounts[:4]:
            body = json.dumps(update_to_json(sender.address, update_of(members, sender))).encode()
            said = f"^{sender.address} was not drawn for round 1$"
            refusal = pytest.raises(MessageRefusedError, match=said)
            with contextlib.nullcontext() if sender.address in drawn else refusal as caught:
                board.take_update(body)
            assert caught is None or caught.value.status == 403
            board.take_vote(json.dumps(vote_to_json(sender.address, vote_of(members, sender))).encode())
        assert {server for server, _ in board.updates(1, 1)} == drawn
        assert len(board.votes(1, 1)) == 4


def test_messages_come_back_from_json(members: Committee, accounts: list[LocalAccount]) -> None:
    update, vote = update_of(members, accounts[1]), vote_of(members, accounts[1], view=3)
    as_json = update_to_json("me", update)
    assert as_json == {
        "server": "me",
        "task": 1,
        "round": 1,
        "parent": update.parent.hex(),
        "digest": VALUE.hex(),
        "size": 100,
        "samples": 7,
        "signature": [word.hex() for word in update.signature],
    }
    assert update_from_json(json.dumps(as_json).encode()) == ("me", update)
    as_json = vote_to_json("me", vote)
    assert as_json == {
        "server": "me",
        "task": 1,
        "round": 1,
        "view": 3,
        "stage": 2,
        "value_digest": VALUE.hex(),
        "accept": True,
        "signature": [word.hex() for word in vote.signature],
    }
    assert vote_from_json(json.dumps(as_json).encode()) == ("me", vote)
    against = replace(vote, accept=False, stage=Stage.COMMIT)
    assert vote_from_json(json.dumps(vote_to_json("me", against)).encode()) == ("me", against)
    assert vote_from_json(json.dumps({**as_json, "of_a_later_version": 1}).encode()) == ("me", vote)


def test_every_field_of_a_message_has_its_range(members: Committee, accounts: list[LocalAccount]) -> None:
    update = update_to_json("me", update_of(members, accounts[1]))
    vote = vote_to_json("me", vote_of(members, accounts[1]))
    widths = {"task": 256, "round": 32, "size": 32, "samples": 32}
    reads: tuple[tuple[Callable[[bytes], Any], dict[str, Any], dict[str, int]], ...] = (
        (update_from_json, update, widths),
        (vote_from_json, vote, {"task": 256, "round": 32, "view": 16}),
    )
    for read, message, fields in reads:
        for field, bits in fields.items():
            for allowed in (0, 2**bits - 1):
                read(body_of(message, **{field: allowed}))
            for refused in (-1, 2**bits, 1.0, True, "1", None):
                with pytest.raises(ValidationError, match=rf"\n{field}\n  Input should be "):
                    read(body_of(message, **{field: refused}))
        for field in ("digest", "parent") if message is update else ("value_digest",):
            for word in ("00" * 31, "00" * 33):
                with pytest.raises(ValidationError, match=rf"\n{field}\n  Data should have at (least|most) 32 bytes "):
                    read(body_of(message, **{field: word}))
        for signature in ("ab", None, ["00" * 32], ["00" * 32] * 3, ["00" * 31] * 2):
            with pytest.raises(ValidationError, match=r"\nsignature"):
                read(body_of(message, signature=signature))
    for stage in (0, 1, 4, 256, True):
        with pytest.raises(ValidationError, match=r"\nstage\n  Input should be "):
            vote_from_json(body_of(vote, stage=stage))
    with pytest.raises(ValidationError, match=r"\naccept\n  Input should be a valid boolean"):
        vote_from_json(body_of(vote, accept=1))


def test_a_malformed_message_is_refused_with_the_place_and_the_fault(
    members: Committee, accounts: list[LocalAccount], board: HttpBoard
) -> None:
    message = update_to_json("me", update_of(members, accounts[1]))
    wanted = "this is no such message: signature: 0: Data should have at least 32 bytes"
    with pytest.raises(MessageRefusedError, match=f"^{wanted}$") as caught:
        board.take_update(body_of(message, signature=["ab", "00" * 32]))
    assert caught.value.status == 400


def body_of(message: dict[str, Any], **changed: object) -> bytes:
    return json.dumps({**message, **changed}).encode()


def test_a_signature_has_the_lower_of_its_two_forms() -> None:
    def word(number: int) -> bytes:
        return number.to_bytes(32, "big")

    half = SECPK1_N // 2
    for r, vs, canonical in (
        (1, 1, True),
        (SECPK1_N - 1, half, True),
        (SECPK1_N - 1, 1 << 255 | half, True),
        (0, 1, False),
        (1, 0, False),
        (1, 1 << 255, False),
        (SECPK1_N, 1, False),
        (1, half + 1, False),
        (1, 1 << 255 | half + 1, False),
    ):
        assert boards._is_canonical((word(r), word(vs))) == canonical


def test_of_former_rounds_nothing_is_kept(members: Committee, accounts: list[LocalAccount], board: HttpBoard) -> None:
    own, other = members.servers[0].address, accounts[1].address
    for round_number in (2, 3):
        update = update_of(members, accounts[0], round_number=round_number)
        vote = replace(vote_of(members, accounts[0]), round=round_number)
        board.post_update(own, update, own)
        board.post_vote(own, vote, own)
        assert board.updates(1, round_number) == ((own, update),)
        assert board.votes(1, round_number) == ((own, vote),)
        assert board.updates(2, round_number) == board.votes(2, round_number) == ()
    assert board.updates(1, 2) == board.votes(1, 2) == ()
    board.post_update(other, update_of(members, accounts[1], round_number=3), own)
    board.post_vote(other, replace(vote_of(members, accounts[1]), round=3), own)
    assert [server for server, _ in board.updates(1, 3)] == [own, other]
    assert [server for server, _ in board.votes(1, 3)] == [own, other]


def test_a_message_goes_to_its_collector_unless_that_is_oneself(
    members: Committee, accounts: list[LocalAccount], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[Any, Any]] = []
    sent: list[object] = []

    class Noted:
        def __init__(self, *arguments: object, **options: Any) -> None:
            made.append((arguments, options))

        def urls_of(self, server: str) -> None:
            """Never asked here."""

        def send(self, *message: object) -> None:
            sent.append(message)

    monkeypatch.setattr(boards, "Directory", Noted)
    monkeypatch.setattr(boards, "Courier", Noted)
    own, other = accounts[0].address, accounts[1].address
    board = HttpBoard(members.ledger, members.task, own, peers=["http://peer"], timeout=0.5, patience=7)
    (directory, directory_options), (courier, courier_options) = made
    assert directory == (31337, ["http://peer"], board._registered)
    assert directory_options == {"timeout": 0.5}
    assert courier[0].__name__ == "urls_of"
    assert courier_options == {"timeout": 0.5, "patience": 7}
    update, vote = update_of(members, accounts[0]), vote_of(members, accounts[0])
    for collector in (own, other):
        board.post_update(own, update, collector)
        board.post_vote(own, vote, collector)
    HttpBoard(members.ledger, members.task, own)
    assert [options for _, options in made[2:]] == [{"timeout": 3.0}, {"timeout": 3.0, "patience": 30.0}]
    assert sent == [(other, UPDATES, update_to_json(own, update)), (other, VOTES, vote_to_json(own, vote))]


def test_where_a_collector_is_registered_is_read_without_keeping_old_rounds(
    members: Committee, accounts: list[LocalAccount], board: HttpBoard
) -> None:
    ledger = members.ledger
    ledger.contracts._emitted("ServerJoined", {"server": accounts[1].address, "url": "http://there"})
    assert board._registered(accounts[1].address) == "http://there"
    assert board._registered(accounts[2].address) is None
    board.observe(replace(members.state, round=2), ledger.seats(1, 1), ledger.seats(1, 1))
    assert board._registered(accounts[1].address) == "http://there"
    with pytest.raises(ChainError, match="round 1 was forgotten"):
        next(ledger.round_events(1, 1))


def test_a_member_cannot_fill_the_memory_and_equivocation_is_kept(
    members: Committee, accounts: list[LocalAccount], board: HttpBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boards, "MAX_VOTES", 3)
    votes = [vote_of(members, accounts[1], value=bytes([number] * 32)) for number in range(4)]
    bodies = [json.dumps(vote_to_json(accounts[1].address, vote)).encode() for vote in votes]
    for body in (*bodies[:3], bodies[0]):
        board.take_vote(body)
    with pytest.raises(MessageRefusedError, match="3 votes in view 0") as caught:
        board.take_vote(bodies[3])
    assert caught.value.status == 429
    kept = [vote for _, vote in board.votes(1, 1)]
    assert kept == votes[:3]
    pairs = [(accounts[1].address, *pair) for pair in itertools.combinations(votes[:3], 2)]
    assert sorted(board.conflicts(1, 1), key=repr) == sorted(pairs, key=repr)
    assert board.conflicts(2, 1) == board.conflicts(1, 2) == ()


def test_a_member_may_vote_in_each_of_the_many_views_of_a_large_committee(
    members: Committee, accounts: list[LocalAccount], board: HttpBoard
) -> None:
    state, seats = members.ledger.state(1), members.ledger.seats(1, 1)
    for view in range(120):
        board.observe(replace(state, decision=replace(state.decision, round=1, view=view)), seats, seats)
        board.take_vote(json.dumps(vote_to_json(accounts[1].address, vote_of(members, accounts[1], view))).encode())
    assert len(board.votes(1, 1)) == 120
    assert [vote.view for _, vote in board.votes(1, 1, view=7)] == [7]


def test_liars_of_the_largest_committee_push_out_no_vote_and_bound_the_memory(
    members: Committee, board: HttpBoard
) -> None:
    """In the last of 120 views, 79 of 240 flood the board before anybody else votes, also with views to come."""
    committee = [Account.from_key(number.to_bytes(32, "big")) for number in range(1, MAX_SERVERS + 1)]
    liars, honest = committee[:79], committee[79::10]
    state = members.ledger.state(1)
    seats = {member.address: seat for seat, member in enumerate(committee)}
    board.observe(replace(state, decision=replace(state.decision, round=1, view=119)), seats, seats)

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
        pytest.raises(MessageRefusedError, match=r"^where the task stands is not known here yet$") as caught,
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
    reads: tuple[Callable[..., Any], ...] = (update_from_json, vote_from_json)
    for read in reads:
        with pytest.raises(MessageRefusedError, match=r"^this is no such message: \w+"):
            boards._parsed(raw, read)
