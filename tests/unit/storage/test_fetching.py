"""Fetching many payloads: nobody who withholds one holds up the others."""

import threading
from pathlib import Path

import pytest

from fbfl.errors import PayloadNotFoundError, PayloadRefusedError, StorageError
from fbfl.storage.fetching import get_all
from fbfl.storage.local import LocalStore
from fbfl.storage.store import Reference
from tests.support.waiting_store import WaitingStore


def test_withheld_payloads_are_waited_for_together(tmp_path: Path) -> None:
    store = WaitingStore(tmp_path, 3)
    withheld = [Reference(bytes([number]) * 32, 5) for number in range(3)]
    here = store.put(b"here")
    answers = dict(get_all(store, [*withheld, here]))
    assert answers.pop(here) == b"here"
    assert list(answers) == withheld
    assert all(isinstance(answer, PayloadNotFoundError) for answer in answers.values())


def test_a_store_that_waits_for_nobody_is_read_in_order_and_in_this_thread(tmp_path: Path) -> None:
    class Seen(LocalStore):
        def get(self, reference: Reference) -> bytes:
            threads.add(threading.get_ident())
            asked.append(reference)
            return super().get(reference)

    threads, asked = set[int](), list[Reference]()
    store = Seen(tmp_path)
    references = [store.put(bytes([number])) for number in range(5)]
    broken = Reference(b"\x11" * 32, 2)
    (store.folder / broken.cid).write_bytes(b"no")
    absent = Reference(bytes(32), 1)
    answers = list(get_all(store, [*references, broken, absent]))
    assert [payload for _, payload in answers[:5]] == [bytes([number]) for number in range(5)]
    assert [type(answer) for _, answer in answers[5:]] == [PayloadRefusedError, PayloadNotFoundError]
    assert (asked, threads) == ([*references, broken, absent], {threading.get_ident()})


def test_a_store_that_fails_says_so_after_what_it_gave(tmp_path: Path) -> None:
    class Broken(LocalStore):
        waits = True

        def get(self, reference: Reference) -> bytes:
            if reference == bad:
                raise StorageError("the daemon is gone")
            return super().get(reference)

    store = Broken(tmp_path)
    good, bad = store.put(b"good"), Reference(bytes(32), 1)
    answers = get_all(store, [bad, good])
    assert next(answers) == (good, b"good")
    with pytest.raises(StorageError, match="gone"):
        next(answers)
