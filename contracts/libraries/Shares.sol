// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title Shares of an amount, in basis points
library Shares {
    /// @notice All of it.
    uint16 internal constant WHOLE = 10_000;
    /// @notice Most that one mistake may cost of a stake: a quarter.
    uint16 internal constant MAX_PENALTY = WHOLE / 4;

    /// @notice Returns a share of an amount, rounded down. The amount must fit 240 bits, as all ether does.
    function part(uint256 amount, uint16 share) internal pure returns (uint256) {
        return amount * share / WHOLE;
    }
}
