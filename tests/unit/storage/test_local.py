import errno
import os
from pathlib import Path

import pytest

from fbfl.errors import PayloadNotFoundError, PayloadRefusedError, StorageError
from fbfl.storage import local
from fbfl.storage.local import LocalStore
from fbfl.storage.store import Reference, Store


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "payloads")


def stored_file(store: LocalStore, reference: Reference) -> Path:
    return store.folder / reference.cid


@pytest.mark.parametrize("size", [0, 1, 262_144, 262_145])
def test_what_was_put_is_got(store: Store, size: int) -> None:
    data = os.urandom(size)
    reference = store.put(data)
    assert reference == Reference.to(data)
    assert store.has(reference)
    assert store.get(reference) == data


def test_putting_twice_keeps_one_file(store: LocalStore) -> None:
    assert store.put(b"model") == store.put(b"model")
    assert [file.name for file in store.folder.iterdir()] == [Reference.to(b"model").cid]


def test_an_absent_payload_is_not_found(store: Store) -> None:
    reference = Reference.to(b"never put")
    assert not store.has(reference)
    with pytest.raises(PayloadNotFoundError, match=reference.cid):
        store.get(reference)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"moden", "other content"), (b"mode", "has 4 bytes"), (b"models", "longer than the 5 bytes")],
)
def test_a_damaged_payload_is_refused_on_every_read_and_healed_by_putting(
    store: LocalStore, content: bytes, reason: str
) -> None:
    reference = store.put(b"model")
    stored_file(store, reference).write_bytes(content)
    for _ in range(2):
        with pytest.raises(PayloadRefusedError, match=reason):
            store.get(reference)
    store.put(b"model")
    assert store.get(reference) == b"model"


def test_a_payload_is_read_whole_where_the_system_reads_it_in_parts(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Linux does beyond 2 GiB."""
    reference, short = store.put(b"a payload"), store.put(b"another")
    stored_file(store, short).write_bytes(b"anoth")
    read = os.read
    monkeypatch.setattr(os, "read", lambda handle, size: read(handle, min(size, 3)))
    assert store.get(reference) == b"a payload"
    with pytest.raises(PayloadRefusedError, match="has 5 bytes"):
        store.get(short)


def test_bytes_that_were_verified_once_excuse_no_others(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    reference = store.put(payload := b"one payload")
    path = store.folder / reference.cid
    assert store.get(reference) is payload  # in memory once
    assert LocalStore(store.folder).get(reference) == payload
    path.write_bytes(b"two payload")
    with pytest.raises(PayloadRefusedError):
        store.get(reference)
    path.write_bytes(b"one payload")
    assert store.get(reference) == b"one payload"
    monkeypatch.setattr(local, "KEPT", 20)
    others = [store.put(b"another %d" % number) for number in range(4)]
    assert [store.get(other) for other in others] == [b"another %d" % number for number in range(4)]
    assert sum(map(len, store._verified._known.values())) == store._verified._size <= 20


def test_what_is_written_again_or_too_large_drives_nothing_out_of_memory(
    store: LocalStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "KEPT", 20)
    first, second = b"first" * 2, b"other" * 2
    references = [store.put(first), store.put(second)]
    store.put(bytes(second))
    assert store.get(store.put(bytes(21))) == bytes(21)
    assert [store.get(each) is kept for each, kept in zip(references, (first, second), strict=True)] == [True, True]


def test_a_reference_that_claims_another_size_is_refused(store: LocalStore) -> None:
    reference = store.put(b"model")
    for size in (4, 6):
        with pytest.raises(PayloadRefusedError, match=r"on record|record says"):
            store.get(Reference(reference.digest, size))


def test_an_unpinned_payload_is_gone(store: Store) -> None:
    reference = store.put(b"model")
    store.pin(reference)
    assert store.has(reference)
    store.unpin(reference)
    store.unpin(reference)
    assert not store.has(reference)


def test_a_full_disk_is_said_and_leaves_nothing(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(StorageError, match="the disk is full"):
        store.put(b"model")
    assert list(store.folder.iterdir()) == []


@pytest.mark.parametrize("durable", [True, False])
def test_only_what_outlasts_the_machine_waits_for_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durable: bool
) -> None:
    waited: list[int] = []
    monkeypatch.setattr(os, "fsync", waited.append)
    store = LocalStore(tmp_path, durable=durable)
    assert store.get(store.put(b"model")) == b"model"
    assert len(waited) == durable


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match=r"cannot make the payload folder .*file/payloads: Not a directory"):
        LocalStore(tmp_path / "file" / "payloads")


def test_a_payload_that_cannot_be_read_is_said(store: LocalStore) -> None:
    reference = store.put(b"model")
    stored_file(store, reference).unlink()
    stored_file(store, reference).mkdir()
    with pytest.raises(StorageError, match=r"cannot read the payload .*: Is a directory"):
        store.get(reference)
    with pytest.raises(StorageError, match=r"cannot write the payload .*: Is a directory"):
        store.put(b"model")
    with pytest.raises(StorageError, match="cannot delete the payload"):
        store.unpin(reference)
