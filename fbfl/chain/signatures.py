"""Updates and votes signed off the chain (EIP-712), for one transaction to record many of them."""

import functools
from dataclasses import dataclass

from eth_account.signers.local import LocalAccount
from eth_hash.auto import keccak

from fbfl.chain.digests import Domain
from fbfl.chain.keys import checksummed, sign, signer_of
from fbfl.chain.rounds import Ballot
from fbfl.chain.words import packed
from fbfl.storage.store import Reference
from fbfl.values.contract_types import Word

Compact = tuple[Word, Word]
"""A signature as r and vs (EIP-2098): the highest bit of vs is the parity."""

_DOMAIN = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
_UPDATE = "Update(uint256 task,uint32 round,bytes32 parent,bytes32 digest,uint32 size,uint32 samples)"
_VOTE = "Vote(uint256 task,uint32 round,uint16 view,uint8 stage,bytes32 valueDigest,bool accept)"


@dataclass(frozen=True)
class SignedUpdate:
    """`IFederatedTasks.SignedUpdate`, with the task, round and parent model (its digest) that the signature covers."""

    task: int
    round: int
    parent: bytes
    payload: Reference
    samples: int
    signature: Compact

    def as_tuple(self) -> tuple[bytes, int, int, bytes, bytes]:
        """Return the form in which the contract takes it."""
        return (self.payload.digest, self.payload.size, self.samples, *self.signature)


@dataclass(frozen=True)
class SignedVote(Ballot):
    """A ballot with its signature."""

    signature: Compact


def sign_update(
    account: LocalAccount, domain: Domain, round_number: int, parent: bytes, payload: Reference, samples: int
) -> SignedUpdate:
    """Sign an update of the model `parent` for the ledger `domain.ledger`."""
    digest = _update_digest(domain, domain.task, round_number, parent, payload, samples)
    return SignedUpdate(domain.task, round_number, parent, payload, samples, _sign(account, digest))


def sign_vote(account: LocalAccount, domain: Domain, ballot: Ballot) -> SignedVote:
    """Sign a ballot; `domain.ledger` is the address of the consensus contract here."""
    return SignedVote(**vars(ballot), signature=_sign(account, _vote_digest(domain, ballot)))


def signer_of_update(domain: Domain, update: SignedUpdate) -> str:
    """Return the address that signed an update."""
    about = update.task, update.round, update.parent, update.payload, update.samples
    return _signer(_update_digest(domain, *about), update.signature)


def signer_of_vote(domain: Domain, vote: SignedVote) -> str:
    """Return the address that signed a vote."""
    return _signer(_vote_digest(domain, vote), vote.signature)


def _update_digest(
    domain: Domain, task: int, round_number: int, parent: bytes, payload: Reference, samples: int
) -> bytes:
    return _digest(domain, _UPDATE, task, round_number, parent, payload.digest, payload.size, samples)


def _vote_digest(domain: Domain, ballot: Ballot) -> bytes:
    about = ballot.task, ballot.round, ballot.view, ballot.stage, ballot.value_digest, ballot.accept
    return _digest(domain, _VOTE, *about)


def _digest(domain: Domain, kind: str, *values: int | bytes) -> bytes:
    """Return the hash that a signature of such a message covers. A value that its field cannot hold raises an error."""
    name, kinds = _form(kind)
    return keccak(b"\x19\x01" + _separator(domain.chain_id, domain.ledger) + keccak(name + packed(kinds, *values)))


@functools.cache
def _form(kind: str) -> tuple[bytes, str]:
    """Return the hash that stands for a kind of message, and the types of its fields."""
    fields = kind[kind.index("(") + 1 : -1].split(",")
    return keccak(kind.encode()), ",".join(field.split()[0] for field in fields)


@functools.lru_cache(maxsize=64)
def _separator(chain_id: int, ledger: str) -> bytes:
    """Return the hash that stands for a contract of a chain."""
    names = b"".join(keccak(text) for text in (_DOMAIN.encode(), b"fbfl", b"1"))
    return keccak(names + packed("uint256,address", chain_id, ledger))


def _sign(account: LocalAccount, digest: bytes) -> Compact:
    r, s, parity = sign(bytes(account.key), digest)
    return r.to_bytes(32, "big"), (s | parity << 255).to_bytes(32, "big")


def _signer(digest: bytes, signature: Compact) -> str:
    r, vs = (int.from_bytes(word, "big") for word in signature)
    return checksummed(signer_of(digest, r, vs & (1 << 255) - 1, vs >> 255))
