// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";
import {Bitmap} from "./libraries/Bitmap.sol";
import {CompactSignature} from "./libraries/CompactSignature.sol";
import {Digests} from "./libraries/Digests.sol";
import {Draw} from "./libraries/Draw.sol";
import {Reports} from "./libraries/Reports.sol";
import {RoundSeats, RoundSeatsLibrary} from "./libraries/RoundSeats.sol";
import {Shares} from "./libraries/Shares.sol";
import {IConsensus} from "./interfaces/IConsensus.sol";
import {IFederatedTasks} from "./interfaces/IFederatedTasks.sol";
import {IMECRegistry} from "./interfaces/IMECRegistry.sol";

/// @title The round ledger
/// @notice Storage is rewritten round after round: a submission touches the round's slot (read), the sender's seat
/// (read), the bitmap of who submitted and the running hash, however many servers there are.
contract FederatedTasks is IFederatedTasks, EIP712 {
    using Bitmap for uint256;
    using Reports for Reports.Book;

    /// @notice Most seats of a task: one bitmap and its round tag share a slot.
    uint256 public constant MAX_MEMBERS = RoundSeatsLibrary.MAX_SEATS;
    /// @notice Most rounds of a task: the round tag has 16 bits and must not repeat.
    uint32 public constant MAX_ROUNDS = type(uint16).max;

    /// @notice EIP-712 type of a signed update.
    bytes32 public constant UPDATE_TYPEHASH =
        keccak256("Update(uint256 task,uint32 round,bytes32 parent,bytes32 digest,uint32 size,uint32 samples)");

    /// @dev Blocks that `blockhash` reaches back.
    uint256 private constant _HASHES = 256;
    bytes32 private constant _WITHHELD = "withheld payload";
    bytes32 private constant _TOO_FEW_UPDATES = "too few updates";

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

    /// @dev All that a submission has to know, in one slot; see `RoundState`.
    struct Round {
        uint32 number;
        Phase phase;
        bool commitReveal;
        bool draws; // only members that are drawn submit
        uint8 awaited;
        uint8 minUpdates;
        uint40 deadline;
        uint40 closingBlock;
        uint32 maxPayload;
        uint32 maxSamples;
    }

    IMECRegistry private immutable _registry;

    uint256 private _taskCount;
    mapping(uint256 task => Task) private _tasks;
    mapping(uint256 task => Round) private _rounds;
    mapping(uint256 task => mapping(address server => Member)) private _members;
    mapping(uint256 task => mapping(uint8 seat => address)) private _seatHolders;
    mapping(uint256 task => bytes32) private _accumulators;
    mapping(uint256 task => RoundSeats) private _submitted;
    mapping(uint256 task => RoundSeats) private _committed;
    mapping(uint256 task => mapping(address server => bytes32)) private _commitments;
    mapping(uint256 task => Reports.Book) private _reports;
    mapping(uint256 task => Proposal) private _proposals;
    mapping(uint256 task => mapping(uint32 round => bytes32)) private _outcomes;

    modifier onlyConsensus(uint256 task) {
        if (msg.sender != address(_tasks[task].consensus)) revert TasksOnlyConsensus(msg.sender);
        _;
    }

    /// @param registry_ who may take seats
    constructor(IMECRegistry registry_) EIP712("fbfl", "1") {
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
        uint32 next = _rounds[task].number + 1;
        bool over = _isOver(_rounds[task].phase);
        Member memory member = _members[task][msg.sender];
        // A member that has just left still sits in the committee of the current round, until that is over.
        if (member.until == type(uint32).max || (!over && _sits(member, next - 1))) {
            revert TasksAlreadyMember(task, msg.sender);
        }
        if (!_registry.isActive(msg.sender)) revert TasksNotActive(msg.sender);
        uint256 taken = self.seats | (over ? 0 : self.committee);
        uint8 seat = taken.lowestFree();
        if (seat >= self.maxMembers) revert TasksFull(task, self.maxMembers);
        self.seats |= 1 << seat;
        _seatHolders[task][seat] = msg.sender;
        _members[task][msg.sender] = Member({seat: seat, since: next, until: type(uint32).max});
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
        Round memory current = _rounds[task];
        Member memory member = _members[task][server];
        bool sits = !_isOver(current.phase) && _sits(member, current.number);
        if (member.until == type(uint32).max) {
            _vacate(task, server);
        } else if (!sits) {
            revert TasksNotMember(task, server);
        }
        if (sits) self.consensus.expel(task, current.number, member.seat);
    }

    // ---------------------------------------------------------------- rounds

    /// @inheritdoc IFederatedTasks
    function openRound(uint256 task) external returns (uint32 round) {
        Task storage self = _existing(task);
        Round storage current = _rounds[task];
        if (!_isOver(current.phase)) revert TasksWrongPhase(task, current.phase);
        round = current.number + 1;
        if (round > self.maxRounds) revert TasksEnded(task, self.maxRounds);
        if (msg.sender != self.owner) {
            // Nobody plays the rounds alone that are paid, since the others have not joined yet.
            if (round == 1) revert TasksNotOwner(task, msg.sender);
            if (!_sits(_members[task][msg.sender], round)) revert TasksNotMember(task, msg.sender);
            if (!_registry.isActive(msg.sender)) revert TasksNotActive(msg.sender);
        }
        uint256 members = self.seats.count();
        uint256 needed = round == 1 ? self.minMembers : current.minUpdates;
        if (members < needed) revert TasksTooFewMembers(task, members, needed);
        current.number = round;
        current.phase = current.commitReveal ? Phase.Commit : Phase.Submit;
        uint256 awaited = current.draws ? Draw.share(members, self.participation, current.minUpdates) : members;
        // forge-lint: disable-next-line(unsafe-typecast)
        current.awaited = uint8(awaited); // at most MAX_MEMBERS
        current.deadline = uint40(block.timestamp) + (current.commitReveal ? self.commitWindow : self.submitWindow);
        if (self.committee != self.seats) self.committee = self.seats;
        _accumulators[task] = Digests.firstAccumulator(address(this), task, round);
        emit RoundOpened(task, round, self.model, self.modelSize, self.seats, current.deadline);
        if (current.draws) {
            self.drawn = Draw.draw(self.seats, awaited, self.seed, round);
            emit ParticipantsDrawn(task, round, self.drawn);
        }
    }

    /// @inheritdoc IFederatedTasks
    function commit(uint256 task, uint32 round, bytes32 commitment) external {
        Round memory current = _open(task, round, Phase.Commit);
        uint256 bit = _drawnBitOf(task, current, msg.sender);
        RoundSeats committed = _committed[task].inRound(round);
        if (committed.has(bit)) revert TasksAlreadySubmitted(task, round, msg.sender);
        _committed[task] = committed.with(bit);
        _commitments[task][msg.sender] = commitment;
        emit UpdateCommitted(task, round, msg.sender, commitment);
    }

    /// @inheritdoc IFederatedTasks
    function submit(uint256 task, uint32 round, bytes32 digest, uint32 size, uint32 samples) external {
        Round memory current = _open(task, round, Phase.Submit);
        if (current.commitReveal) revert TasksWrongCommitment(task, round, msg.sender);
        _record(task, current, msg.sender, digest, size, samples);
    }

    /// @inheritdoc IFederatedTasks
    function reveal(uint256 task, uint32 round, bytes32 digest, uint32 size, uint32 samples, bytes32 salt) external {
        Round memory current = _open(task, round, Phase.Submit);
        // A commitment from an earlier round may name this one; counting it would close the round on those of this round.
        bool committed = _committed[task].inRound(round).has(_bitOf(task, current, msg.sender));
        bytes32 commitment =
            keccak256(abi.encode(block.chainid, address(this), task, round, msg.sender, digest, size, samples, salt));
        if (!committed || _commitments[task][msg.sender] != commitment) {
            revert TasksWrongCommitment(task, round, msg.sender);
        }
        _record(task, current, msg.sender, digest, size, samples);
    }

    /// @inheritdoc IFederatedTasks
    function submitBatch(uint256 task, uint32 round, SignedUpdate[] calldata updates) external {
        Round memory current = _open(task, round, Phase.Submit);
        if (current.commitReveal) revert TasksWrongCommitment(task, round, msg.sender);
        RoundSeats submitted = _submitted[task].inRound(round);
        bytes32 accumulator = _accumulators[task];
        RecordedUpdate[] memory recorded = new RecordedUpdate[](updates.length);
        mapping(address => Member) storage members = _members[task];
        uint256 drawn = current.draws ? _tasks[task].drawn : type(uint256).max;
        bytes32[2] memory domainAndParent = [_domainSeparatorV4(), _tasks[task].model];
        uint256 count;
        for (uint256 i = 0; i < updates.length; ++i) {
            RecordedUpdate memory update = _signed(domainAndParent, task, round, updates[i]);
            _checkUpdate(current, update.size, update.samples);
            Member memory member = members[update.server];
            if (!_sits(member, round)) revert TasksNotMember(task, update.server);
            uint256 bit = 1 << member.seat;
            if (drawn & bit == 0) revert TasksNotDrawn(task, round, update.server);
            if (submitted.has(bit)) continue;
            submitted = submitted.with(bit);
            accumulator = Digests.accumulate(accumulator, update.server, update.digest, update.size, update.samples);
            recorded[count++] = update;
        }
        if (count == 0) revert TasksNothingNew(task, round);
        assembly ("memory-safe") {
            mstore(recorded, count) // cut off the places of the updates that were passed over
        }
        _submitted[task] = submitted;
        _accumulators[task] = accumulator;
        emit UpdatesSubmitted(task, round, recorded);
    }

    /// @inheritdoc IFederatedTasks
    function reportMissing(uint256 task, uint32 round, address server, bytes32 accumulator) external {
        Round memory current = _deciding(task, round);
        Reports.Report memory report = _reportOf(task, current, server, accumulator);
        if (!_registry.isActive(msg.sender)) revert TasksNotActive(msg.sender);
        (bool leavesOut, bool slashes) = _reports[task].add(report, _seatHolders[task]);
        emit PayloadReported(task, round, server, msg.sender);
        if (leavesOut) emit PayloadMissing(task, round, server);
        if (_hasTooFew(task, current)) _giveUp(task, round);
        uint16 penalty = _tasks[task].withheldPenalty;
        if (slashes && penalty != 0) _registry.slash(server, penalty, _WITHHELD, task);
    }

    /// @inheritdoc IFederatedTasks
    function withdrawReport(uint256 task, uint32 round, address server, bytes32 accumulator) external {
        Round memory current = _deciding(task, round);
        Reports.Report memory report = _reportOf(task, current, server, accumulator);
        if (_tasks[task].consensus.status(task).stage != IConsensus.Stage.Propose) {
            revert TasksAlreadyProposed(task, round);
        }
        _reports[task].withdraw(report, _seatHolders[task]);
        emit ReportWithdrawn(task, round, server, msg.sender);
    }

    /// @inheritdoc IFederatedTasks
    function poke(uint256 task) external {
        Round memory current = _rounds[task];
        if (_isOver(current.phase)) revert TasksWrongPhase(task, current.phase);
        if (current.phase == Phase.Decide) {
            if (_hasTooFew(task, current)) _giveUp(task, current.number);
            else _tasks[task].consensus.onTimeout(task, current.number);
            return;
        }
        bool committing = current.phase == Phase.Commit;
        uint256 done = (committing ? _committed[task] : _submitted[task]).inRound(current.number).bitmap().count();
        uint256 expected = current.commitReveal && !committing
            ? _committed[task].inRound(current.number).bitmap().count()
            : current.awaited;
        if (done < expected && block.timestamp <= current.deadline) revert TasksNotDue(task, current.deadline);
        if (done < current.minUpdates) {
            _abort(task, current.number, _TOO_FEW_UPDATES);
        } else if (committing) {
            _rounds[task].phase = Phase.Submit;
            _rounds[task].deadline = uint40(block.timestamp) + _tasks[task].submitWindow;
        } else {
            // forge-lint: disable-next-line(unsafe-typecast)
            _close(task, current.number, uint8(done)); // at most MAX_MEMBERS
        }
    }

    /// @inheritdoc IFederatedTasks
    function propose(
        uint256 task,
        uint32 round,
        bytes32 model,
        uint32 modelSize,
        bytes32 closing,
        bytes32 expected,
        bytes calldata proof
    ) external {
        Round memory current = _deciding(task, round);
        _bitOf(task, current, msg.sender);
        _requireBranch(task, current, closing);
        if (modelSize > current.maxPayload) revert TasksPayloadTooLarge(modelSize, current.maxPayload);
        Task storage self = _tasks[task];
        Proposal storage proposal = _proposals[task];
        uint256 missing = _missingOf(task, self.consensus.status(task));
        _requireEnough(task, current, missing);
        bytes32 digest = _valueDigest(task, round, model, modelSize, closing, missing);
        // A report that lands before the proposal, or other updates after a reorganisation, change what the voters
        // recompute: the proposer must not pay for it.
        if (digest != expected) revert TasksValueChanged(task, digest, expected);
        proposal.proposer = msg.sender;
        proposal.modelSize = modelSize;
        proposal.model = model;
        if (proposal.missing != missing) proposal.missing = missing;
        if (modelSize == 0) emit AbortProposed(task, round, msg.sender, digest, model, missing);
        else emit ModelProposed(task, round, msg.sender, digest, model, modelSize, missing);
        self.consensus.propose(task, round, msg.sender, digest, proof);
    }

    /// @inheritdoc IFederatedTasks
    function finalizeRound(uint256 task, uint32 round, bytes32 digest) external onlyConsensus(task) {
        _deciding(task, round);
        Task storage self = _tasks[task];
        Proposal memory proposal = _proposals[task];
        if (proposal.modelSize == 0) {
            _abort(task, round, proposal.model);
            return;
        }
        _rounds[task].phase = Phase.Final;
        self.model = proposal.model;
        self.modelSize = proposal.modelSize;
        self.finalRounds += 1;
        _outcomes[task][round] = Digests.outcomeOf(digest, proposal.proposer);
        emit RoundFinalized(
            task, round, proposal.proposer, digest, proposal.model, proposal.modelSize, proposal.missing
        );
    }

    /// @inheritdoc IFederatedTasks
    function abortRound(uint256 task, uint32 round, bytes32 reason) external onlyConsensus(task) {
        _deciding(task, round);
        _abort(task, round, reason);
    }

    // ---------------------------------------------------------------- queries

    /// @inheritdoc IFederatedTasks
    function stateOf(uint256 task) external view returns (State memory) {
        Task storage self = _existing(task);
        Round memory current = _rounds[task];
        IConsensus.Status memory decision = self.consensus.status(task);
        return State({
            round: RoundState({
                number: current.number,
                phase: current.phase,
                commitReveal: current.commitReveal,
                awaited: current.awaited,
                minUpdates: current.minUpdates,
                deadline: current.deadline,
                closingBlock: current.closingBlock,
                maxPayload: current.maxPayload,
                maxSamples: current.maxSamples
            }),
            committee: self.committee,
            committed: _committed[task].inRound(current.number).bitmap(),
            submitted: _submitted[task].inRound(current.number).bitmap(),
            missing: _missingOf(task, decision),
            accumulator: _accumulators[task],
            model: self.model,
            modelSize: self.modelSize,
            proposal: _proposals[task],
            decision: decision
        });
    }

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
        return _members[task][server];
    }

    /// @inheritdoc IFederatedTasks
    function seatHolder(uint256 task, uint8 seat) external view returns (address) {
        return _seatHolders[task][seat];
    }

    /// @inheritdoc IFederatedTasks
    function progressOf(uint256 task) external view returns (uint32 finalRounds, bool ended) {
        Task storage self = _existing(task);
        Round storage current = _rounds[task];
        return (self.finalRounds, current.number >= self.maxRounds && _isOver(current.phase));
    }

    /// @inheritdoc IFederatedTasks
    function outcomeOf(uint256 task, uint32 round) external view returns (bytes32) {
        return _outcomes[task][round];
    }

    /// @inheritdoc IFederatedTasks
    function valueDigest(uint256 task, bytes32 model, uint32 modelSize, bytes32 closing)
        external
        view
        returns (bytes32)
    {
        uint256 missing = _missingOf(task, _existing(task).consensus.status(task));
        return _valueDigest(task, _rounds[task].number, model, modelSize, closing, missing);
    }

    // ---------------------------------------------------------------- inside

    function _record(uint256 task, Round memory current, address server, bytes32 digest, uint32 size, uint32 samples)
        private
    {
        uint256 bit = _drawnBitOf(task, current, server);
        RoundSeats submitted = _submitted[task].inRound(current.number);
        if (submitted.has(bit)) revert TasksAlreadySubmitted(task, current.number, server);
        _checkUpdate(current, size, samples);
        _submitted[task] = submitted.with(bit);
        _accumulators[task] = Digests.accumulate(_accumulators[task], server, digest, size, samples);
        emit UpdateSubmitted(task, current.number, server, digest, size, samples);
    }

    function _close(uint256 task, uint32 round, uint8 updates) private {
        Task storage self = _tasks[task];
        Round storage current = _rounds[task];
        current.phase = Phase.Decide;
        current.closingBlock = uint40(block.number);
        bytes32 accumulator = _accumulators[task];
        emit SubmissionsClosed(task, round, updates, accumulator);
        self.consensus.open(task, round, self.committee);
    }

    function _abort(uint256 task, uint32 round, bytes32 reason) private {
        _rounds[task].phase = Phase.Aborted;
        emit RoundAborted(task, round, reason);
    }

    function _vacate(uint256 task, address server) private {
        Task storage self = _existing(task);
        Member storage member = _members[task][server];
        uint32 next = _rounds[task].number + 1;
        if (member.until != type(uint32).max) revert TasksNotMember(task, server);
        member.until = next;
        self.seats &= ~(1 << member.seat);
        emit MemberLeft(task, server, member.seat, next);
        self.consensus.enroll(task, server, member.seat, member.since, next);
        _registry.leaveSeat(server);
    }

    /// @dev Ends a round that has too few updates left for anybody to propose.
    function _giveUp(uint256 task, uint32 round) private {
        _abort(task, round, _TOO_FEW_UPDATES);
        _tasks[task].consensus.abandon(task, round);
    }

    function _existing(uint256 task) private view returns (Task storage self) {
        self = _tasks[task];
        if (self.owner == address(0)) revert TasksUnknownTask(task);
    }

    function _open(uint256 task, uint32 round, Phase phase) private view returns (Round memory current) {
        current = _rounds[task];
        if (current.number != round) revert TasksWrongRound(task, round, current.number);
        if (current.phase != phase) revert TasksWrongPhase(task, current.phase);
        if (block.timestamp > current.deadline) revert TasksDeadlinePassed(task, current.deadline);
    }

    function _deciding(uint256 task, uint32 round) private view returns (Round memory current) {
        current = _rounds[task];
        if (current.number != round) revert TasksWrongRound(task, round, current.number);
        if (current.phase != Phase.Decide) revert TasksWrongPhase(task, current.phase);
    }

    /// @dev The sender's report of a server whose update is recorded, another member's.
    function _reportOf(uint256 task, Round memory current, address server, bytes32 accumulator)
        private
        view
        returns (Reports.Report memory report)
    {
        report.task = task;
        report.round = current.number;
        report.accused = server;
        report.reporter = msg.sender;
        report.bit = _bitOf(task, current, msg.sender);
        uint256 accused = _bitOf(task, current, server);
        if (!_submitted[task].inRound(current.number).has(accused)) {
            revert TasksNotSubmitted(task, current.number, server);
        }
        if (accused == report.bit) revert TasksNotMember(task, msg.sender); // it is none of the others
        bytes32 here = _accumulators[task];
        if (accumulator != here) revert TasksOtherUpdates(task, accumulator, here);
        report.seat = _members[task][server].seat;
        (report.toLeaveOut, report.toSlash) = _tasks[task].consensus.reportThresholds(task);
    }

    /// @dev Returns true if nobody can propose any more. A value that is prepared, or voted on, can still become final.
    function _hasTooFew(uint256 task, Round memory current) private view returns (bool) {
        IConsensus.Status memory decision = _tasks[task].consensus.status(task);
        if (decision.stage != IConsensus.Stage.Propose || decision.prepared != 0) return false;
        return _included(task, current, _missingOf(task, decision)) < current.minUpdates;
    }

    function _bitOf(uint256 task, Round memory current, address server) private view returns (uint256) {
        Member memory member = _members[task][server];
        if (!_sits(member, current.number)) revert TasksNotMember(task, server);
        return 1 << member.seat;
    }

    /// @dev The bit of a member that may submit.
    function _drawnBitOf(uint256 task, Round memory current, address server) private view returns (uint256 bit) {
        bit = _bitOf(task, current, server);
        if (current.draws && _tasks[task].drawn & bit == 0) revert TasksNotDrawn(task, current.number, server);
    }

    /// @dev A prepared value must be proposed again as it was, so the bitmap of that time holds.
    function _missingOf(uint256 task, IConsensus.Status memory decision) private view returns (uint256) {
        uint32 round = _rounds[task].number;
        if (decision.prepared != 0 && decision.round == round) return _proposals[task].missing;
        return _reports[task].missing.inRound(round).bitmap();
    }

    function _requireEnough(uint256 task, Round memory current, uint256 missing) private view {
        uint256 included = _included(task, current, missing);
        if (included < current.minUpdates) revert TasksTooFewUpdates(task, included, current.minUpdates);
    }

    function _included(uint256 task, Round memory current, uint256 missing) private view returns (uint256) {
        return (_submitted[task].inRound(current.number).bitmap() & ~missing).count();
    }

    /// @dev The block that closed the submissions must be the one that the proposer has seen. In that block itself its
    /// hash is not known, and after 256 blocks not any more: by then it is the votes, which bind it, that refuse another.
    function _requireBranch(uint256 task, Round memory current, bytes32 closing) private view {
        if (block.number > uint256(current.closingBlock) + _HASHES) return;
        bytes32 here = blockhash(current.closingBlock);
        if (closing != here || closing == 0) revert TasksOtherBranch(task, closing, here);
    }

    function _valueDigest(uint256 task, uint32 round, bytes32 model, uint32 modelSize, bytes32 closing, uint256 missing)
        private
        view
        returns (bytes32)
    {
        Task storage self = _tasks[task];
        Digests.Value memory value = Digests.Value({
            chainId: block.chainid,
            ledger: address(this),
            task: task,
            round: round,
            parent: self.model,
            closing: closing,
            accumulator: _accumulators[task],
            missing: missing,
            rule: self.rule,
            ruleParamsHash: self.ruleParamsHash,
            model: model,
            modelSize: modelSize
        });
        return Digests.digestOf(value);
    }

    /// @dev An update as it is recorded: with its signer in place of the signature.
    function _signed(bytes32[2] memory domainAndParent, uint256 task, uint32 round, SignedUpdate calldata update)
        private
        view
        returns (RecordedUpdate memory)
    {
        bytes32 content = keccak256(
            abi.encode(UPDATE_TYPEHASH, task, round, domainAndParent[1], update.digest, update.size, update.samples)
        );
        bytes32 hash = MessageHashUtils.toTypedDataHash(domainAndParent[0], content);
        address server = CompactSignature.signerOf(hash, update.r, update.vs);
        return RecordedUpdate({server: server, digest: update.digest, size: update.size, samples: update.samples});
    }

    function _checkUpdate(Round memory current, uint32 size, uint32 samples) private pure {
        if (size == 0 || size > current.maxPayload) revert TasksPayloadTooLarge(size, current.maxPayload);
        if (samples == 0 || samples > current.maxSamples) revert TasksBadSampleCount(samples, current.maxSamples);
    }

    function _sits(Member memory member, uint32 round) private pure returns (bool) {
        return member.since <= round && round < member.until; // `until` is zero where there is no seat
    }

    function _isOver(Phase phase) private pure returns (bool) {
        return phase == Phase.Idle || phase == Phase.Final || phase == Phase.Aborted;
    }
}
