// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Bitmap} from "contracts/libraries/Bitmap.sol";
import {BlockHeader} from "contracts/libraries/BlockHeader.sol";

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

    function coinbaseOf(bytes calldata header) external pure returns (address) {
        return BlockHeader.coinbaseOf(header);
    }
}
