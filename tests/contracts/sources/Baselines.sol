// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @notice The least that publishing can cost: 32 bytes of call data, nothing stored, nothing emitted.
contract Floor {
    fallback() external {}
}

/// @notice How update hashes are often published: the CID as a string in a fresh slot per round, after a scan that looks
/// whether the sender is registered. For comparison only.
contract StringScan {
    address[] private _servers;
    mapping(uint256 round => mapping(address server => string)) public cids;

    error NotRegistered(address sender);

    function register(address[] calldata servers) external {
        for (uint256 i = 0; i < servers.length; ++i) {
            _servers.push(servers[i]);
        }
    }

    function publish(uint256 round, string calldata cid) external {
        for (uint256 i = 0; i < _servers.length; ++i) {
            if (_servers[i] != msg.sender) continue;
            cids[round][msg.sender] = cid;
            return;
        }
        revert NotRegistered(msg.sender);
    }
}
