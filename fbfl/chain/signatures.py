"""Updates and votes signed off the chain (EIP-712), for one transaction to record many of them."""

from dataclasses import dataclass

from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_account.signers.local import LocalAccount

from fbfl.chain.digests import Domain
from fbfl.chain.rounds import Ballot
from fbfl.storage.store import Reference

Compact = tuple[bytes, bytes]
"""A signature as r and vs (EIP-2098): the highest bit of vs is the parity."""

_UPDATE = [
    {"name": "task", "type": "uint256"},
    {"name": "round", "type": "uint32"},
    {"name": "parent", "type": "bytes32"},
    {"name": "digest", "type": "bytes32"},
    {"name": "size", "type": "uint32"},
    {"name": "samples", "type": "uint32"},
]
_VOTE = [
    {"name": "task", "type": "uint256"},
    {"name": "round", "type": "uint32"},
    {"name": "view", "type": "uint16"},
    {"name": "stage", "type": "uint8"},
    {"name": "valueDigest", "type": "bytes32"},
    {"name": "accept", "type": "bool"},
]


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
    message = _update_message(domain.task, round_number, parent, payload, samples)
    signature = _sign(account, domain, "Update", _UPDATE, message)
    return SignedUpdate(domain.task, round_number, parent, payload, samples, signature)


def sign_vote(account: LocalAccount, domain: Domain, ballot: Ballot) -> SignedVote:
    """Sign a ballot; `domain.ledger` is the address of the consensus contract here."""
    signature = _sign(account, domain, "Vote", _VOTE, _vote_message(ballot))
    return SignedVote(
        task=ballot.task,
        round=ballot.round,
        view=ballot.view,
        stage=ballot.stage,
        value_digest=ballot.value_digest,
        accept=ballot.accept,
        signature=signature,
    )


def signer_of_update(domain: Domain, update: SignedUpdate) -> str:
    """Return the address that signed an update."""
    message = _update_message(update.task, update.round, update.parent, update.payload, update.samples)
    return _signer(domain, "Update", _UPDATE, message, update.signature)


def signer_of_vote(domain: Domain, vote: SignedVote) -> str:
    """Return the address that signed a vote."""
    return _signer(domain, "Vote", _VOTE, _vote_message(vote), vote.signature)


def _update_message(task: int, round_number: int, parent: bytes, payload: Reference, samples: int) -> dict[str, object]:
    return {
        "task": task,
        "round": round_number,
        "parent": parent,
        "digest": payload.digest,
        "size": payload.size,
        "samples": samples,
    }


def _vote_message(ballot: Ballot) -> dict[str, object]:
    return {
        "task": ballot.task,
        "round": ballot.round,
        "view": ballot.view,
        "stage": int(ballot.stage),
        "valueDigest": ballot.value_digest,
        "accept": ballot.accept,
    }


def _domain_data(domain: Domain) -> dict[str, object]:
    return {"name": "fbfl", "version": "1", "chainId": domain.chain_id, "verifyingContract": domain.ledger}


def _sign(
    account: LocalAccount, domain: Domain, name: str, fields: list[dict[str, str]], message: dict[str, object]
) -> Compact:
    signed = account.sign_message(encode_typed_data(_domain_data(domain), {name: fields}, message))
    vs = signed.s | (signed.v - 27) << 255
    return signed.r.to_bytes(32, "big"), vs.to_bytes(32, "big")


def _signer(
    domain: Domain, name: str, fields: list[dict[str, str]], message: dict[str, object], signature: Compact
) -> str:
    r, vs = (int.from_bytes(word, "big") for word in signature)
    vrs = 27 + (vs >> 255), r, vs & (1 << 255) - 1
    signable = encode_typed_data(_domain_data(domain), {name: fields}, message)
    return str(Account.recover_message(signable, vrs=vrs))
