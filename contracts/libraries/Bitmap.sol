// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title Sets of seats as bitmaps
library Bitmap {
    /// @notice Number of seats in the set, at a cost that does not depend on it (parallel bit sums).
    function count(uint256 set) internal pure returns (uint256) {
        unchecked {
            set = (set & _EVERY_2ND) + ((set >> 1) & _EVERY_2ND);
            set = (set & _PAIRS) + ((set >> 2) & _PAIRS);
            set = (set + (set >> 4)) & _NIBBLES;
            // A byte holds at most 8, so the product's top byte holds the total: 255 at most, and 256 wraps to 0.
            return (set * _ONES) >> 248;
        }
    }

    /// @notice The k-th seat of the set, from 0, in rising order. `k` must be below `count(set)`.
    /// @dev Halves the range eight times: the cost does not depend on the number of members.
    function select(uint256 set, uint256 k) internal pure returns (uint8 seat) {
        unchecked {
            for (uint256 width = 128; width != 0; width >>= 1) {
                uint256 lower = set & ((1 << width) - 1);
                uint256 inLower = count(lower);
                if (k < inLower) {
                    set = lower;
                } else {
                    k -= inLower;
                    set >>= width;
                    // forge-lint: disable-next-line(unsafe-typecast)
                    seat += uint8(width); // width is at most 128
                }
            }
        }
    }

    /// @notice The lowest seat that is not in the set. The set must not be full.
    function lowestFree(uint256 set) internal pure returns (uint8) {
        unchecked {
            uint256 bit = ~set & (set + 1); // the lowest zero bit, alone
            // forge-lint: disable-next-line(unsafe-typecast)
            return uint8(count(bit - 1));
        }
    }

    uint256 private constant _EVERY_2ND = type(uint256).max / 3;
    uint256 private constant _PAIRS = type(uint256).max / 5;
    uint256 private constant _NIBBLES = type(uint256).max / 17;
    uint256 private constant _ONES = type(uint256).max / 255;
}
