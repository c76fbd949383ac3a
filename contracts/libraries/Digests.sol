// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title Digests of rounds
/// @notice All that the ledger hashes, in one place: the pool of rewards, and programs outside the chain, form it anew.
library Digests {
    /// @dev The outcome of a round, as it is voted on; there is no view in it, so a prepared value can be proposed again.
    /// @param parent digest of the model before the round
    /// @param closing hash of the block that closed the submissions
    /// @param accumulator running hash over the recorded updates
    /// @param missing bitmap of the seats whose updates are left out
    /// @param model digest of the new model, or the reason to give the round up
    struct Value {
        uint256 chainId;
        address ledger;
        uint256 task;
        uint32 round;
        bytes32 parent;
        bytes32 closing;
        bytes32 accumulator;
        uint256 missing;
        bytes32 rule;
        bytes32 ruleParamsHash;
        bytes32 model;
        uint32 modelSize;
    }

    /// @notice Returns the running hash of a round without updates.
    function firstAccumulator(address ledger, uint256 task, uint32 round) internal view returns (bytes32) {
        return keccak256(abi.encode(block.chainid, ledger, task, round));
    }

    /// @notice Returns the running hash after a further update.
    function accumulate(bytes32 accumulator, address server, bytes32 digest, uint32 size, uint32 samples)
        internal
        pure
        returns (bytes32)
    {
        return keccak256(abi.encode(accumulator, server, digest, size, samples));
    }

    /// @notice Returns the digest that a committee votes on, keccak256 of the ABI encoding of all fields.
    function digestOf(Value memory value) internal pure returns (bytes32 digest) {
        assembly ("memory-safe") {
            digest := keccak256(value, 0x180) // in memory, twelve words are as they are encoded
        }
    }

    /// @notice Returns the word that is kept of a final round.
    function outcomeOf(bytes32 valueDigest, address leader) internal pure returns (bytes32) {
        return keccak256(abi.encode(valueDigest, leader));
    }
}
