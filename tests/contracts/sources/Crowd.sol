// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @notice One of a crowd: calls what it is told to.
contract Extra {
    function act(address target, bytes calldata data) external payable {
        (bool done, bytes memory result) = target.call{value: msg.value}(data);
        if (done) return;
        assembly ("memory-safe") {
            revert(add(result, 32), mload(result))
        }
    }
}

/// @notice Many servers behind one account, so that a test fills a committee with few transactions.
contract Crowd {
    Extra[] public extras;

    function grow(uint256 size) external {
        for (uint256 i = 0; i < size; ++i) {
            extras.push(new Extra());
        }
    }

    /// @notice Everybody from `first` on and before `end` makes the same call, each with an equal part of the value.
    function all(uint256 first, uint256 end, address target, bytes calldata data) external payable {
        for (uint256 i = first; i < end; ++i) {
            extras[i].act{value: msg.value / (end - first)}(target, data);
        }
    }
}
