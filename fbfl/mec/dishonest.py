"""Dishonest servers, for experiments and tests."""

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from fbfl.chain.rounds import Ballot, Stage, TaskState
from fbfl.chain.signatures import sign_vote
from fbfl.mec.exchange import Exchange
from fbfl.mec.global_model import GlobalModel, weights_of
from fbfl.mec.server import MECServer
from fbfl.storage.payload import encode
from fbfl.storage.store import Reference


@dataclass(frozen=True)
class Behaviour:
    """Behaviour of a server where the others rely on it. The default is honest."""

    submits: bool = True
    """True if it records updates."""
    serves: bool = True
    """True if it publishes the payload that it records."""
    proposes: Literal["right", "wrong", "never"] = "right"
    """Its proposals when it is its turn."""
    votes: Literal["right", "inverted", "never", "both"] = "right"
    """Its votes; with `both` it signs for and against (only if votes are signed, with `EquivocatingExchange`)."""


class DishonestServer(MECServer):
    """A `MECServer`, with the same arguments, that behaves as a `Behaviour` says."""

    def __init__(self, behaviour: Behaviour, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.behaviour = behaviour

    def _trained(self, state: TaskState) -> tuple[Reference, int] | None:
        return super()._trained(state) if self.behaviour.submits else None

    def _publish(self, payload: bytes) -> Reference:
        return super()._publish(payload) if self.behaviour.serves else Reference.to(payload)

    def _propose(self, state: TaskState) -> bool:
        return self.behaviour.proposes != "never" and super()._propose(state)

    def _proposal(self, model: GlobalModel) -> bytes:
        if self.behaviour.proposes == "right":
            return super()._proposal(model)
        # Well-formed and not the aggregate: the right model, turned around.
        return encode(self.plan.spec, np.negative(weights_of(self.plan, model.payload)))

    def _vote(self, state: TaskState) -> bool:
        return self.behaviour.votes != "never" and super()._vote(state)

    def _ballot(self, state: TaskState, stage: Stage, right: bool) -> Ballot:
        return super()._ballot(state, stage, right != (self.behaviour.votes == "inverted"))

    def _accuse(self, state: TaskState) -> bool:
        return self.behaviour.votes == "right" and super()._accuse(state)


class EquivocatingExchange(Exchange):
    """Signs for and against every proposal."""

    def send(self, state: TaskState, ballot: Ballot) -> None:
        """Leave both votes on the board; send one if signatures no longer matter."""
        if not self._still_counts(state):
            super().send(state, ballot)
            return
        for accept in (True, False):
            vote = sign_vote(self._account, self._vote_domain, replace(ballot, accept=accept))
            self._board.post_vote(self._account.address, vote, state.decision.proposer)
