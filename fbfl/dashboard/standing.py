"""What each server did and got over the rounds, counted from the records."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fbfl.chain.records import RoundRecord, ServerRecord


@dataclass
class Standing:
    """A server's part in a task; money in wei."""

    turns: int = 0
    """Rounds whose proposal of its became final."""
    rejected: int = 0
    """Views in which it was voted down."""
    silent: int = 0
    """Views in which it was to propose and did not."""
    updates: int = 0
    left_out: int = 0
    """Updates in final rounds that are not in the global model."""
    samples: int = 0
    """Samples of its newest update."""
    rewards: int = 0
    slashed: int = 0


def standings(servers: Sequence[ServerRecord], rounds: Iterable[RoundRecord]) -> dict[str, Standing]:
    """Return the standing of every server by its address, those that records alone name last."""
    found = defaultdict(Standing, {server.address: Standing() for server in servers})
    for record in rounds:
        if record.leader is not None:
            found[record.leader].turns += 1
        proposed = {proposal.proposer for proposal in record.proposals}
        for address in record.barred:
            if address in proposed:
                found[address].rejected += 1
            else:
                found[address].silent += 1
        for update in record.updates:
            one = found[update.server]
            one.updates += 1
            one.samples = update.samples
            one.left_out += record.status == "final" and not update.included
        for address, wei in record.rewards:
            found[address].rewards += wei
        for address, wei, _ in record.slashes:
            found[address].slashed += wei
    return dict(found)
