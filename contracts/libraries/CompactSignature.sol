// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title Signers of signatures of two words (EIP-2098)
/// @notice This encoding has no room for the second, high-s form of a signature. Nothing is keyed by signatures anyway,
/// and every signer counts once.
library CompactSignature {
    /// @notice Returns the signer; zero, which is nobody's address, if there is none.
    /// @param r first word
    /// @param vs second word: the parity of y in the highest bit, s in the others
    /// @dev `ecrecover`, without the 100 gas that the compiler adds: a batch has a hundred signatures.
    function signerOf(bytes32 hash, bytes32 r, bytes32 vs) internal view returns (address signer) {
        assembly ("memory-safe") {
            let input := mload(0x40)
            mstore(input, hash)
            mstore(add(input, 0x20), add(27, shr(255, vs)))
            mstore(add(input, 0x40), r)
            mstore(add(input, 0x60), shr(1, shl(1, vs)))
            mstore(0, 0) // stays where the precompile returns nothing
            pop(staticcall(gas(), 1, input, 0x80, 0, 0x20))
            signer := mload(0)
        }
    }
}
