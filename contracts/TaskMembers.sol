// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Bitmap} from "./libraries/Bitmap.sol";
import {Round, RoundLibrary} from "./libraries/Round.sol";
import {RoundSeatsLibrary} from "./libraries/RoundSeats.sol";
import {Seat, SeatLibrary} from "./libraries/Seat.sol";
import {Shares} from "./libraries/Shares.sol";
import {IConsensus} from "./interfaces/IConsensus.sol";
import {IFederatedTasks} from "./interfaces/IFederatedTasks.sol";
import {IMECRegistry} from "./interfaces/IMECRegistry.sol";

/// @title Tasks and their members: what the round ledger stands on
/// @notice Who sits where, in which rounds. What happens in a round is in `FederatedTasks`.
abstract contract TaskMembers is IFederatedTasks {
    using Bitmap for uint256;

    /// @notice Most seats of a task: one bitmap and its round tag share a slot.
    uint256 public constant MAX_MEMBERS = RoundSeatsLibrary.MAX_SEATS;
    /// @notice Most rounds of a task: the round tag has 16 bits and must not repeat.
    uint32 public constant MAX_ROUNDS = type(uint16).max;

    /// @dev Values set once per task, or changed once per round, that no submission reads.
    struct Task {
        IConsensus consensus;
        uint32 modelSize;
        uint32 maxRounds;
        uint8 minMembers;
        uint8 maxMembers;
        uint16 finalRounds;
        address owner;
        uint32 commitWindow;
        uint32 submitWindow;
        uint16 withheldPenalty;
        uint16 participation;
        bytes32 model;
        bytes32 rule;
        bytes32 ruleParamsHash;
        uint256 committee; // bitmap of the seats of the current round
        uint256 seats; // bitmap of the seats of the next round
        uint256 seed; // of the draws
        uint256 drawn; // bitmap of the seats that are drawn for the current round, where any are
    }

    IMECRegistry internal immutable _registry;

    uint256 private _taskCount;
    mapping(uint256 task => Task) internal _tasks;
    mapping(uint256 task => Round) internal _rounds;
    mapping(uint256 task => mapping(address server => Seat)) internal _members;
    mapping(uint256 task => mapping(uint8 seat => address)) internal _seatHolders;

    /// @param registry_ who may take seats
    constructor(IMECRegistry registry_) {
        _registry = registry_;
    }

    // ---------------------------------------------------------------- tasks

    /// @inheritdoc IFederatedTasks
    function createTask(TaskSettings calldata settings) external returns (uint256 task) {
        return createSampledTask(settings, Shares.WHOLE, 0);
    }

    /// @inheritdoc IFederatedTasks
    function createSampledTask(TaskSettings calldata settings, uint16 participation, uint256 seed)
        public
        returns (uint256 task)
    {
        // The operators of the deployment choose who may slash: a task must not bring its own judge.
        if (!_registry.isSlasher(address(settings.consensus))) revert TasksBadSettings("consensus");
        if (settings.submitWindow == 0) revert TasksBadSettings("submitWindow");
        if (settings.minUpdates == 0) revert TasksBadSettings("minUpdates");
        if (settings.minMembers < settings.minUpdates || settings.minMembers > settings.maxMembers) {
            revert TasksBadSettings("minMembers");
        }
        if (settings.maxMembers > MAX_MEMBERS) revert TasksBadSettings("maxMembers");
        if (settings.maxRounds > MAX_ROUNDS) revert TasksBadSettings("maxRounds");
        if (settings.maxSamples == 0) revert TasksBadSettings("maxSamples");
        if (settings.maxPayload == 0 || settings.modelSize > settings.maxPayload) {
            revert TasksBadSettings("maxPayload");
        }
        if (settings.withheldPenalty > Shares.MAX_PENALTY) revert TasksBadSettings("withheldPenalty");
        if (participation == 0 || participation > Shares.WHOLE) revert TasksBadSettings("participation");
        task = ++_taskCount;
        Task storage self = _tasks[task];
        self.consensus = settings.consensus;
        self.owner = msg.sender;
        self.model = settings.model;
        self.modelSize = settings.modelSize;
        self.maxRounds = settings.maxRounds == 0 ? MAX_ROUNDS : settings.maxRounds;
        self.minMembers = settings.minMembers;
        self.maxMembers = settings.maxMembers;
        self.commitWindow = settings.commitWindow;
        self.submitWindow = settings.submitWindow;
        self.withheldPenalty = settings.withheldPenalty;
        self.rule = settings.rule;
        self.ruleParamsHash = keccak256(settings.ruleParams);
        Round storage current = _rounds[task];
        current.commitReveal = settings.commitWindow != 0;
        current.minUpdates = settings.minUpdates;
        current.maxPayload = settings.maxPayload;
        current.maxSamples = settings.maxSamples;
        emit TaskCreated(
            task,
            msg.sender,
            settings.consensus,
            settings.rule,
            settings.ruleParams,
            settings.definition,
            settings.model,
            settings.modelSize
        );
        emit TaskTerms(
            task,
            settings.minMembers,
            settings.maxMembers,
            settings.minUpdates,
            self.maxRounds,
            settings.maxPayload,
            settings.maxSamples,
            settings.withheldPenalty
        );
        if (participation < Shares.WHOLE) {
            current.draws = true;
            self.participation = participation;
            self.seed = seed;
            emit TaskSampled(task, participation, seed);
        }
        settings.consensus.configure(task, settings.consensusParams);
    }

    /// @inheritdoc IFederatedTasks
    function endTask(uint256 task) external {
        Task storage self = _existing(task);
        if (msg.sender != self.owner) revert TasksNotOwner(task, msg.sender);
        // Also while a round is under way: otherwise a member that opens each next one at once would never let it end.
        Round storage current = _rounds[task];
        if (current.number >= self.maxRounds) revert TasksEnded(task, self.maxRounds);
        self.maxRounds = current.number;
        emit TaskEnded(task, current.number);
    }

    /// @inheritdoc IFederatedTasks
    function join(uint256 task) external {
        Task storage self = _existing(task);
        Round memory current = _roundOf(task);
        uint32 next = current.number + 1;
        bool over = RoundLibrary.isOver(current.phase);
        Seat held = _members[task][msg.sender];
        // A member that has just left still sits in the committee of the current round, until that is over.
        if (held.isKept() || (!over && held.isHeldIn(current.number))) {
            revert TasksAlreadyMember(task, msg.sender);
        }
        if (!_registry.isActive(msg.sender)) revert TasksNotActive(msg.sender);
        uint256 taken = self.seats | (over ? 0 : self.committee);
        uint8 seat = taken.lowestFree();
        if (seat >= self.maxMembers) revert TasksFull(task, self.maxMembers);
        self.seats |= 1 << seat;
        _seatHolders[task][seat] = msg.sender;
        _members[task][msg.sender] = SeatLibrary.held(seat, next, type(uint32).max);
        emit MemberJoined(task, msg.sender, seat, next);
        self.consensus.enroll(task, msg.sender, seat, next, type(uint32).max);
        _registry.takeSeat(msg.sender);
    }

    /// @inheritdoc IFederatedTasks
    function resign(uint256 task) external {
        _vacate(task, msg.sender);
    }

    /// @inheritdoc IFederatedTasks
    function evict(uint256 task, address server) external {
        Task storage self = _existing(task);
        if (_registry.isActive(server)) revert TasksStillActive(task, server);
        Round memory current = _roundOf(task);
        Seat seat = _members[task][server];
        bool sits = !RoundLibrary.isOver(current.phase) && seat.isHeldIn(current.number);
        if (seat.isKept()) {
            _vacate(task, server);
        } else if (!sits) {
            revert TasksNotMember(task, server);
        }
        if (sits) self.consensus.expel(task, current.number, seat.number());
    }

    // ---------------------------------------------------------------- queries

    /// @inheritdoc IFederatedTasks
    function registry() external view returns (IMECRegistry) {
        return _registry;
    }

    /// @inheritdoc IFederatedTasks
    function taskCount() external view returns (uint256) {
        return _taskCount;
    }

    /// @inheritdoc IFederatedTasks
    function consensusOf(uint256 task) external view returns (IConsensus) {
        return _tasks[task].consensus;
    }

    /// @inheritdoc IFederatedTasks
    function ownerOf(uint256 task) external view returns (address) {
        return _tasks[task].owner;
    }

    /// @inheritdoc IFederatedTasks
    function memberOf(uint256 task, address server) external view returns (Member memory) {
        Seat seat = _members[task][server];
        return Member({seat: seat.number(), since: seat.since(), until: seat.until()});
    }

    /// @inheritdoc IFederatedTasks
    function seatHolder(uint256 task, uint8 seat) external view returns (address) {
        return _seatHolders[task][seat];
    }

    /// @inheritdoc IFederatedTasks
    function progressOf(uint256 task) external view returns (uint32 finalRounds, bool ended) {
        Task storage self = _existing(task);
        Round memory current = _roundOf(task);
        return (self.finalRounds, current.number >= self.maxRounds && RoundLibrary.isOver(current.phase));
    }

    // ---------------------------------------------------------------- for rounds

    /// @dev The current round, in memory.
    function _roundOf(uint256 task) internal view returns (Round memory) {
        return _rounds[task];
    }

    function _existing(uint256 task) internal view returns (Task storage self) {
        self = _tasks[task];
        if (self.owner == address(0)) revert TasksUnknownTask(task);
    }

    /// @dev The bit of a member in the bitmaps of the current round.
    function _bitOf(uint256 task, Round memory current, address server) internal view returns (uint256) {
        Seat seat = _members[task][server];
        if (!seat.isHeldIn(current.number)) revert TasksNotMember(task, server);
        return seat.bit();
    }

    // ---------------------------------------------------------------- inside

    function _vacate(uint256 task, address server) private {
        Task storage self = _existing(task);
        Seat seat = _members[task][server];
        uint32 next = _rounds[task].number + 1;
        if (!seat.isKept()) revert TasksNotMember(task, server);
        _members[task][server] = SeatLibrary.held(seat.number(), seat.since(), next);
        self.seats &= ~seat.bit();
        emit MemberLeft(task, server, seat.number(), next);
        self.consensus.enroll(task, server, seat.number(), seat.since(), next);
        _registry.leaveSeat(server);
    }
}
