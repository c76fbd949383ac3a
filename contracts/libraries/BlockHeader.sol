// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title Fields of a block header, from its RLP encoding
/// @notice For a header whose keccak256 is a known block hash: nothing but the position of the field is checked.
library BlockHeader {
    /// @dev List head (3 bytes: a header is longer than 255 bytes), parent hash and uncles' hash (33 bytes each), then
    /// the length byte of the address.
    uint256 private constant _COINBASE = 3 + 33 + 33 + 1;

    /// @notice The address that mined the block.
    function coinbaseOf(bytes calldata header) internal pure returns (address) {
        return address(bytes20(header[_COINBASE:_COINBASE + 20]));
    }
}
