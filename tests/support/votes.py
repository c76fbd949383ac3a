"""Votes that a board may hold, for property tests."""

from hypothesis import strategies as st

from fbfl.chain.rounds import Stage
from fbfl.chain.signatures import SignedVote

SIGNED_VOTES = st.builds(
    SignedVote,
    task=st.just(1),
    round=st.just(1),
    view=st.integers(0, 1),
    stage=st.sampled_from((Stage.PREPARE, Stage.COMMIT)),
    value_digest=st.sampled_from((bytes(32), bytes([1] * 32))),
    accept=st.booleans(),
    signature=st.just((bytes(32), bytes(32))),
)
ENTRIES = st.lists(st.tuples(st.sampled_from(("0xa", "0xb")), SIGNED_VOTES), max_size=12).map(tuple)
