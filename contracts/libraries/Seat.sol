// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @dev A member's seat and its time there, in a word that is unpacked only as far as it is read: number of the seat (8
/// bits), its first round (32 bits), the first round in which it does not sit there any more (32 bits). Zero is no seat.
type Seat is uint256;

using SeatLibrary for Seat global;

/// @title Seats and their time
library SeatLibrary {
    /// @notice Returns the seat of a number, held in the rounds from `from` on and before `to`.
    function held(uint8 seat, uint32 from, uint32 to) internal pure returns (Seat) {
        return Seat.wrap(uint256(seat) | (uint256(from) << 8) | (uint256(to) << 40));
    }

    /// @notice Returns true if there never was a seat.
    function isNone(Seat self) internal pure returns (bool) {
        return Seat.unwrap(self) == 0;
    }

    /// @notice Returns true if it is held in a round.
    function isHeldIn(Seat self, uint32 round) internal pure returns (bool) {
        uint256 word = Seat.unwrap(self);
        // forge-lint: disable-next-line(unsafe-typecast)
        return uint32(word >> 8) <= round && round < uint32(word >> 40); // the latter is zero where there is no seat
    }

    /// @notice Returns true if no round is known from which on it is not held any more.
    function isKept(Seat self) internal pure returns (bool) {
        return self.until() == type(uint32).max;
    }

    /// @notice Returns the number of the seat.
    function number(Seat self) internal pure returns (uint8) {
        // forge-lint: disable-next-line(unsafe-typecast)
        return uint8(Seat.unwrap(self));
    }

    /// @notice Returns the first round in which it is held.
    function since(Seat self) internal pure returns (uint32) {
        // forge-lint: disable-next-line(unsafe-typecast)
        return uint32(Seat.unwrap(self) >> 8);
    }

    /// @notice Returns the first round in which it is not held any more; zero where there is no seat.
    function until(Seat self) internal pure returns (uint32) {
        // forge-lint: disable-next-line(unsafe-typecast)
        return uint32(Seat.unwrap(self) >> 40);
    }

    /// @notice Returns its bit in bitmaps of seats.
    function bit(Seat self) internal pure returns (uint256) {
        return 1 << (Seat.unwrap(self) & 0xff);
    }
}
