"""What a page is asked for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fbfl.chain.records import TaskRecords
from fbfl.cli import tables
from fbfl.dashboard.jobs import Jobs
from fbfl.dashboard.sources import Known, Source
from fbfl.errors import InvalidInputError, require


@dataclass(frozen=True)
class View:
    """A request for a page: of one of the sources, with the number of a round if the path has one."""

    sources: Sequence[Source]
    place: int
    """Number of the source that the page is about."""
    jobs: Jobs
    arguments: Mapping[str, str]
    """What follows the path of the address, of each name the last."""
    round: int = 0

    @property
    def source(self) -> Source:
        """The source that the page is about."""
        return self.sources[self.place]

    def one_of(self, name: str, allowed: Sequence[str]) -> str:
        """Return an argument, the first of those allowed if it is not given; any other raises `InvalidInputError`."""
        value = self.arguments.get(name, allowed[0])
        require(value in allowed, name, value[:60], ", ".join(allowed))
        return value

    def number(self, name: str, default: int) -> int:
        """Return a whole number from 1 among the arguments."""
        text = self.arguments.get(name, str(default))
        if not (text.isascii() and text.isdigit() and len(text) < 10) or not int(text):
            raise InvalidInputError(f"{name} is {text[:60]!r}; allowed: a whole number from 1")
        return int(text)


def names_of(records: TaskRecords | None) -> Mapping[str, str]:
    """Return the short names of the servers by their addresses."""
    return tables.names_of(records.addresses if records else ())


def malicious_in(settings: Mapping[str, Any], records: TaskRecords | None) -> frozenset[str]:
    """Return the addresses of the servers that the settings of a run make attackers, liars or silent ones.

    The first servers attack and lie, the last ones are silent; of a network nothing is known.
    """
    if records is None:
        return frozenset()
    addresses = records.addresses[: _count(settings, "servers")]
    attackers = addresses[: max(_count(settings, "malicious"), _count(settings, "liars"))]
    silent = _count(settings, "silent")
    return frozenset((*attackers, *(addresses[-silent:] if silent else ())))


def _count(settings: Mapping[str, Any], name: str) -> int:
    value = settings.get(name)
    return value if isinstance(value, int) and value > 0 else 0


def records_or_none(known: Known) -> dict[str, Any]:
    """Return what every page shows of the records: the names, and a line on where they come from."""
    return {"records": known.records, "names": names_of(known.records), "note": known.note, "trouble": known.trouble}
