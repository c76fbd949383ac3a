"""The exception tree: everything that fbfl raises on purpose is an `FbflError`.

Each class carries the exit status that the command line ends with when the error reaches it
(0 done, 1 the thing asked for does not hold, 2 wrong use or bad input, 3 a node, store or disk failed
or no round became final).
"""

import copyreg
from collections.abc import Iterator
from contextlib import contextmanager


class FbflError(Exception):
    """Root of the tree. The message is one or two lines that a user can act on."""

    exit_status = 3

    def __reduce__(self) -> tuple[object, ...]:
        # For processes that play experiments: pickle the state, whatever arguments the constructor takes.
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]  # not in typeshed


class InvalidInputError(FbflError, ValueError):
    """A value is not allowed. The message names the option or argument, the value and what is allowed."""

    exit_status = 2


def require(
    holds: object, name: str, value: object, allowed: str, error: type[InvalidInputError] = InvalidInputError
) -> None:
    """Raise `error`, which names a value and what is allowed, unless a bound of the value holds."""
    if not holds:
        raise error(f"{name} is {repr(value) if isinstance(value, str) else value}; allowed: {allowed}")


class AggregationError(InvalidInputError):
    """The updates cannot be aggregated: an invalid (n, f), a wrong shape, or a result that is not finite."""


class VacuousAttackError(InvalidInputError):
    """An attack makes no sense with these numbers of clients and attackers, or with the updates that it sees."""


class NonFiniteUpdateError(AggregationError):
    """Some updates hold NaN or Inf.

    `clients` lists the row numbers, so that a federation can leave them out and go on.
    """

    def __init__(self, message: str, clients: tuple[int, ...]) -> None:
        super().__init__(message)
        self.clients = clients


class UserCodeError(FbflError):
    """A user's function raised an error. The message names the function and shows its frames."""

    exit_status = 2


class DataUnavailableError(FbflError):
    """A data set is neither on disk nor available from the network."""


class StorageError(FbflError):
    """A payload store failed."""


class PayloadNotFoundError(StorageError):
    """No holder of the payload answered in time."""


class PayloadRefusedError(StorageError):
    """The bytes of a payload are not what the chain records, or not a model update of this task."""


class ChainError(FbflError):
    """The chain, or a node of it, failed or refused."""


class NodeUnavailableError(ChainError):
    """A node cannot be reached or did not answer in time."""


class ProcessError(FbflError):
    """A program on this machine, such as a node, is missing, could not be started or stopped, or ended by itself."""


class ChainImportError(ChainError):
    """A stored chain does not re-execute to the recorded head."""

    exit_status = 1


class ContractRevertError(ChainError):
    """A contract refused a call with a custom error.

    `error` is the error's Solidity name, `values` its arguments by parameter name.
    """

    def __init__(self, error: str, values: dict[str, object]) -> None:
        super().__init__(f"{error}({', '.join(f'{name}={value}' for name, value in values.items())})")
        self.error = error
        self.values = values


class NoFinalRoundError(FbflError):
    """There is no final round: the federation ended without one, or no round is over yet."""


@contextmanager
def failures_as(kind: type[FbflError], what: str) -> Iterator[None]:
    """Raise `kind`, which says `what` failed and why, for what the operating system refuses inside."""
    try:
        yield
    except OSError as error:
        raise kind(f"{what}: {error.strerror or error}") from error
