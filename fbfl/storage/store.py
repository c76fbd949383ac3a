"""The interface of payload stores, and references to payloads."""

from typing import NamedTuple, Protocol, Self

from fbfl.errors import PayloadRefusedError
from fbfl.storage.cid import cid_from_digest, digest_of
from fbfl.values.contract_types import Number


class Reference(NamedTuple):
    """A payload as the chain records it: the 32-byte root digest and the size in bytes."""

    digest: bytes
    size: Number

    @classmethod
    def to(cls, data: bytes) -> Self:
        """Return the reference of these bytes."""
        return cls(digest_of(data), len(data))

    @property
    def cid(self) -> str:
        """CID of the payload."""
        return cid_from_digest(self.digest, self.size)

    def verify(self, data: bytes) -> bytes:
        """Return `data` itself if it is the payload; else raise `PayloadRefusedError`."""
        if len(data) != self.size:
            raise PayloadRefusedError(f"payload {self.cid} has {len(data)} bytes, its record says {self.size}")
        if digest_of(data) != self.digest:
            raise PayloadRefusedError(f"payload {self.cid} has other content than its digest says")
        return data


class Store(Protocol):
    """Keeps payloads by content. Safe to use from several threads.

    A failing disk or daemon raises `StorageError`.
    """

    @property
    def waits(self) -> bool:
        """True if `get` waits for others who have the payload, so that one thread for many would take long."""

    @property
    def place(self) -> str:
        """Where it is: stores of the same place have the same payloads."""

    def put(self, data: bytes) -> Reference:
        """Keep these bytes; keeping them again changes nothing."""

    def get(self, reference: Reference) -> bytes:
        """Return the payload, verified on every read, never more than `reference.size` bytes of it.

        Raises `PayloadNotFoundError` if nobody has it, `PayloadRefusedError` if the bytes are others.
        """

    def has(self, reference: Reference) -> bool:
        """Return True if the payload is kept here, without reading or fetching it."""

    def is_pinned(self, reference: Reference) -> bool:
        """Return True if the payload is kept here until somebody lets it go."""

    def pin(self, reference: Reference) -> None:
        """Keep what was fetched, so that others can fetch it from here."""

    def unpin(self, reference: Reference) -> None:
        """Let the payload go: its retention is over."""
