// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {AccessControl} from "@openzeppelin/contracts/access/AccessControl.sol";
import {ReentrancyGuard} from "@openzeppelin/contracts/utils/ReentrancyGuard.sol";
import {IMECRegistry} from "./interfaces/IMECRegistry.sol";
import {IRewardPool} from "./interfaces/IRewardPool.sol";

/// @title The MEC servers that may take part
/// @notice A server is admitted by an allow-list, or by a stake where a minimum is set: creating many identities costs
/// either an admitter's consent or money.
contract MECRegistry is IMECRegistry, AccessControl, ReentrancyGuard {
    /// @notice May change the allow-list.
    bytes32 public constant ADMITTER_ROLE = keccak256("ADMITTER_ROLE");
    /// @notice May slash: the consensus contracts.
    bytes32 public constant SLASHER_ROLE = keccak256("SLASHER_ROLE");

    uint256 private constant _BASIS_POINTS = 10_000;

    /// @notice Stake (wei) that admits a server that is not on the allow-list; 0: only the allow-list admits.
    uint256 public immutable minStake;
    /// @notice Seconds between leaving and withdrawing.
    uint40 public immutable unbondingTime;

    mapping(address account => Server) private _servers;
    mapping(address account => bool) private _admitted;
    uint32 private _count;
    IRewardPool private _rewards;

    /// @param owner administers the roles, and admits
    /// @param minStake_ see `minStake`
    /// @param unbondingTime_ see `unbondingTime`
    constructor(address owner, uint256 minStake_, uint40 unbondingTime_) {
        minStake = minStake_;
        unbondingTime = unbondingTime_;
        _grantRole(DEFAULT_ADMIN_ROLE, owner);
        _grantRole(ADMITTER_ROLE, owner);
    }

    /// @inheritdoc IMECRegistry
    function join(string calldata url) external payable {
        Server storage self = _servers[msg.sender];
        if (self.status == Status.Active || self.status == Status.Expelled) {
            revert RegistryWrongStatus(msg.sender, self.status);
        }
        uint256 stake = self.stake + msg.value;
        if (!_admitted[msg.sender] && (minStake == 0 || stake < minStake)) {
            revert RegistryNotAdmitted(msg.sender, stake, minStake);
        }
        if (self.status == Status.Unknown) self.index = _count++;
        self.status = Status.Active;
        self.unbondsAt = 0;
        // forge-lint: disable-next-line(unsafe-typecast)
        self.stake = uint128(stake); // all ether there is fits 87 bits
        self.endpointHash = keccak256(bytes(url));
        emit ServerJoined(msg.sender, self.index, stake, url);
    }

    /// @inheritdoc IMECRegistry
    function retire() external {
        Server storage self = _servers[msg.sender];
        if (self.status != Status.Active) revert RegistryWrongStatus(msg.sender, self.status);
        self.status = Status.Leaving;
        self.unbondsAt = uint40(block.timestamp) + unbondingTime;
        emit ServerRetired(msg.sender, self.unbondsAt);
    }

    /// @inheritdoc IMECRegistry
    function withdraw() external nonReentrant {
        Server storage self = _servers[msg.sender];
        if (self.status != Status.Leaving && self.status != Status.Expelled) {
            revert RegistryWrongStatus(msg.sender, self.status);
        }
        if (block.timestamp < self.unbondsAt) revert RegistryStillBonded(msg.sender, self.unbondsAt);
        uint256 amount = self.stake;
        self.stake = 0;
        emit StakeWithdrawn(msg.sender, amount);
        (bool paid,) = msg.sender.call{value: amount}("");
        if (!paid) revert RegistryPaymentFailed(msg.sender, amount);
    }

    /// @inheritdoc IMECRegistry
    function admit(address account, bool admitted) external onlyRole(ADMITTER_ROLE) {
        _admitted[account] = admitted;
        emit AdmissionSet(account, admitted);
    }

    /// @notice Say where slashed stakes go; once. The pool needs the ledger's address, and the ledger this one's.
    function setRewards(IRewardPool rewards_) external onlyRole(DEFAULT_ADMIN_ROLE) {
        if (address(_rewards) != address(0)) revert RegistryRewardsAlreadySet(_rewards);
        _rewards = rewards_;
        emit RewardsSet(rewards_);
    }

    /// @inheritdoc IMECRegistry
    function slash(address account, uint16 basisPoints, bytes32 reason, uint256 task)
        external
        nonReentrant
        onlyRole(SLASHER_ROLE)
    {
        Server storage self = _servers[account];
        if (!_isSlashable(self)) revert RegistryWrongStatus(account, self.status);
        uint256 amount = (uint256(self.stake) * basisPoints) / _BASIS_POINTS;
        // forge-lint: disable-next-line(unsafe-typecast)
        self.stake -= uint128(amount); // a share of it
        bool expelled = basisPoints == _BASIS_POINTS || self.stake < minStake;
        if (expelled && self.status != Status.Expelled) {
            self.status = Status.Expelled;
            self.unbondsAt = uint40(block.timestamp) + unbondingTime;
        }
        emit ServerSlashed(account, task, reason, amount, expelled);
        if (amount == 0) return;
        if (address(_rewards) == address(0)) revert RegistryRewardsNotSet();
        _rewards.fund{value: amount}(task);
    }

    /// @inheritdoc IMECRegistry
    function isActive(address account) external view returns (bool) {
        return _servers[account].status == Status.Active;
    }

    /// @inheritdoc IMECRegistry
    function isSlashable(address account) external view returns (bool) {
        return _isSlashable(_servers[account]);
    }

    /// @inheritdoc IMECRegistry
    function server(address account) external view returns (Server memory) {
        return _servers[account];
    }

    /// @inheritdoc IMECRegistry
    function count() external view returns (uint256) {
        return _count;
    }

    /// @dev An expelled server keeps what a small penalty left it; that must not shield it from what is proved later.
    function _isSlashable(Server storage self) private view returns (bool) {
        return self.status == Status.Active || self.status == Status.Leaving || self.stake != 0;
    }
}
