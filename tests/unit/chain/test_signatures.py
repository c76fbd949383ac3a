"""Signed votes and updates: who signed, what the signature covers, and what contradicts what."""

from dataclasses import replace
from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from hypothesis import given
from hypothesis import strategies as st

from fbfl.chain.digests import Domain
from fbfl.chain.rounds import Ballot, Stage
from fbfl.chain.signatures import SignedVote, sign_update, sign_vote, signer_of_update, signer_of_vote
from fbfl.storage.store import Reference

ACCOUNT = Account.from_key(b"\7" * 32)
DOMAIN = Domain(31337, "0x" + "Aa" * 20, 3)
PARENT = b"\4" * 32
PAYLOAD = Reference(b"\5" * 32, 1000)


def vote(**changes: Any) -> SignedVote:
    ballot = Ballot(task=3, round=2, view=1, stage=Stage.PREPARE, value_digest=b"\6" * 32, accept=True)
    return sign_vote(ACCOUNT, DOMAIN, replace(ballot, **changes))


def test_the_signer_is_recovered() -> None:
    assert signer_of_vote(DOMAIN, vote()) == ACCOUNT.address
    assert signer_of_update(DOMAIN, sign_update(ACCOUNT, DOMAIN, 2, PARENT, PAYLOAD, 10)) == ACCOUNT.address


def test_a_signature_covers_every_field_and_the_domain() -> None:
    signed = vote()
    field: str
    other: Any
    for field, other in (
        ("task", 4),
        ("round", 3),
        ("view", 0),
        ("stage", Stage.COMMIT),
        ("accept", False),
        ("value_digest", b"\7" * 32),
    ):
        assert signer_of_vote(DOMAIN, replace(signed, **{field: other})) != ACCOUNT.address, field
    for field, other in (("chain_id", 1), ("ledger", "0x" + "Bb" * 20)):
        assert signer_of_vote(replace(DOMAIN, **{field: other}), signed) != ACCOUNT.address, field
    update = sign_update(ACCOUNT, DOMAIN, 2, PARENT, PAYLOAD, 10)
    for field, other in (
        ("task", 4),
        ("round", 3),
        ("parent", b"\5" * 32),
        ("payload", Reference(b"\5" * 32, 999)),
        ("samples", 11),
    ):
        assert signer_of_update(DOMAIN, replace(update, **{field: other})) != ACCOUNT.address, field


def typed(name: str, fields: str, values: list[Any]) -> Any:
    """The message as eth-account has it."""
    kinds = [dict(zip(("type", "name"), field.split(), strict=True)) for field in fields.split(",")]
    domain = {"name": "fbfl", "version": "1", "chainId": DOMAIN.chain_id, "verifyingContract": DOMAIN.ledger}
    message = {each["name"]: value for each, value in zip(kinds, values, strict=True)}
    return encode_typed_data(domain, {name: kinds}, message)


words = st.binary(min_size=32, max_size=32)
small = st.integers(0, 2**32 - 1)


@given(st.integers(0, 2**256 - 1), small, words, words, small, small)
def test_an_update_is_signed_as_wallets_sign_it(
    task: int, number: int, parent: bytes, digest: bytes, size: int, samples: int
) -> None:
    fields = "uint256 task,uint32 round,bytes32 parent,bytes32 digest,uint32 size,uint32 samples"
    expected = ACCOUNT.sign_message(typed("Update", fields, [task, number, parent, digest, size, samples]))
    domain = replace(DOMAIN, task=task)
    signed = sign_update(ACCOUNT, domain, number, parent, Reference(digest, size), samples)
    compact = expected.s | (expected.v - 27) << 255
    assert signed.signature == (expected.r.to_bytes(32, "big"), compact.to_bytes(32, "big"))


@given(
    task=st.integers(0, 2**256 - 1),
    number=small,
    view=st.integers(0, 2**16 - 1),
    stage=st.sampled_from(Stage),
    digest=words,
    accept=st.booleans(),
)
def test_a_vote_is_signed_as_wallets_sign_it(
    task: int, number: int, view: int, stage: Stage, digest: bytes, *, accept: bool
) -> None:
    fields = "uint256 task,uint32 round,uint16 view,uint8 stage,bytes32 valueDigest,bool accept"
    expected = ACCOUNT.sign_message(typed("Vote", fields, [task, number, view, int(stage), digest, accept]))
    signed = sign_vote(ACCOUNT, DOMAIN, Ballot(task, number, view, stage, digest, accept))
    compact = expected.s | (expected.v - 27) << 255
    assert signed.signature == (expected.r.to_bytes(32, "big"), compact.to_bytes(32, "big"))


@pytest.mark.parametrize(
    "wrong", [{"round": 2**32}, {"view": 2**16}, {"view": -1}, {"task": 2**256}, {"value_digest": b"\6" * 31}]
)
def test_nothing_is_signed_that_its_field_cannot_hold(wrong: dict[str, Any]) -> None:
    with pytest.raises((OverflowError, ValueError)):
        vote(**wrong)


@given(
    digests=st.tuples(st.sampled_from([b"\1" * 32, b"\2" * 32]), st.sampled_from([b"\1" * 32, b"\2" * 32])),
    accepts=st.tuples(st.booleans(), st.booleans()),
    views=st.tuples(st.integers(0, 1), st.integers(0, 1)),
)
def test_votes_conflict_when_no_honest_member_could_have_cast_both(
    digests: tuple[bytes, bytes], accepts: tuple[bool, bool], views: tuple[int, int]
) -> None:
    first, second = (
        SignedVote(1, 1, view, Stage.PREPARE, digest, accept, (b"", b""))
        for digest, accept, view in zip(digests, accepts, views, strict=True)
    )
    # An honest member accepts one value in a view at most, and never judges one value both ways.
    honest = views[0] != views[1] or (
        accepts[0] == accepts[1] if digests[0] == digests[1] else not (accepts[0] and accepts[1])
    )
    assert first.conflicts_with(second) is not honest
    assert second.conflicts_with(first) is not honest
