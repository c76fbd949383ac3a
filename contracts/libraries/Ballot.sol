// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @dev The votes of one stage, in a word: bitmap of the seats that voted (240 bits), votes for plus one (8 bits), votes
/// against (8 bits). Zero is no ballot: so a vote finds out by the word itself whether its digest is before the committee.
type Ballot is uint256;

using BallotLibrary for Ballot global;

/// @title Ballots
library BallotLibrary {
    uint256 private constant _ACCEPT = 1 << 240;
    uint256 private constant _REJECT = 1 << 248;

    /// @notice Returns a ballot without votes, in which the seats of a bitmap cannot vote.
    function open(uint256 excluded) internal pure returns (Ballot) {
        return Ballot.wrap(_ACCEPT | excluded);
    }

    /// @notice Returns true if there is a ballot.
    function isOpen(Ballot self) internal pure returns (bool) {
        return Ballot.unwrap(self) != 0;
    }

    /// @notice Returns true if the seat of this bit has voted, or cannot.
    function has(Ballot self, uint256 bit) internal pure returns (bool) {
        return Ballot.unwrap(self) & bit != 0;
    }

    /// @notice Returns the ballot with the vote of the seat of this bit, which must not have voted.
    function add(Ballot self, uint256 bit, bool accept) internal pure returns (Ballot) {
        unchecked {
            // At most one per seat: 240.
            return Ballot.wrap((Ballot.unwrap(self) | bit) + (accept ? _ACCEPT : _REJECT));
        }
    }

    /// @notice Returns the ballot in which the seat of this bit cannot vote any more; what it voted stays.
    function exclude(Ballot self, uint256 bit) internal pure returns (Ballot) {
        return Ballot.wrap(Ballot.unwrap(self) | bit);
    }

    /// @notice Returns the number of votes for the proposal; there must be a ballot.
    function accepts(Ballot self) internal pure returns (uint8) {
        unchecked {
            // forge-lint: disable-next-line(unsafe-typecast)
            return uint8(Ballot.unwrap(self) >> 240) - 1;
        }
    }

    /// @notice Returns the number of votes against it.
    function rejects(Ballot self) internal pure returns (uint8) {
        // forge-lint: disable-next-line(unsafe-typecast)
        return uint8(Ballot.unwrap(self) >> 248);
    }

    /// @notice Returns the bitmap of the seats that are in this ballot and not in an earlier state of it.
    function since(Ballot self, Ballot earlier) internal pure returns (uint256) {
        // forge-lint: disable-next-line(unsafe-typecast)
        return uint240(Ballot.unwrap(self) ^ Ballot.unwrap(earlier));
    }
}
