"""Fetching many payloads: those that nobody serves cost one time-out together, and not one each."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from fbfl.errors import PayloadNotFoundError, PayloadRefusedError, StorageError
from fbfl.storage.store import Reference, Store

Fault = PayloadNotFoundError | PayloadRefusedError
"""Why a payload is not to be had."""


def get_all(store: Store, references: Sequence[Reference]) -> Iterator[tuple[Reference, bytes | Fault]]:
    """Yield each payload as `store.get` returns it, or its fault, in this order.

    A store that waits for others is asked for all at once, each in a thread of its own: in fewer, payloads that are
    withheld would keep the others waiting. A failure of the store itself raises `StorageError`, after what it gave.
    """
    if len(references) < 2 or not store.waits:
        for reference in references:
            yield reference, _get(store, reference)
        return
    with ThreadPoolExecutor(len(references), "fetching") as pool:
        answers = list(pool.map(partial(_answer, store), references))
    failure = None
    for reference, answer in zip(references, answers, strict=True):
        if isinstance(answer, bytes | Fault):
            yield reference, answer
        else:
            failure = failure or answer
    if failure is not None:
        raise failure


def _get(store: Store, reference: Reference) -> bytes | Fault:
    try:
        return store.get(reference)
    except (PayloadNotFoundError, PayloadRefusedError) as fault:
        return fault


def _answer(store: Store, reference: Reference) -> bytes | Fault | StorageError:
    try:
        return _get(store, reference)
    except StorageError as failure:
        return failure
