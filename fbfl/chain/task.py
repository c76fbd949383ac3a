"""A task as its owner created it: its definition, its terms, and what it pays."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from fbfl.storage.store import Reference
from fbfl.values.contract_types import Number
from fbfl.values.parts import WHOLE

COMMITTEE_RULES = "(uint32,uint32,uint16,uint8,uint16)"
"""`CommitteeConsensus.CommitteeRules` in the ABI's words."""

POW_PARAMETERS = f"({COMMITTEE_RULES},uint256,uint32)"
"""`PowPuzzle.PowParameters`: the rules, the first target, and the seconds that a solution should take."""

FORMAT = 2
"""Format of tasks. In tasks of format 1, on the contracts of version 0.1, random draws follow from the definition's
seed, and sample counts always weigh if a rule can weigh by them."""


@dataclass(frozen=True)
class Task:
    """A task as its owner created it."""

    id: Number
    owner: str
    consensus: str
    """Name of the consensus: `pow`, `pbft`, `ethash`, or one that `fbfl deploy --consensus` gave."""
    consensus_address: str
    rule: str
    rule_params: bytes
    """Canonical JSON, as published."""
    definition: Mapping[str, Any]
    """All else that a server needs: the model's tensors and the training settings."""
    model: Reference
    """The initial global model."""
    block: Number
    withheld_penalty: Number = 0
    """Part of its stake, in 1/10,000, that a server loses if nobody can fetch its update."""
    rejection_penalty: Number = 0
    """Part of its stake, in 1/10,000, that a leader loses if its proposal is voted down."""
    byzantine_quorum: bool = False
    """True if (2n-1)/3+1 votes carry a proposal of n members; else more than half do."""
    participation: Number = WHOLE
    """Part of its members, in 1/10,000, that is drawn for a round to submit."""
    seed: Number = 0
    """Seed of these draws."""
    format: Number = FORMAT
    """Meaning of the definition, see `FORMAT`."""

    def quorum_of(self, members: int) -> int:
        """Return the number of votes that carry a proposal in a committee of this size."""
        return (2 * members - 1) // 3 + 1 if self.byzantine_quorum else members // 2 + 1

    @property
    def draws(self) -> bool:
        """True if not all members submit in a round, but those that are drawn for it."""
        return self.participation < WHOLE

    @property
    def dearest(self) -> float:
        """The largest part of its stake that one mistake may cost a member, from 0 to 1."""
        return max(self.withheld_penalty, self.rejection_penalty) / WHOLE


@dataclass(frozen=True)
class TaskTerms:
    """Terms of a task's rounds; penalties in 1/10,000 of a stake, times in seconds."""

    view_timeout: int
    max_views: int
    byzantine_quorum: bool
    min_updates: int
    max_samples: int
    rejection_penalty: int
    withheld_penalty: int
    target: int | None
    """Bound below which hashes solve the first puzzle; only with proof of work."""
    solve_time: int | None
    """Seconds of a solution towards which the target adapts; 0 if it does not."""


@dataclass(frozen=True)
class RewardTerms:
    """`IRewardPool.Terms`: what a final round pays."""

    per_round: int
    """Wei; 0 where no terms were set."""
    leader_share: int
    """The leader's part in 1/10,000."""
    by_samples: bool
    """True if the included updates share the rest by their samples; otherwise equally."""


class Payment(Enum):
    """State of the reward of a final round."""

    NOT_PROMISED = auto()
    NOT_FUNDED = auto()
    DUE = auto()
    SETTLED = auto()
