"""The numbers, from 0, that name clients; text and flags that could be read as numbers are refused."""

from collections.abc import Iterable

import numpy as np

from fbfl.errors import InvalidInputError


def client_numbers(name: str, given: object, num_clients: int | None = None) -> tuple[int, ...]:
    """Return the clients that an argument names, in the order given; `num_clients` is their number, if known.

    Raises `InvalidInputError`, which begins with the `name` of the argument, for anything but whole numbers in range.
    """
    allowed = "from 0" if num_clients is None else f"0 to {num_clients - 1}"
    if isinstance(given, str | bytes) or not isinstance(given, Iterable) or getattr(given, "ndim", 1) == 0:
        raise InvalidInputError(f"{name} is {given!r}; allowed: several numbers of clients, which are {allowed}")
    return tuple(_number(name, client, num_clients, allowed) for client in given)


def _number(name: str, client: object, num_clients: int | None, allowed: str) -> int:
    if isinstance(client, bool | np.bool_):
        raise InvalidInputError(f"{name} holds {client}: clients are {allowed}; of a mask, give np.flatnonzero(mask)")
    if not isinstance(client, int | np.integer):
        raise InvalidInputError(f"{name} holds {client!r}: clients are whole numbers, {allowed}")
    if client < 0 or (num_clients is not None and client >= num_clients):
        raise InvalidInputError(f"{name} holds {client}: clients are {allowed}")
    return int(client)
