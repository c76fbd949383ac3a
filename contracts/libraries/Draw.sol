// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Bitmap} from "./Bitmap.sol";
import {Shares} from "./Shares.sol";

/// @title The draw of those members of a committee that submit in a round
/// @notice Every seat has a random number, which follows from seed, round and seat alone; the smallest numbers are drawn.
/// So whoever comes or goes changes no more among the others than who is the last that is drawn.
library Draw {
    using Bitmap for uint256;

    /// @notice Returns how many of so many members are drawn: their share in 1/10,000, to the nearest number, and at least
    /// `least`.
    function share(uint256 members, uint256 participation, uint256 least) internal pure returns (uint256 number) {
        number = (members * participation + Shares.WHOLE / 2) / Shares.WHOLE;
        if (number < least) number = least;
    }

    /// @notice Draws a number of the seats in a set, at most all of them.
    /// @dev Each word has one binary digit of all numbers, the highest first: the bit of a seat is the digit of its number.
    /// A step decides about half of the seats that are left, so that ten or so decide all.
    function draw(uint256 seats, uint256 number, uint256 seed, uint32 round) internal pure returns (uint256 drawn) {
        bytes32 digits = keccak256(abi.encode(seed, round));
        while (number != 0) {
            uint256 smaller = seats & ~uint256(digits);
            uint256 count = smaller.count();
            if (count > number) {
                seats = smaller;
            } else {
                drawn |= smaller;
                seats ^= smaller;
                number -= count;
            }
            digits = keccak256(abi.encode(digits));
        }
    }
}
