// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @notice The few cheatcodes that the tests use; forge-std is not needed for these.
interface ICheats {
    function deal(address account, uint256 balance) external;
    function prank(address sender) external;
    function roll(uint256 blockNumber) external;
    function sign(uint256 key, bytes32 digest) external pure returns (uint8 v, bytes32 r, bytes32 s);
    function addr(uint256 key) external pure returns (address);
    function warp(uint256 timestamp) external;
}

/// @dev The address that forge answers cheatcodes at.
ICheats constant VM = ICheats(address(uint160(uint256(keccak256("hevm cheat code")))));
