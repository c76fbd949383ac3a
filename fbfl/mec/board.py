"""The board of signed messages between agents: those of this server, and those that others sent it over HTTP.

A message proves its own sender: it is kept only if its signer has a seat in the committee of the current round, and if
the contracts would take it, since one message that they refuse spoils a whole batch.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from eth_keys.constants import SECPK1_N
from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from fbfl.chain.ledger import Ledger
from fbfl.chain.queries import registered_url
from fbfl.chain.rounds import Stage, TaskState
from fbfl.chain.signatures import Compact, SignedUpdate, SignedVote, signer_of_update, signer_of_vote
from fbfl.chain.task import Task
from fbfl.mec.courier import Courier, Directory
from fbfl.mec.exchange import Conflict, Conflicts, vote_domain
from fbfl.mec.request_body import RequestRefusedError, read_body
from fbfl.storage.store import Reference
from fbfl.values.contract_types import STRICT, Number, Uint16, Uint32, Word

MAX_BODY = 2_048
"""Bytes of the largest message."""

BODY_SECONDS = 5.0
"""Seconds that a message may take to arrive."""

MAX_VOTES = 4
"""Most votes of one server in one view: two of each stage, which are evidence if they exclude each other."""

UPDATES = "/board/updates"
VOTES = "/board/votes"

_Message = TypeVar("_Message")


class MessageRefusedError(RequestRefusedError):
    """A message is not kept."""


class HttpBoard:
    """The board of one server; safe to use from several threads.

    `ledger` is its own: a ledger is read by one thread at a time. `peers` are URLs of endpoints that differ from the
    registered ones. `timeout` and `patience` (s) are for sending; see `fbfl.mec.courier`. Messages are compared with
    what the server has observed last: no message makes it ask its node.
    """

    def __init__(
        self,
        ledger: Ledger,
        task: Task,
        server: str,
        *,
        peers: Sequence[str] = (),
        timeout: float = 3.0,
        patience: float = 30.0,
    ) -> None:
        self._ledger = ledger
        self._task = task
        self._server = server
        self._update_domain = ledger.domain(task.id)
        self._vote_domain = vote_domain(ledger, task)
        self._reading = threading.Lock()
        self._keeping = threading.Lock()
        self._updates: dict[int, dict[str, SignedUpdate]] = {}
        self._votes: dict[int, dict[str, list[SignedVote]]] = {}
        self._conflicts: dict[int, Conflicts] = {}
        self._observed: tuple[TaskState, Mapping[str, int], Mapping[str, int]] | None = None
        directory = Directory(ledger.chain_id, peers, self._registered, timeout=timeout)
        self._courier = Courier(directory.urls_of, timeout=timeout, patience=patience)

    def observe(self, state: TaskState, seats: Mapping[str, int], submitters: Mapping[str, int]) -> None:
        """Compare messages from now on with this state."""
        self._observed = state, seats, submitters

    def post_update(self, server: str, update: SignedUpdate, collector: str) -> None:
        """Keep an update of this server, and send it to its collector."""
        self._keep_update(server, update)
        if collector != self._server:
            self._courier.send(collector, UPDATES, update_to_json(server, update))

    def post_vote(self, server: str, vote: SignedVote, collector: str) -> None:
        """Keep a vote of this server, and send it to its collector."""
        self._keep_vote(server, vote)
        if collector != self._server:
            self._courier.send(collector, VOTES, vote_to_json(server, vote))

    def updates(self, task: int, round_number: int) -> Sequence[tuple[str, SignedUpdate]]:
        """Return the updates of a round that are here."""
        with self._keeping:
            return tuple(self._updates.get(round_number, {}).items()) if task == self._task.id else ()

    def votes(self, task: int, round_number: int, view: int | None = None) -> Sequence[tuple[str, SignedVote]]:
        """Return the votes of a round, or of one of its views, that are here."""
        with self._keeping:
            of_servers = self._votes.get(round_number, {}) if task == self._task.id else {}
            found = ((server, vote) for server, votes in of_servers.items() for vote in votes)
            return tuple(entry for entry in found if view is None or entry[1].view == view)

    def conflicts(self, task: int, round_number: int) -> Sequence[Conflict]:
        """Return the pairs among the votes of a round that are here that exclude each other."""
        with self._keeping:
            known = self._conflicts.get(round_number) if task == self._task.id else None
            return known.found() if known else ()

    def take_update(self, body: bytes) -> None:
        """Keep an update that another server sent; `MessageRefusedError` if it is not acceptable."""
        server, update = _parsed(body, update_from_json)
        self._check(server, update, lambda: signer_of_update(self._update_domain, update))
        self._keep_update(server, update)

    def take_vote(self, body: bytes) -> None:
        """Keep a vote that another server sent; `MessageRefusedError` if it is not acceptable."""
        server, vote = _parsed(body, vote_from_json)
        self._check(server, vote, lambda: signer_of_vote(self._vote_domain, vote))
        self._keep_vote(server, vote)

    def close(self) -> None:
        """Stop sending."""
        self._courier.close()

    def _check(self, server: str, message: SignedUpdate | SignedVote, signer: Callable[[], str]) -> None:
        if message.task != self._task.id:
            raise MessageRefusedError(400, f"task {message.task} is not this server's, {self._task.id}")
        if self._observed is None:
            raise MessageRefusedError(409, "where the task stands is not known here yet")
        state, seats, submitters = self._observed
        view = state.decision.view if state.decision.round == state.round else 0
        if message.round != state.round or (isinstance(message, SignedVote) and message.view > view):
            # The sender's node may be ahead of this one.
            raise MessageRefusedError(409, f"round {state.round} in view {view} is the current one")
        if isinstance(message, SignedUpdate) and message.parent != state.model.digest:
            raise MessageRefusedError(409, f"the update is of another model than {state.model.cid}")
        if server not in seats:
            raise MessageRefusedError(403, f"{server} has no seat in round {state.round}")
        if isinstance(message, SignedUpdate) and server not in submitters:
            raise MessageRefusedError(403, f"{server} was not drawn for round {state.round}")
        if not _is_canonical(message.signature):
            raise MessageRefusedError(403, "the signature is not in the form that contracts take")
        try:
            found = signer()
        except Exception as error:  # the library raises many types
            raise MessageRefusedError(403, f"the signature is none: {type(error).__name__}") from error
        if found != server:
            raise MessageRefusedError(403, f"{server} did not sign this")
        if isinstance(message, SignedUpdate) and not (
            1 <= message.payload.size <= state.max_payload and 1 <= message.samples <= state.max_samples
        ):
            raise MessageRefusedError(
                400,
                f"size is {message.payload.size} and samples are {message.samples}; allowed in this task: "
                f"1 to {state.max_payload} and 1 to {state.max_samples}",
            )

    def _keep_update(self, server: str, update: SignedUpdate) -> None:
        with self._keeping:
            _forget_before(self._updates, update.round)
            self._updates.setdefault(update.round, {})[server] = update

    def _keep_vote(self, server: str, vote: SignedVote) -> None:
        with self._keeping:
            for known in (self._votes, self._conflicts):
                _forget_before(known, vote.round)
            kept = self._votes.setdefault(vote.round, {}).setdefault(server, [])
            # A voter may sign the same vote again with other bytes.
            if any(other.as_tuple() == vote.as_tuple() for other in kept):
                return
            if sum(other.view == vote.view for other in kept) >= MAX_VOTES:
                raise MessageRefusedError(429, f"{server} has sent {MAX_VOTES} votes in view {vote.view} already")
            kept.append(vote)
            self._conflicts.setdefault(vote.round, Conflicts()).add(server, vote)

    def _registered(self, server: str) -> str | None:
        with self._reading:
            if self._observed is not None:
                self._ledger.forget_before(self._task.id, self._observed[0].round)
            return registered_url(self._ledger, server)


def board_routes(board: HttpBoard) -> list[BaseRoute]:
    """Return the routes `POST /board/updates` and `POST /board/votes`: 202 if the message is kept, else an error."""

    def route(path: str, take: Callable[[bytes], None]) -> Route:
        async def post(request: Request) -> Response:
            try:
                await run_in_threadpool(take, await read_body(request, most=MAX_BODY, seconds=BODY_SECONDS))
            except RequestRefusedError as refusal:
                return JSONResponse({"error": str(refusal)}, refusal.status)
            return JSONResponse({}, 202)

        return Route(path, post, methods=["POST"])

    return [route(UPDATES, board.take_update), route(VOTES, board.take_vote)]


# ---------------------------------------------------------------- messages as JSON


_MESSAGE: ConfigDict = {**STRICT, "extra": "ignore"}  # later versions may say more


@with_config(_MESSAGE)
@dataclass(frozen=True)
class _UpdateMessage:
    server: str
    task: Number
    round: Uint32
    parent: Word
    digest: Word
    size: Uint32
    samples: Uint32
    signature: Compact


@with_config(_MESSAGE)
@dataclass(frozen=True)
class _VoteMessage:
    server: str
    task: Number
    round: Uint32
    view: Uint16
    stage: Literal[Stage.PREPARE, Stage.COMMIT]
    value_digest: Word
    accept: bool
    signature: Compact


_UPDATE, _VOTE = TypeAdapter(_UpdateMessage), TypeAdapter(_VoteMessage)


def update_to_json(server: str, update: SignedUpdate) -> Any:
    """Return a signed update as JSON values; bytes are hex."""
    about = update.task, update.round, update.parent, *update.payload, update.samples, update.signature
    return _UPDATE.dump_python(_UpdateMessage(server, *about), mode="json")


def update_from_json(body: bytes) -> tuple[str, SignedUpdate]:
    """Return the claimed signer and the message; `ValidationError` if it is malformed."""
    told = _UPDATE.validate_json(body)
    payload = Reference(told.digest, told.size)
    return told.server, SignedUpdate(told.task, told.round, told.parent, payload, told.samples, told.signature)


def vote_to_json(server: str, vote: SignedVote) -> Any:
    """Return a signed vote as JSON values; bytes are hex."""
    return _VOTE.dump_python(_VoteMessage(server, **vars(vote)), mode="json")


def vote_from_json(body: bytes) -> tuple[str, SignedVote]:
    """Return the claimed signer and the message; `ValidationError` if it is malformed."""
    told = {**vars(_VOTE.validate_json(body))}
    return told.pop("server"), SignedVote(**told)


def _parsed(body: bytes, read: Callable[[bytes], tuple[str, _Message]]) -> tuple[str, _Message]:
    try:
        return read(body)
    except ValidationError as error:
        fault = error.errors()[0]
        said = ": ".join([*map(str, fault["loc"]), fault["msg"]])
        raise MessageRefusedError(400, f"this is no such message: {said}") from error


def _is_canonical(signature: Compact) -> bool:
    """Return True if s is the lower one of the two that are valid, as contracts require."""
    r, vs = (int.from_bytes(word) for word in signature)
    return 0 < r < SECPK1_N and 0 < vs & (1 << 255) - 1 <= SECPK1_N // 2


def _forget_before(kept: dict[int, Any], round_number: int) -> None:
    for old in [number for number in kept if number < round_number]:
        del kept[old]
