"""Fetching many payloads: those that nobody serves cost one time-out together, and not one each."""

from collections.abc import Iterable, Iterator, Sequence
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
    answers: Iterable[bytes | StorageError] = map(partial(_answer, store), references)
    if store.waits and len(references) > 1:
        with ThreadPoolExecutor(len(references), "fetching") as pool:
            answers = list(pool.map(partial(_answer, store), references))
    failures = []
    for reference, answer in zip(references, answers, strict=True):
        if isinstance(answer, bytes | Fault):
            yield reference, answer
        else:
            failures.append(answer)
    if failures:
        raise failures[0]


def _answer(store: Store, reference: Reference) -> bytes | StorageError:
    try:
        return store.get(reference)
    except StorageError as error:  # of a payload, or of the store
        return error
