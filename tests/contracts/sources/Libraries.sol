// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Bitmap} from "contracts/libraries/Bitmap.sol";
import {BlockHeader} from "contracts/libraries/BlockHeader.sol";
import {Draw} from "contracts/libraries/Draw.sol";

/// @notice Lets the tests call the libraries' internal functions.
contract Libraries {
    function count(uint256 set) external pure returns (uint256) {
        return Bitmap.count(set);
    }

    function select(uint256 set, uint256 k) external pure returns (uint8) {
        return Bitmap.select(set, k);
    }

    function lowestFree(uint256 set) external pure returns (uint8) {
        return Bitmap.lowestFree(set);
    }

    function draw(uint256 seats, uint256 number, uint256 seed, uint32 round) external pure returns (uint256) {
        return Draw.draw(seats, number, seed, round);
    }

    function share(uint256 members, uint256 participation, uint256 least) external pure returns (uint256) {
        return Draw.share(members, participation, least);
    }

    function coinbaseOf(bytes calldata header) external pure returns (address) {
        return BlockHeader.coinbaseOf(header);
    }
}
