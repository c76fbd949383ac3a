// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {AccessControl} from "@openzeppelin/contracts/access/AccessControl.sol";
import {ReentrancyGuard} from "@openzeppelin/contracts/utils/ReentrancyGuard.sol";
import {IMECRegistry} from "./interfaces/IMECRegistry.sol";
import {Shares} from "./libraries/Shares.sol";

/// @title The MEC servers that may take part
/// @notice A server is admitted by an allow-list, or by a stake where a minimum is set: creating many identities costs
/// either an admitter's consent or money. Every seat in a task locks that minimum, so that one stake never seats two.
/// Nobody gains by a penalty: what is slashed is held for the unbonding time and burnt then.
contract MECRegistry is IMECRegistry, AccessControl, ReentrancyGuard {
    /// @notice May change the allow-list.
    bytes32 public constant ADMITTER_ROLE = keccak256("ADMITTER_ROLE");
    /// @notice May slash: the ledger and the consensus contracts.
    bytes32 public constant SLASHER_ROLE = keccak256("SLASHER_ROLE");
    /// @notice May give out seats: the ledger.
    bytes32 public constant LEDGER_ROLE = keccak256("LEDGER_ROLE");

    /// @notice Stake (wei) that admits a server that is not on the allow-list, and that each of its seats locks; 0: only
    /// the allow-list admits.
    uint256 public immutable minStake;
    /// @notice Seconds between leaving, or giving the last seat up, and withdrawing; and between slashing and burning.
    uint40 public immutable unbondingTime;

    mapping(address account => Server) private _servers;
    mapping(address account => bool) private _admitted;
    uint32 private _count;

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
        if (self.status == Status.Active) revert RegistryWrongStatus(msg.sender, self.status);
        uint256 stake = self.stake + msg.value;
        uint256 locked = _lockedBy(self.seats);
        if (!_admitted[msg.sender] && (minStake == 0 || stake < locked)) {
            revert RegistryNotAdmitted(msg.sender, stake, locked);
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
    function addStake() external payable {
        Server storage self = _servers[msg.sender];
        if (self.status != Status.Active) revert RegistryWrongStatus(msg.sender, self.status);
        // forge-lint: disable-next-line(unsafe-typecast)
        self.stake += uint128(msg.value); // all ether there is fits 87 bits
        emit StakeAdded(msg.sender, msg.value);
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
        if (self.seats != 0) revert RegistryStillSeated(msg.sender, self.seats);
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

    /// @inheritdoc IMECRegistry
    function takeSeat(address account) external onlyRole(LEDGER_ROLE) {
        Server storage self = _servers[account];
        if (self.status != Status.Active) revert RegistryWrongStatus(account, self.status);
        uint16 seats = self.seats + 1;
        uint256 locked = _lockedBy(seats);
        if (!_admitted[account] && self.stake < locked) revert RegistryStakeLocked(account, self.stake, locked);
        self.seats = seats;
    }

    /// @inheritdoc IMECRegistry
    function leaveSeat(address account) external onlyRole(LEDGER_ROLE) {
        Server storage self = _servers[account];
        self.seats -= 1;
        // Misconduct on that seat may be found out later: the stake stays bonded from now on.
        if (self.status != Status.Active) self.unbondsAt = uint40(block.timestamp) + unbondingTime;
    }

    /// @inheritdoc IMECRegistry
    function slash(address account, uint16 basisPoints, bytes32 reason, uint256 task) external onlyRole(SLASHER_ROLE) {
        Server storage self = _servers[account];
        if (self.status == Status.Unknown) revert RegistryWrongStatus(account, self.status);
        uint256 amount = Shares.part(self.stake, basisPoints);
        if (amount != 0) {
            // forge-lint: disable-start(unsafe-typecast)
            self.stake -= uint128(amount); // a share of it
            self.held += uint128(amount);
            // forge-lint: disable-end(unsafe-typecast)
            self.burnsAt = uint40(block.timestamp) + unbondingTime;
        }
        bool expelled = basisPoints == Shares.WHOLE || self.stake < _lockedBy(self.seats);
        if (expelled && self.status != Status.Expelled) {
            self.status = Status.Expelled;
            self.unbondsAt = uint40(block.timestamp) + unbondingTime;
        }
        if (expelled && _admitted[account]) {
            _admitted[account] = false; // otherwise it would be back at once, for nothing
            emit AdmissionSet(account, false);
        }
        emit ServerSlashed(account, task, reason, amount, expelled);
    }

    /// @inheritdoc IMECRegistry
    function burn(address account) external nonReentrant {
        Server storage self = _servers[account];
        uint256 amount = self.held;
        if (amount == 0 || block.timestamp < self.burnsAt) revert RegistryNothingToBurn(account, amount, self.burnsAt);
        self.held = 0;
        emit StakeBurnt(account, amount);
        (bool burnt,) = address(0).call{value: amount}("");
        if (!burnt) revert RegistryPaymentFailed(address(0), amount);
    }

    /// @inheritdoc IMECRegistry
    function isActive(address account) external view returns (bool) {
        return _servers[account].status == Status.Active;
    }

    /// @inheritdoc IMECRegistry
    function isSlasher(address account) external view returns (bool) {
        return hasRole(SLASHER_ROLE, account);
    }

    /// @inheritdoc IMECRegistry
    function server(address account) external view returns (Server memory) {
        return _servers[account];
    }

    /// @inheritdoc IMECRegistry
    function count() external view returns (uint256) {
        return _count;
    }

    /// @dev Returns the stake that a server must have: the minimum for each of its seats, and once if it has none.
    function _lockedBy(uint16 seats) private view returns (uint256) {
        return minStake * (seats == 0 ? 1 : seats);
    }
}
