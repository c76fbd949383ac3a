// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title The registry of MEC servers, their stakes and their standing
interface IMECRegistry {
    /// @dev `Leaving` servers are unbonding, `Expelled` ones lost too much of their stake; neither is active.
    enum Status {
        Unknown,
        Active,
        Leaving,
        Expelled
    }

    /// @param index position in order of first joining, from 0; never reused
    /// @param status see `Status`
    /// @param unbondsAt time (s) from which a leaving or expelled server may withdraw its stake
    /// @param seats how many seats it holds, in all tasks
    /// @param stake wei at stake
    /// @param endpointHash keccak256 of the URL under which the server can be reached
    /// @param held wei that were slashed and are not burnt yet
    /// @param burnsAt time (s) from which they may be burnt
    struct Server {
        uint32 index;
        Status status;
        uint40 unbondsAt;
        uint16 seats;
        uint128 stake;
        bytes32 endpointHash;
        uint128 held;
        uint40 burnsAt;
    }

    /// @notice A server became active. `url` is where it can be reached.
    event ServerJoined(address indexed server, uint32 indexed index, uint256 stake, string url);
    /// @notice A server retired; its stake is withdrawable from `unbondsAt` on.
    event ServerRetired(address indexed server, uint40 unbondsAt);
    /// @notice A server added to its stake.
    event StakeAdded(address indexed server, uint256 amount);
    /// @notice A server lost `amount` of its stake for `reason`, shown in `task`. It is held, then burnt.
    event ServerSlashed(
        address indexed server, uint256 indexed task, bytes32 indexed reason, uint256 amount, bool expelled
    );
    /// @notice Emitted when a server's slashed stake is gone for good.
    event StakeBurnt(address indexed server, uint256 amount);
    /// @notice A server took its stake back.
    event StakeWithdrawn(address indexed server, uint256 amount);
    /// @notice The allow-list changed.
    event AdmissionSet(address indexed server, bool admitted);

    /// @notice Neither on the allow-list nor staked with what is needed.
    error RegistryNotAdmitted(address server, uint256 stake, uint256 needed);
    /// @notice The call does not fit the server's status.
    error RegistryWrongStatus(address server, Status status);
    /// @notice The stake is still bonded.
    error RegistryStillBonded(address server, uint40 unbondsAt);
    /// @notice Seats of the server keep its stake.
    error RegistryStillSeated(address server, uint16 seats);
    /// @notice A further seat would lock more than the server has at stake.
    error RegistryStakeLocked(address server, uint256 stake, uint256 needed);
    /// @notice Nothing is held of this server, or not for long enough.
    error RegistryNothingToBurn(address server, uint256 held, uint40 burnsAt);
    /// @notice A payment failed.
    error RegistryPaymentFailed(address to, uint256 amount);

    /// @notice Join, or come back after leaving or being expelled. Staked wei is sent along, and added to what is left.
    /// Expulsion ends an admission by the allow-list: who comes back stakes, or is admitted anew.
    /// @param url where the server can be reached; only its hash is stored
    function join(string calldata url) external payable;

    /// @notice Add the wei sent along to the caller's stake, for a further seat. Only for active servers.
    function addStake() external payable;

    /// @notice Stop being active and start unbonding.
    function retire() external;

    /// @notice Take the stake back after unbonding, once no seat is held.
    function withdraw() external;

    /// @notice Put a server on the allow-list, or take it off. Only for admitters.
    function admit(address server, bool admitted) external;

    /// @notice Lock the minimum stake for one more seat of an active server; one on the allow-list needs none. Only for
    /// the ledger.
    function takeSeat(address server) external;

    /// @notice Release one seat of a server. Its stake, where it is leaving, unbonds anew. Only for the ledger.
    function leaveSeat(address server) external;

    /// @notice Take a part of a server's stake, which is held for the unbonding time and burnt then: neither the task in
    /// which something was shown nor whoever shows it earns anything. A server that loses all, or is left with less than
    /// its seats lock, is expelled. What is left of its stake can still be slashed, and where nothing is, that is no
    /// error. Only for slashers (the ledger and its consensus contracts).
    /// @param basisPoints share of the stake that is lost, of 10,000
    /// @param reason what was proved, a short ASCII text
    function slash(address server, uint16 basisPoints, bytes32 reason, uint256 task) external;

    /// @notice Burn what was slashed, once it was held for the unbonding time. For anyone.
    function burn(address server) external;

    /// @notice Returns true if a server may join tasks.
    function isActive(address server) external view returns (bool);

    /// @notice Returns true if an account may slash.
    function isSlasher(address account) external view returns (bool);

    /// @notice Returns the record of a server.
    function server(address account) external view returns (Server memory);

    /// @notice Returns the number of servers that have ever joined.
    function count() external view returns (uint256);
}
