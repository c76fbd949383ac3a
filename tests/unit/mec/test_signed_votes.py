from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from eth_account.signers.local import LocalAccount
from hypothesis import given, settings
from hypothesis import strategies as st

from fbfl.chain.accounts import development_account
from fbfl.chain.digests import Domain
from fbfl.chain.rounds import Ballot, Stage
from fbfl.chain.signatures import SignedVote, signer_of_vote
from fbfl.mec.signed_votes import SignedVotes

ACCOUNT: LocalAccount = development_account(1)
DOMAIN = Domain(31337, "0x" + "22" * 20, 1)
VALUES = st.sampled_from([bytes([number] * 32) for number in range(3)])
STAGES = st.sampled_from([Stage.PREPARE, Stage.COMMIT])
BALLOTS = st.builds(Ballot, st.just(1), st.integers(1, 3), st.integers(0, 1), STAGES, VALUES, st.booleans())


@settings(max_examples=30)
@given(steps=st.lists(BALLOTS | st.just("restart"), max_size=30))
def test_whatever_the_chain_goes_back_to_no_two_signatures_are_evidence(steps: list[object]) -> None:
    with TemporaryDirectory() as folder:
        file = Path(folder) / "votes.sqlite"
        book = SignedVotes(ACCOUNT, DOMAIN, file)
        signed: list[SignedVote] = []
        for step in steps:
            if step == "restart":
                book = SignedVotes(ACCOUNT, DOMAIN, file, unsure=3)  # the file knows better
                continue
            assert isinstance(step, Ballot)
            vote = book.sign(step)
            here = step.round, step.view, step.stage
            first_here = all((other.round, other.view, other.stage) != here for other in signed)
            if vote is not None:
                assert signer_of_vote(DOMAIN, vote) == ACCOUNT.address
                assert vote.as_tuple() == step.as_tuple()
                signed.append(vote)
            assert vote is not None or not first_here, "it signs what nothing speaks against"
        assert not any(one.conflicts_with(other) for one in signed for other in signed)


def test_nothing_is_signed_in_rounds_of_which_the_file_cannot_know(tmp_path: Path) -> None:
    file = tmp_path / "votes.sqlite"
    ballot = Ballot(1, 5, 0, Stage.PREPARE, bytes(32), True)
    assert SignedVotes(ACCOUNT, DOMAIN, file, unsure=5).sign(ballot) is None
    assert SignedVotes(ACCOUNT, DOMAIN, file, unsure=7).sign(replace(ballot, round=6)) is not None
    domain, ballot = replace(DOMAIN, task=2), replace(ballot, task=2)
    assert SignedVotes(ACCOUNT, domain, file, unsure=7).sign(replace(ballot, round=7)) is None
    assert SignedVotes(ACCOUNT, domain, file).sign(replace(ballot, round=8, value_digest=b"\x01" * 32)) is not None
