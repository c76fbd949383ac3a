"""Payloads in real Kubo daemons that are connected to each other."""

import base64
import hashlib
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from fbfl.errors import PayloadNotFoundError, PayloadRefusedError, StorageError
from fbfl.learning import datasets
from fbfl.mec.dishonest import Behaviour
from fbfl.nodes import kubo
from fbfl.nodes.processes import recorded, running
from fbfl.settings import RunSettings
from fbfl.simulation import Simulation
from fbfl.storage.cid import CHUNK_SIZE, LINKS_PER_NODE, cid_of
from fbfl.storage.ipfs import IpfsStore
from fbfl.storage.store import Reference
from tests.integration.machine import require
from tests.support.ports import free_ports

pytestmark = pytest.mark.integration

SIZES = [0, 1, 1000, 262_143, 262_144, 262_145, 524_288, 1_000_000, 1_048_576]


def some_bytes(size: int) -> bytes:
    """Bytes that no daemon has seen yet."""
    return os.urandom(size)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[list[IpfsStore]]:
    """Daemons of the test's own, to be killed."""
    require("kubo", "ipfs")
    daemons = kubo.up(nodes=2, port=free_ports(), state=tmp_path)
    yield [IpfsStore(daemon.address, timeout=3.0) for daemon in daemons]
    kubo.down(state=tmp_path)


@pytest.mark.parametrize("size", SIZES)
def test_a_payload_has_our_cid_and_comes_from_the_other_daemon(stores: list[IpfsStore], size: int) -> None:
    here, there = stores
    data = some_bytes(size)
    reference = here.put(data)  # refuses another CID than ours
    assert reference.cid == cid_of(data)
    assert not there.has(reference)
    assert there.get(reference) == data
    assert there.has(reference) or not size  # the empty one needs no fetching


def test_the_largest_update_of_a_cnn_is_fetched_within_seconds(stores: list[IpfsStore]) -> None:
    here, there = stores
    data = some_bytes(7_000_000)
    start = time.monotonic()
    assert there.get(here.put(data)) == data
    assert time.monotonic() - start < 15


def test_what_nobody_has_is_not_found_in_the_time_given(stores: list[IpfsStore]) -> None:
    hurried = IpfsStore(stores[0].address, timeout=1.5)
    absent = Reference.to(some_bytes(1000))
    assert not hurried.has(absent)
    for fetch, error, said in (
        (hurried.get, PayloadNotFoundError, absent.cid),
        (hurried.pin, StorageError, "did not answer within 1.5 s"),
    ):
        start = time.monotonic()
        with pytest.raises(error, match=said):
            fetch(absent)
        assert 1.0 < time.monotonic() - start < 6.0


def test_a_payload_longer_than_its_record_is_refused(stores: list[IpfsStore]) -> None:
    here, there = stores
    reference = here.put(some_bytes(5000))
    with pytest.raises(PayloadRefusedError):
        there.get(Reference(reference.digest, 4999))


def test_what_is_pinned_survives_the_collection_of_garbage(stores: list[IpfsStore]) -> None:
    here, there = stores
    kept, dropped = here.put(some_bytes(400_000)), here.put(some_bytes(400_000))
    for reference in (kept, dropped):
        there.get(reference)
    there.pin(kept)
    assert (here.is_pinned(kept), there.is_pinned(kept), there.is_pinned(dropped)) == (True, True, False)
    here.unpin(dropped)
    here.unpin(dropped)  # a second time changes nothing
    for store in stores:
        collect_garbage(store)
    assert (here.has(kept), there.has(kept)) == (True, True)
    assert (here.has(dropped), there.has(dropped)) == (False, False)
    here.unpin(kept)
    collect_garbage(here)
    assert not here.has(kept)
    assert len(here.get(kept)) == 400_000  # from the other daemon, which still holds it


def test_a_holder_that_is_killed_is_missed_until_it_is_back(pair: list[IpfsStore], tmp_path: Path) -> None:
    here, there = pair
    data = some_bytes(300_000)
    reference = here.put(data)
    pid = running(tmp_path / "kubo", recorded(tmp_path / "kubo")[0])
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(PayloadNotFoundError):
        there.get(reference)
    kubo.up(state=tmp_path)
    assert there.get(reference) == data
    assert here.get(reference) == data


NO_FILES = {
    "empty directory": b"\x0a\x02\x08\x01",
    "raw": b"\x0a\x02\x08\x00",
    "metadata": b"\x0a\x02\x08\x03",
    "symlink": b"\x0a\x07\x08\x04\x12\x03a/b",
    "shard": b"\x0a\x0a\x08\x05\x12\x01\x00\x28\x22\x30\x80\x02",
    "unknown type": b"\x0a\x02\x08\x09",
    "no UnixFS": b"\x0a\x03abc",
    "no protobuf": b"\xff" * 40,
    "file without its children": b"\x0a\x06\x08\x02\x18\x80\xb5\x18",
}


@pytest.mark.parametrize("block", NO_FILES.values(), ids=list(NO_FILES))
def test_the_digest_of_what_is_no_file_is_the_payloads_fault(stores: list[IpfsStore], block: bytes) -> None:
    here, there = stores
    reference = Reference(hashlib.sha256(block).digest(), 400_000)
    port = here.address.split("/")[4]
    put = f"http://127.0.0.1:{port}/api/v0/block/put?cid-codec=dag-pb&mhtype=sha2-256"
    answer = requests.post(put, files={"file": block}, timeout=30)
    assert answer.json()["Key"] == reference.cid
    for store in (here, there):
        with pytest.raises(PayloadRefusedError):
            store.get(reference)
        store.unpin(reference)


def test_a_liar_who_records_a_directory_is_left_out_and_stops_nobody(stores: list[IpfsStore]) -> None:
    settings = RunSettings(dataset="digits", model="cnn", servers=4, devices=4, consensus="pbft", rounds=1)
    liar = Behaviour(submits=False)
    federation = Simulation(settings, datasets.load("digits"), stores[0], behaviours={0: liar}, lanes=1)
    federation.owner.open_round(federation.task.id)
    size = federation.plan.max_payload
    assert size > CHUNK_SIZE
    directory = Reference(hashlib.sha256(NO_FILES["empty directory"]).digest(), size)
    federation.servers[0].participant.submit(federation.task.id, 1, directory, 1)
    record = federation.play_round().record
    assert record.status == "final"
    assert record.missing == (federation.servers[0].address,)
    assert record.views == 1


def test_another_tree_of_the_same_bytes_is_refused(stores: list[IpfsStore]) -> None:
    here, there = stores
    data = some_bytes(1_000_000)
    port = here.address.split("/")[4]
    for options in (
        "raw-leaves=true&chunker=size-100000",
        "raw-leaves=true&chunker=size-262144&max-file-links=2",
        "raw-leaves=false&chunker=size-262144",
    ):
        add = f"http://127.0.0.1:{port}/api/v0/add?cid-version=1&{options}"
        cid = requests.post(add, files={"file": data}, timeout=30).json()["Hash"]
        root = base64.b32decode(cid[1:].upper() + "=" * (-len(cid[1:]) % 8))[-32:]
        with pytest.raises(PayloadRefusedError, match="not the node that a file of 1000000 bytes has there"):
            there.get(Reference(root, len(data)))


OTHER_IMPORT = {
    "CidVersion": 0,
    "UnixFSRawLeaves": False,
    "UnixFSChunker": "size-1048576",
    "UnixFSFileMaxLinks": 1024,
    "UnixFSDAGLayout": "trickle",
    "HashFunction": "blake2b-256",
}


def test_a_daemon_that_imports_otherwise_by_itself_names_payloads_alike(tmp_path: Path) -> None:
    require("kubo", "ipfs")
    try:
        kubo.up(nodes=1, port=free_ports(), state=tmp_path)
        kubo.down(state=tmp_path)
        file = tmp_path / "kubo" / "node-0" / "config"
        file.write_text(json.dumps({**json.loads(file.read_text()), "Import": OTHER_IMPORT}))
        (daemon,) = kubo.up(state=tmp_path)
        store = IpfsStore(daemon.address)
        for size in (0, 1000, 300_000, LINKS_PER_NODE * CHUNK_SIZE + 1):
            data = some_bytes(size)
            assert store.get(store.put(data)) == data
    finally:
        kubo.down(state=tmp_path)


def test_daemons_know_only_each_other(stores: list[IpfsStore], state: Path) -> None:
    key = (state / "kubo" / "swarm.key").read_bytes()
    for daemon, store in zip(kubo.status(state=state), stores, strict=True):
        assert daemon.peers == 1
        addresses = ask(store, "id")["Addresses"]
        assert addresses
        assert [address for address in addresses if not address.startswith("/ip4/127.0.0.1/tcp/")] == []
        assert not ask(store, "bootstrap/list")["Peers"]
        assert (state / "kubo" / daemon.name / "swarm.key").read_bytes() == key


def collect_garbage(store: IpfsStore) -> None:
    ask(store, "repo/gc?quiet=true")


def ask(store: IpfsStore, command: str) -> Any:
    """Return the daemon's answer to a command that the store has no use for; the last one if it answers in lines."""
    port = store.address.split("/")[4]
    answer = requests.post(f"http://127.0.0.1:{port}/api/v0/{command}", timeout=30)
    answer.raise_for_status()
    return json.loads((answer.text.splitlines() or ["{}"])[-1])
