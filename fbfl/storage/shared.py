"""A store that several use: agents in other tasks, or whoever else pins things in the same IPFS daemon.

Anybody in a task can record the digest of anything. When its time there is over, only what a server keeps for that task
alone may go: not what its operator had in the store before, nor what its agents in other tasks need.
"""

import hashlib
from pathlib import Path

from fbfl.storage.store import Reference, Store
from fbfl.system.database import Database

_SCHEMA = "create table if not exists held (cid text, holder text, primary key (cid, holder)) without rowid;"
_HOLDERS = "select holder from held where cid = ?"
_OTHERS = ""  # the holder of what was in the store before any of ours


class SharedStore:
    """A store as one of its users sees it, who lets go of what it alone has put or pinned there.

    `folder` has the record of who holds what, for all users of the same store; `holder` is the name of this one.
    """

    def __init__(self, store: Store, folder: Path, holder: str) -> None:
        self._store = store
        self._holder = holder
        # A file for each store: a daemon that does not answer must not hold up the users of another one.
        name = hashlib.sha256(store.place.encode()).hexdigest()[:16]
        self._database = Database(folder / f"payloads-{name}.sqlite", _SCHEMA)

    @property
    def waits(self) -> bool:
        """True if `get` waits for others who have the payload."""
        return self._store.waits

    @property
    def place(self) -> str:
        """Where the store is."""
        return self._store.place

    def put(self, data: bytes) -> Reference:
        """Keep these bytes."""
        self._hold(Reference.to(data))
        return self._store.put(data)

    def get(self, reference: Reference) -> bytes:
        """Return the payload, verified."""
        return self._store.get(reference)

    def has(self, reference: Reference) -> bool:
        """Return True if the payload is kept here."""
        return self._store.has(reference)

    def is_pinned(self, reference: Reference) -> bool:
        """Return True if the payload is kept until somebody lets it go."""
        return self._store.is_pinned(reference)

    def pin(self, reference: Reference) -> None:
        """Keep what was fetched."""
        self._hold(reference)
        self._store.pin(reference)

    def unpin(self, reference: Reference) -> None:
        """Let the payload go, once nobody else holds it; what this user does not hold stays as it is."""
        with self._database.transaction() as connection:
            holders = {holder for (holder,) in connection.execute(_HOLDERS, (reference.cid,))}
            if holders == {self._holder}:
                self._store.unpin(reference)
            connection.execute("delete from held where (cid, holder) = (?, ?)", (reference.cid, self._holder))

    def _hold(self, reference: Reference) -> None:
        """Take note that this user holds the payload, before it does."""
        with self._database.transaction() as connection:
            known = connection.execute(_HOLDERS, (reference.cid,)).fetchone()
            new = [self._holder] if known or not self._store.is_pinned(reference) else [self._holder, _OTHERS]
            for holder in new:
                connection.execute("insert or ignore into held values (?, ?)", (reference.cid, holder))
