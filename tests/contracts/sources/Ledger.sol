// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";

/// @notice Small contract for the tests of the chain layer: events, custom errors, and what a block says of itself.
contract Ledger is Ownable {
    event Entered(address indexed sender, uint256 indexed number, uint256 value);

    error TooSmall(uint256 value, uint256 minimum);
    error Closed();

    uint256 public immutable minimum;
    uint256 public entries;
    uint256 public total;
    address public coinbase;
    uint256 public difficulty;
    uint256 public time;

    constructor(address owner, uint256 minimum_) Ownable(owner) {
        minimum = minimum_;
    }

    function enter(uint256 value) external {
        if (value < minimum) revert TooSmall(value, minimum);
        entries += 1;
        total += value;
        emit Entered(msg.sender, entries, value);
    }

    /// @dev What makes a block depend on its own header, so that a replay with another header shows.
    function observe() external {
        coinbase = block.coinbase;
        difficulty = block.prevrandao;
        time = block.timestamp;
    }

    function close() external view onlyOwner {
        revert Closed();
    }

    function explain() external pure {
        revert("because");
    }

    function divide(uint256 by) external pure returns (uint256) {
        return 1 / by;
    }

    function fallSilent() external pure {
        assembly {
            revert(0, 0)
        }
    }

    function receiveStake() external payable {}
}
