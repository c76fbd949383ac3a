"""Sets of seats of a committee, as contracts keep them: bit n of a word stands for seat n."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SeatSet:
    """An immutable set of seats, iterated in ascending order."""

    word: int = 0
    """The word of the contracts."""

    @classmethod
    def of(cls, seats: Iterable[int]) -> "SeatSet":
        """Return the set of these seats, each 0 or more."""
        word = 0
        for seat in seats:
            word |= 1 << seat
        return cls(word)

    def __contains__(self, seat: int) -> bool:
        return self.word >> seat & 1 == 1

    def __iter__(self) -> Iterator[int]:
        return (seat for seat in range(self.word.bit_length()) if seat in self)

    def __len__(self) -> int:
        return self.word.bit_count()

    def __or__(self, other: "SeatSet") -> "SeatSet":
        return SeatSet(self.word | other.word)

    def __sub__(self, other: "SeatSet") -> "SeatSet":
        return SeatSet(self.word & ~other.word)
