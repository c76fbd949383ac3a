// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IRewardPool} from "./IRewardPool.sol";

/// @title Who may take part: the MEC servers, their stakes and their standing
interface IMECRegistry {
    /// @dev `Leaving` servers are unbonding, `Expelled` ones were slashed; neither is active.
    enum Status {
        Unknown,
        Active,
        Leaving,
        Expelled
    }

    /// @param index position in order of first joining, from 0; never reused
    /// @param status see `Status`
    /// @param unbondsAt time (s) from which a leaving or expelled server may withdraw its stake
    /// @param stake wei at stake
    /// @param endpointHash keccak256 of the URL under which the server can be reached
    struct Server {
        uint32 index;
        Status status;
        uint40 unbondsAt;
        uint128 stake;
        bytes32 endpointHash;
    }

    /// @notice A server became active. `url` is where it can be reached.
    event ServerJoined(address indexed server, uint32 indexed index, uint256 stake, string url);
    /// @notice A server retired; its stake is withdrawable from `unbondsAt` on.
    event ServerRetired(address indexed server, uint40 unbondsAt);
    /// @notice A server lost `amount` of its stake for `reason`, in favour of the rewards of `task`.
    event ServerSlashed(
        address indexed server, uint256 indexed task, bytes32 indexed reason, uint256 amount, bool expelled
    );
    /// @notice Slashed stakes go to `rewards` from now on.
    event RewardsSet(IRewardPool rewards);
    /// @notice A server took its stake back.
    event StakeWithdrawn(address indexed server, uint256 amount);
    /// @notice The allow-list changed.
    event AdmissionSet(address indexed server, bool admitted);

    /// @notice Neither on the allow-list nor staked with the minimum.
    error RegistryNotAdmitted(address server, uint256 stake, uint256 minStake);
    /// @notice The call does not fit the server's status.
    error RegistryWrongStatus(address server, Status status);
    /// @notice The stake is still bonded.
    error RegistryStillBonded(address server, uint40 unbondsAt);
    /// @notice There is no reward pool yet for what is slashed.
    error RegistryRewardsNotSet();
    /// @notice The reward pool is set once.
    error RegistryRewardsAlreadySet(IRewardPool rewards);
    /// @notice A payment failed.
    error RegistryPaymentFailed(address to, uint256 amount);

    /// @notice Join, or come back after leaving. Staked wei is sent along.
    /// @param url where the server can be reached; only its hash is stored
    function join(string calldata url) external payable;

    /// @notice Stop being active and start unbonding.
    function retire() external;

    /// @notice Take the stake back after unbonding.
    function withdraw() external;

    /// @notice Put a server on the allow-list, or take it off. Only for admitters.
    function admit(address server, bool admitted) external;

    /// @notice Take a part of a server's stake, which goes to the rewards of `task`. A server that loses all, or is
    /// left with less than the minimum, is expelled; what is left of its stake can still be slashed. Reverts unless
    /// `isSlashable`. Only for slashers (the ledger and its consensus contracts).
    /// @param basisPoints share of the stake that is lost, of 10,000
    /// @param reason what was proved, a short ASCII text
    function slash(address server, uint16 basisPoints, bytes32 reason, uint256 task) external;

    /// @notice Whether a server may join tasks.
    function isActive(address server) external view returns (bool);

    /// @notice Whether a server has something left to lose: its standing, or a stake.
    function isSlashable(address server) external view returns (bool);

    /// @notice What is known of a server.
    function server(address account) external view returns (Server memory);

    /// @notice How many servers have ever joined.
    function count() external view returns (uint256);
}
