// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";
import {Bitmap} from "./libraries/Bitmap.sol";
import {CompactSignature} from "./libraries/CompactSignature.sol";
import {Digests} from "./libraries/Digests.sol";
import {Draw} from "./libraries/Draw.sol";
import {Reports} from "./libraries/Reports.sol";
import {Round, RoundLibrary} from "./libraries/Round.sol";
import {RoundSeats} from "./libraries/RoundSeats.sol";
import {Seat} from "./libraries/Seat.sol";
import {IConsensus} from "./interfaces/IConsensus.sol";
import {IFederatedTasks} from "./interfaces/IFederatedTasks.sol";
import {IMECRegistry} from "./interfaces/IMECRegistry.sol";
import {TaskMembers} from "./TaskMembers.sol";

/// @title The round ledger
/// @notice Storage is rewritten round after round: a submission touches the round's slot (read), the sender's seat
/// (read), the bitmap of who submitted and the running hash, however many servers there are.
contract FederatedTasks is TaskMembers, EIP712 {
    using Bitmap for uint256;
    using Reports for Reports.Book;

    /// @notice EIP-712 type of a signed update.
    bytes32 public constant UPDATE_TYPEHASH =
        keccak256("Update(uint256 task,uint32 round,bytes32 parent,bytes32 digest,uint32 size,uint32 samples)");

    /// @dev Blocks that `blockhash` reaches back.
    uint256 private constant _HASHES = 256;
    bytes32 private constant _WITHHELD = "withheld payload";
    bytes32 private constant _TOO_FEW_UPDATES = "too few updates";

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
    constructor(IMECRegistry registry_) TaskMembers(registry_) EIP712("fbfl", "1") {}

    // ---------------------------------------------------------------- rounds

    /// @inheritdoc IFederatedTasks
    function openRound(uint256 task) external returns (uint32 round) {
        Task storage self = _existing(task);
        Round storage current = _rounds[task];
        if (!RoundLibrary.isOver(current.phase)) revert TasksWrongPhase(task, current.phase);
        round = current.number + 1;
        if (round > self.maxRounds) revert TasksEnded(task, self.maxRounds);
        if (msg.sender != self.owner) {
            // Nobody plays the rounds alone that are paid, since the others have not joined yet.
            if (round == 1) revert TasksNotOwner(task, msg.sender);
            if (!_members[task][msg.sender].isHeldIn(round)) revert TasksNotMember(task, msg.sender);
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
        mapping(address => Seat) storage members = _members[task];
        uint256 drawn = current.draws ? _tasks[task].drawn : type(uint256).max;
        bytes32[2] memory domainAndParent = [_domainSeparatorV4(), _tasks[task].model];
        uint256 count;
        for (uint256 i = 0; i < updates.length; ++i) {
            RecordedUpdate memory update = _signed(domainAndParent, task, round, updates[i]);
            current.requireFit(update.size, update.samples);
            Seat seat = members[update.server];
            if (!seat.isHeldIn(round)) revert TasksNotMember(task, update.server);
            uint256 bit = seat.bit();
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
        // Not by time, also after the deadline: others may be about to report, and it is `poke` that ends a view.
        if (_hasTooFew(task, current) && _reports[task].havePaid(round)) _giveUp(task, round);
        uint16 penalty = _tasks[task].withheldPenalty;
        if (slashes && penalty != 0) _registry.slash(server, penalty, _WITHHELD, task);
    }

    /// @inheritdoc IFederatedTasks
    function withdrawReport(uint256 task, uint32 round, address server, bytes32 accumulator) external {
        Round memory current = _deciding(task, round);
        Reports.Report memory report = _reportOf(task, current, server, accumulator);
        if (_decisionOf(task).stage != IConsensus.Stage.Propose) {
            revert TasksAlreadyProposed(task, round);
        }
        _reports[task].withdraw(report, _seatHolders[task]);
        emit ReportWithdrawn(task, round, server, msg.sender);
    }

    /// @inheritdoc IFederatedTasks
    function poke(uint256 task) external {
        Round memory current = _roundOf(task);
        if (RoundLibrary.isOver(current.phase)) revert TasksWrongPhase(task, current.phase);
        if (current.phase == Phase.Decide) {
            bool lost = _hasTooFew(task, current)
                && (block.timestamp > _decisionOf(task).deadline || _reports[task].havePaid(current.number));
            if (lost) _giveUp(task, current.number);
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
        uint256 missing = _missingOf(task, _decisionOf(task));
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
        Round memory current = _roundOf(task);
        IConsensus.Status memory decision = _decisionOf(task);
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
    function outcomeOf(uint256 task, uint32 round) external view returns (bytes32) {
        return _outcomes[task][round];
    }

    /// @inheritdoc IFederatedTasks
    function valueDigest(uint256 task, bytes32 model, uint32 modelSize, bytes32 closing)
        external
        view
        returns (bytes32)
    {
        _existing(task);
        uint256 missing = _missingOf(task, _decisionOf(task));
        return _valueDigest(task, _rounds[task].number, model, modelSize, closing, missing);
    }

    // ---------------------------------------------------------------- inside

    function _record(uint256 task, Round memory current, address server, bytes32 digest, uint32 size, uint32 samples)
        private
    {
        uint256 bit = _drawnBitOf(task, current, server);
        RoundSeats submitted = _submitted[task].inRound(current.number);
        if (submitted.has(bit)) revert TasksAlreadySubmitted(task, current.number, server);
        current.requireFit(size, samples);
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

    /// @dev Ends a round that has too few updates left for anybody to propose.
    function _giveUp(uint256 task, uint32 round) private {
        _abort(task, round, _TOO_FEW_UPDATES);
        _tasks[task].consensus.abandon(task, round);
    }

    function _open(uint256 task, uint32 round, Phase phase) private view returns (Round memory current) {
        current = _rounds[task]; // not through `_roundOf`: submissions pay for its copy
        current.requireIn(task, round, phase);
        if (block.timestamp > current.deadline) revert TasksDeadlinePassed(task, current.deadline);
    }

    function _deciding(uint256 task, uint32 round) private view returns (Round memory current) {
        current = _roundOf(task);
        current.requireIn(task, round, Phase.Decide);
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
        report.seat = _members[task][server].number();
        (report.toLeaveOut, report.toSlash) = _tasks[task].consensus.reportThresholds(task);
    }

    /// @dev Returns true if too few updates are left for anybody to propose. The round is lost once those who withhold the
    /// others have paid, or its view is ended; until then members report, or take their reports back. A value that is
    /// prepared, or voted on, can still become final.
    function _hasTooFew(uint256 task, Round memory current) private view returns (bool) {
        IConsensus.Status memory decision = _decisionOf(task);
        if (decision.stage != IConsensus.Stage.Propose || decision.prepared != 0) return false;
        return _included(task, current, _missingOf(task, decision)) < current.minUpdates;
    }

    function _decisionOf(uint256 task) private view returns (IConsensus.Status memory) {
        return _tasks[task].consensus.status(task);
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
}
