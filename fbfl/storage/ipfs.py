"""Payloads in IPFS, through the RPC of a Kubo daemon."""

import hashlib
import os
import time
import warnings
from collections.abc import Callable
from typing import Any

import ipfshttpclient
import requests
from ipfshttpclient import exceptions
from urllib3.exceptions import ReadTimeoutError

from fbfl.errors import InvalidInputError, PayloadNotFoundError, PayloadRefusedError, StorageError
from fbfl.storage.cid import CHUNK_SIZE, LINKS_PER_NODE, child_sizes, children_in, cid_of_node, height_of
from fbfl.storage.store import Reference
from fbfl.system.backoff import pause_after

ENVIRONMENT_VARIABLE = "FBFL_IPFS"
DEFAULT_ADDRESS = "/ip4/127.0.0.1/tcp/5001/http"
PROFILE = {
    "cid-version": "1",
    "hash": "sha2-256",
    "raw-leaves": "true",
    "chunker": f"size-{CHUNK_SIZE}",
    "max-file-links": str(LINKS_PER_NODE),
    "trickle": "false",
    "pin": "true",
}
"""All options that determine a CID, see `fbfl.storage.cid`: an `add` without them follows the daemon's settings."""

# A warning about its own use of urllib3, which pyproject.toml pins; in an agent's log it would not be JSON.
warnings.filterwarnings("ignore", "The 'strict' parameter is no longer needed")


class IpfsStore:
    """A store behind the Kubo daemon at `address`, a multiaddr (else `FBFL_IPFS`, else port 5001 of this machine).

    `timeout` in seconds bounds each request, and the fetching of a payload's nodes and then of its bytes; a
    connection that breaks is tried `attempts` times. Only `get` waits for other peers, so only there a time-out means
    that nobody has the payload.
    """

    waits = True

    def __init__(self, address: str | None = None, *, timeout: float = 30.0, attempts: int = 3) -> None:
        self.address = address or os.environ.get(ENVIRONMENT_VARIABLE) or DEFAULT_ADDRESS
        self.timeout = timeout
        self.attempts = attempts
        try:
            # `connect` would refuse daemons newer than the client.
            self._client = ipfshttpclient.Client(self.address, timeout=timeout)
        except exceptions.AddressError as error:
            raise InvalidInputError(
                f"IPFS address {self.address!r} is not a multiaddr such as {DEFAULT_ADDRESS}"
            ) from error

    @property
    def place(self) -> str:
        """The daemon's address."""
        return self.address

    def put(self, data: bytes) -> Reference:
        """Add and pin these bytes; `StorageError` if the daemon names them otherwise than fbfl does."""
        reference = Reference.to(data)
        cid = self._ask(lambda: self._client.add_bytes(data, opts=PROFILE))
        if cid != reference.cid:
            raise StorageError(f"the IPFS daemon at {self.address} stored {reference.cid} as {cid}")
        return reference

    def get(self, reference: Reference) -> bytes:
        """Return the payload, verified, from any peer that has it."""
        if not reference.size:
            return reference.verify(b"")  # daemons do not send each other the empty block
        try:
            # Others may have recorded a directory or anything else: check the nodes, so that only the bytes of a file
            # are asked for.
            height = height_of(reference.size)
            self._check_nodes(reference.digest, reference.size, height, time.monotonic() + self.timeout)
            return reference.verify(self._ask(lambda: self._read(reference)))
        except (_AbsentError, _TimeOutError) as error:
            raise PayloadNotFoundError(f"payload {reference.cid} was not found through {self.address}") from error
        except _ErrorAnswerError as error:
            if self._is_well():
                raise PayloadRefusedError(f"payload {reference.cid} cannot be read: {error}") from error
            raise

    def has(self, reference: Reference) -> bool:
        """Return True if the root block is on the daemon's own disk."""
        return self._finds(lambda: self._client.block.stat(reference.cid, opts={"offline": "true"}))

    def is_pinned(self, reference: Reference) -> bool:
        """Return True if the daemon keeps the payload, whoever asked it to."""
        return self._finds(lambda: self._client.pin.ls(reference.cid, type="recursive"))

    def pin(self, reference: Reference) -> None:
        """Keep the payload on this daemon."""
        try:
            self._ask(lambda: self._client.pin.add(reference.cid))
        except _AbsentError as error:
            raise PayloadNotFoundError(f"payload {reference.cid} was not found through {self.address}") from error

    def unpin(self, reference: Reference) -> None:
        """Let the daemon's garbage collection take the payload."""
        try:
            self._ask(lambda: self._client.pin.rm(reference.cid))
        except _AbsentError:
            return

    def _check_nodes(self, digest: bytes, size: int, height: int, deadline: float) -> None:
        """Fetch the nodes above the leaves; `PayloadRefusedError` if they are not those of a file of `size` bytes."""
        if not height:
            return
        if time.monotonic() > deadline:
            raise _TimeOutError(f"the nodes took longer than {self.timeout:g} s to fetch")
        cid = cid_of_node(digest)
        block = self._ask(lambda: self._client.block.get(cid))
        if hashlib.sha256(block).digest() != digest:
            raise StorageError(f"the IPFS daemon at {self.address} answers with other bytes than those of block {cid}")
        for child, below in zip(children_in(block, size, height), child_sizes(size, height), strict=True):
            self._check_nodes(child, below, height - 1, deadline)

    def _is_well(self) -> bool:
        """Return True if the daemon takes a block as large as any of a payload, and gives it back."""
        probe = os.urandom(CHUNK_SIZE)
        try:
            cid = self._ask(lambda: self._client.add_bytes(probe, opts={**PROFILE, "pin": "false"}))
            return bool(self._ask(lambda: self._client.cat(cid)) == probe)
        except StorageError:
            return False

    def _read(self, reference: Reference) -> bytes:
        """Read at most one byte more than the reference says, within the time-out however slowly they come."""
        deadline = time.monotonic() + self.timeout
        data = bytearray()
        with self._client.cat(reference.cid, length=reference.size + 1, stream=True) as chunks:
            for chunk in chunks:
                data += chunk
                if len(data) > reference.size:
                    raise PayloadRefusedError(
                        f"payload {reference.cid} is longer than the {reference.size} bytes on record"
                    )
                if time.monotonic() > deadline:
                    raise PayloadNotFoundError(f"payload {reference.cid} took longer than {self.timeout:g} s to fetch")
        return bytes(data)

    def _ask(self, request: Callable[[], Any]) -> Any:
        """Make a request, again if the connection breaks; raise our errors when it fails for good."""
        problem: Exception | None = None
        for attempt in range(self.attempts):
            if attempt:
                time.sleep(pause_after(attempt, first=0.4, longest=2.0))
            try:
                return request()
            except exceptions.ErrorResponse as error:
                message = str(error)
                if any(sign in message for sign in ABSENT_SIGNS):
                    raise _AbsentError(message) from error
                if TIME_OUT_SIGN in message:
                    raise self._late() from error
                raise _ErrorAnswerError(f"the IPFS daemon at {self.address} answered: {message}") from error
            except (exceptions.Error, requests.RequestException) as error:
                cause = error.original if isinstance(error, exceptions.CommunicationError) else error
                if isinstance(cause, requests.ConnectTimeout):
                    within = f"within {self.timeout:g} s"
                    raise StorageError(f"the IPFS daemon at {self.address} took no connection {within}") from error
                if _timed_out(cause):
                    raise self._late() from error
                problem = error
        raise StorageError(
            f"no IPFS daemon answers properly at {self.address} ({type(problem).__name__}); is it running?"
        ) from problem

    def _finds(self, request: Callable[[], Any]) -> bool:
        """Return True if a request for something is answered; False if the daemon does not have it."""
        try:
            self._ask(request)
        except _AbsentError:
            return False
        return True

    def _late(self) -> "_TimeOutError":
        return _TimeOutError(f"the IPFS daemon at {self.address} did not answer within {self.timeout:g} s")


def _timed_out(error: Exception | None) -> bool:
    # A time-out in the middle of an answer comes as a broken connection with the time-out inside.
    inner = error.args[0] if isinstance(error, requests.ConnectionError) and error.args else None
    return isinstance(error, requests.Timeout) or isinstance(inner, ReadTimeoutError)


ABSENT_SIGNS = ("not found", "could not find", "not pinned")
"""Parts of Kubo's error messages that mean that it does not have something."""

TIME_OUT_SIGN = "deadline exceeded"
"""Part of Kubo's error messages that means that it gave up waiting."""


class _AbsentError(PayloadNotFoundError):
    """The daemon works but does not have it."""


class _ErrorAnswerError(StorageError):
    """The daemon could not do what it was asked for, for a reason of its own or of the payload's."""


class _TimeOutError(StorageError):
    """The daemon took the request, and did not answer in time."""
