// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @dev A set of seats in one round, in a word: bitmap of the seats (240 bits), number of the round (16 bits).
type RoundSeats is uint256;

using RoundSeatsLibrary for RoundSeats global;

/// @title Sets of seats that belong to one round
/// @notice A set of another round counts as empty, so storage is rewritten round after round and never cleared. The number
/// keeps the word from ever being zero, so that the first seat of a round costs what the others cost.
library RoundSeatsLibrary {
    /// @notice Most seats.
    uint256 internal constant MAX_SEATS = 240;
    uint256 private constant _SEATS = type(uint240).max;

    /// @notice Returns the set if it is of this round, else the empty set of it.
    function inRound(RoundSeats self, uint32 round) internal pure returns (RoundSeats) {
        uint256 word = RoundSeats.unwrap(self);
        return RoundSeats.wrap(word >> 240 == round ? word : uint256(round) << 240);
    }

    /// @notice Returns the bitmap of the seats alone.
    function bitmap(RoundSeats self) internal pure returns (uint256) {
        return RoundSeats.unwrap(self) & _SEATS;
    }

    /// @notice Returns true if the seat of this bit is in the set.
    function has(RoundSeats self, uint256 bit) internal pure returns (bool) {
        return RoundSeats.unwrap(self) & bit != 0;
    }

    /// @notice Returns the set with the seat of this bit.
    function with(RoundSeats self, uint256 bit) internal pure returns (RoundSeats) {
        return RoundSeats.wrap(RoundSeats.unwrap(self) | bit);
    }

    /// @notice Returns the set without the seat of this bit.
    function without(RoundSeats self, uint256 bit) internal pure returns (RoundSeats) {
        return RoundSeats.wrap(RoundSeats.unwrap(self) & ~bit);
    }
}
