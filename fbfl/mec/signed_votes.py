"""Record of one account's signed votes: two that exclude each other would cost it its stake."""

from pathlib import Path

from eth_account.signers.local import LocalAccount

from fbfl.chain.digests import Domain
from fbfl.chain.rounds import Ballot
from fbfl.chain.signatures import SignedVote, sign_vote
from fbfl.system.database import Database

_SCHEMA = """
create table if not exists votes (
    contract text, task integer, round integer, view integer, stage integer,
    value blob not null, accept integer not null,
    primary key (contract, task, round, view, stage)
) without rowid;
create table if not exists unsure (contract text, task integer, round integer not null, primary key (contract, task));
"""


class SignedVotes:
    """The votes that an account has signed in the task that `domain` names, whose ledger is the consensus contract.

    A vote counts as signed before its signature exists. With a file `path`, which may be about several tasks, votes
    outlast the process, and a chain that is reorganised or begins anew, too. `unsure` is the last round in which
    votes may have been signed that a new file lacks: up to there it signs nothing.
    """

    def __init__(self, account: LocalAccount, domain: Domain, path: Path | None = None, unsure: int = 0) -> None:
        self._account = account
        self._domain = domain
        self._database = Database(path or Path(":memory:"), _SCHEMA)
        with self._database.transaction() as connection:
            task = domain.ledger, domain.task
            connection.execute("insert or ignore into unsure values (?, ?, ?)", (*task, unsure))
            query = "select round from unsure where contract = ? and task = ?"
            (self._unsure,) = connection.execute(query, task).fetchone()

    def sign(self, ballot: Ballot) -> SignedVote | None:
        """Sign a ballot; None if another one was signed in this stage of this view, or may have been."""
        if ballot.round <= self._unsure:
            return None
        key = self._domain.ledger, self._domain.task, ballot.round, ballot.view, int(ballot.stage)
        vote = ballot.value_digest, ballot.accept
        with self._database.transaction() as connection:
            connection.execute("insert or ignore into votes values (?, ?, ?, ?, ?, ?, ?)", (*key, *vote))
            query = "select value, accept from votes where (contract, task, round, view, stage) = (?, ?, ?, ?, ?)"
            signed = connection.execute(query, key).fetchone()
        if signed != vote:
            return None
        return sign_vote(self._account, self._domain, ballot)
