// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @notice A server that is a contract: it does what its owner says, and runs a second call while it is being paid.
contract Puppet {
    struct Call {
        address target;
        bytes data;
    }

    Call private _whenPaid;
    bool public refusesMoney;
    /// @notice Payments during which the second call went through.
    uint256 public intrusions;
    /// @notice What the last second call returned.
    bytes public answer;

    receive() external payable {
        require(!refusesMoney, "no money, please");
        if (_whenPaid.target == address(0)) return;
        bool done;
        (done, answer) = _whenPaid.target.call(_whenPaid.data);
        if (done) ++intrusions;
    }

    function act(address target, bytes calldata data) external payable {
        (bool done, bytes memory result) = target.call{value: msg.value}(data);
        if (done) return;
        assembly ("memory-safe") {
            revert(add(result, 32), mload(result))
        }
    }

    function whenPaid(address target, bytes calldata data) external {
        _whenPaid = Call({target: target, data: data});
    }

    function refuseMoney() external {
        refusesMoney = true;
    }
}

/// @notice A consensus that decides nothing by itself: every answer is zero.
contract PuppetConsensus is Puppet {
    fallback(bytes calldata) external payable returns (bytes memory) {
        return new bytes(512);
    }
}
