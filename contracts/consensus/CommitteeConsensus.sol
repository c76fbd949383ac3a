// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {Ballot, BallotLibrary} from "../libraries/Ballot.sol";
import {Bitmap} from "../libraries/Bitmap.sol";
import {CompactSignature} from "../libraries/CompactSignature.sol";
import {RoundSeats} from "../libraries/RoundSeats.sol";
import {Seat, SeatLibrary} from "../libraries/Seat.sol";
import {Shares} from "../libraries/Shares.sol";
import {IConsensus} from "../interfaces/IConsensus.sol";
import {IFederatedTasks} from "../interfaces/IFederatedTasks.sol";

/// @title Base of every consensus: a committee that votes on proposals, view after view
/// @notice A view awaits a proposal, then votes on it. It ends with a quorum for it, a quorum against it, or its
/// deadline; the next view gives another member the turn. An implementation defines who may propose (`_authorize`,
/// `_leaderOf`) and the effect of a quorum (`_onQuorum`).
abstract contract CommitteeConsensus is IConsensus, EIP712 {
    using Bitmap for uint256;

    /// @dev Share of the committee that carries a proposal: more than half, or PBFT's (2n-1)/3+1.
    enum QuorumRule {
        Majority,
        Byzantine
    }

    /// @param timeout seconds of the first view
    /// @param timeoutCap most seconds of a view; every view lasts twice as long as the one before, up to this
    /// @param maxViews views after which the round aborts
    /// @param quorumRule see `QuorumRule`
    /// @param rejectionPenalty what a leader loses whose proposal a quorum voted down, in 1/10,000 of its stake, at most
    /// 2,500
    struct CommitteeRules {
        uint32 timeout;
        uint32 timeoutCap;
        uint16 maxViews;
        QuorumRule quorumRule;
        uint16 rejectionPenalty;
    }

    /// @dev All that a vote has to know, in one slot.
    struct Decision {
        uint32 round;
        uint16 view_;
        Stage stage;
        Stage decidedIn;
        uint8 committeeSize;
        uint8 quorum;
        uint40 openedAt;
        uint40 deadline;
    }

    /// @dev A ballot that a pointer can be kept to: hashing its place twice would cost each voter 80 gas.
    struct Tally {
        Ballot ballot;
    }

    /// @notice EIP-712 type of a signed vote.
    bytes32 public constant VOTE_TYPEHASH =
        keccak256("Vote(uint256 task,uint32 round,uint16 view,uint8 stage,bytes32 valueDigest,bool accept)");

    /// @notice Emitted with the rules of a task's decisions, and their penalties.
    event RulesSet(
        uint256 indexed task,
        uint32 timeout,
        uint32 timeoutCap,
        uint16 maxViews,
        QuorumRule quorumRule,
        uint16 rejectionPenalty
    );

    bytes32 private constant _EQUIVOCATION = "equivocation";
    bytes32 private constant _REJECTED = "rejected aggregate";
    bytes32 private constant _TOO_MANY_VIEWS = "too many views";

    IFederatedTasks private immutable _ledger;

    mapping(uint256 task => CommitteeRules) private _rules;
    mapping(uint256 task => Decision) private _decisions;
    mapping(uint256 task => mapping(address member => Seat)) private _seats;
    mapping(uint256 task => mapping(uint8 seat => address)) private _holders;
    mapping(uint256 task => uint256) private _committees;
    mapping(uint256 task => uint256) private _barred;
    /// @dev Members expelled in a round. In a ballot they count as having voted, so that a vote need not look here.
    mapping(uint256 task => RoundSeats) private _expelled;
    mapping(uint256 task => bytes32) private _proposals;
    mapping(uint256 task => address) private _proposers;
    /// @dev By the digest of the proposal, so that a vote finds out by the ballot itself whether its digest is before the
    /// committee. One proposal is at a time, and its ballot is cleared when it is over.
    mapping(uint256 task => mapping(bytes32 digest => Tally)) private _tallies;

    /// @dev Equivocations that were shown: task, round, view, stage and voter, hashed.
    mapping(bytes32 misconduct => bool) private _shown;

    modifier onlyLedger() {
        if (msg.sender != address(_ledger)) revert ConsensusOnlyTasks(msg.sender);
        _;
    }

    /// @param ledger_ the round ledger that opens decisions
    constructor(IFederatedTasks ledger_) EIP712("fbfl", "1") {
        _ledger = ledger_;
    }

    // ---------------------------------------------------------------- from the ledger

    /// @inheritdoc IConsensus
    function enroll(uint256 task, address member, uint8 seat, uint32 since, uint32 until) external onlyLedger {
        _seats[task][member] = SeatLibrary.held(seat, since, until);
        _holders[task][seat] = member;
    }

    /// @inheritdoc IConsensus
    function expel(uint256 task, uint32 round, uint8 seat) external onlyLedger {
        uint256 bit = 1 << seat;
        _expelled[task] = _expelled[task].inRound(round).with(bit);
        Decision memory decision = _decisions[task];
        if (decision.round != round) return; // not open yet: `open` looks here
        _barred[task] |= bit;
        if (decision.stage == Stage.Prepare || decision.stage == Stage.Commit) {
            Tally storage tally = _tallies[task][_proposals[task]];
            tally.ballot = tally.ballot.exclude(bit);
        }
    }

    /// @inheritdoc IConsensus
    function abandon(uint256 task, uint32 round) external onlyLedger {
        if (_decisions[task].round != round) revert ConsensusWrongRound(task, round, _decisions[task].round);
        _decisions[task].stage = Stage.Decided;
    }

    /// @inheritdoc IConsensus
    function open(uint256 task, uint32 round, uint256 committee) external onlyLedger {
        CommitteeRules memory rules = _rules[task];
        uint256 size = committee.count();
        uint256 quorum = rules.quorumRule == QuorumRule.Byzantine ? (2 * size - 1) / 3 + 1 : size / 2 + 1;
        uint40 deadline = uint40(block.timestamp) + rules.timeout;
        // forge-lint: disable-start(unsafe-typecast)
        _decisions[task] = Decision({
            round: round,
            view_: 0,
            stage: Stage.Propose,
            decidedIn: Stage.None,
            committeeSize: uint8(size), // at most 240
            quorum: uint8(quorum),
            openedAt: uint40(block.timestamp),
            deadline: deadline
        });
        // forge-lint: disable-end(unsafe-typecast)
        _clearBallot(task);
        if (_committees[task] != committee) _committees[task] = committee;
        uint256 expelled = _expelledIn(task, round);
        if (_barred[task] != expelled) _barred[task] = expelled;
        _onOpen(task, round);
        emit ViewStarted(task, round, 0, _leaderOf(task, round, 0), deadline);
    }

    /// @inheritdoc IConsensus
    function propose(uint256 task, uint32 round, address proposer, bytes32 digest, bytes calldata proof)
        external
        onlyLedger
    {
        Decision memory decision = _decisions[task];
        if (decision.stage != Stage.Propose) revert ConsensusWrongStage(task, Stage.Propose, decision.stage);
        if (block.timestamp > decision.deadline) revert ConsensusDeadlinePassed(task, decision.deadline);
        uint256 bit = _bitOf(task, round, proposer);
        if (_barred[task] & bit != 0) revert ConsensusBarred(task, proposer);
        bytes32 locked = _preparedOf(task, round);
        if (locked != 0 && locked != digest) revert ConsensusMustRepropose(task, locked);
        _authorize(task, decision, proposer, proof);
        decision.stage = Stage.Prepare;
        decision.deadline = uint40(block.timestamp) + _timeoutOf(task, decision.view_);
        _decisions[task] = decision;
        _proposals[task] = digest;
        _proposers[task] = proposer;
        emit Proposed(task, round, proposer, decision.view_, digest);
        // A proposal is its proposer's vote for it.
        _tallies[task][digest].ballot = BallotLibrary.open(_expelledIn(task, round)).add(bit, true);
        if (decision.quorum == 1) _onQuorum(task, decision, digest);
    }

    /// @inheritdoc IConsensus
    function onTimeout(uint256 task, uint32 round) external onlyLedger {
        Decision memory decision = _decisions[task];
        if (decision.round != round) revert ConsensusWrongRound(task, round, decision.round);
        if (_renew(task, decision)) return;
        if (block.timestamp <= decision.deadline) revert ConsensusNotDue(task, decision.deadline);
        _nextView(task, decision, false);
    }

    // ---------------------------------------------------------------- from members

    /// @inheritdoc IConsensus
    function attest(uint256 task, uint32 round, uint16 view_, Stage stage, bytes32 digest, bool accept) external {
        Decision memory decision = _voting(task, round, view_, stage);
        (Tally storage tally, Ballot ballot) = _tallyOf(task, digest);
        uint256 bit = _bitOf(task, round, msg.sender);
        if (ballot.has(bit)) {
            if (_expelledIn(task, round) & bit != 0) revert ConsensusBarred(task, msg.sender);
            revert ConsensusAlreadyVoted(task, msg.sender);
        }
        ballot = ballot.add(bit, accept);
        tally.ballot = ballot;
        emit Voted(task, round, msg.sender, view_, stage, digest, accept);
        if (decision.stage == Stage.Decided) return; // too late to change anything
        if (accept) {
            if (ballot.accepts() == decision.quorum) _onQuorum(task, decision, digest);
        } else if (ballot.rejects() == decision.quorum) {
            _nextView(task, decision, true);
        }
    }

    /// @inheritdoc IConsensus
    function attestSigned(
        uint256 task,
        uint32 round,
        uint16 view_,
        Stage stage,
        bytes32 digest,
        bytes32[2][] calldata signatures
    ) external {
        Vote memory vote = Vote({
            task: task, round: round, view_: view_, stage: stage, valueDigest: digest, accept: true
        });
        (Decision memory decision, Ballot ballot, uint256 voters) = _recordSigned(vote, signatures);
        emit VotesRecorded(task, round, view_, stage, digest, voters);
        if (decision.stage != Stage.Decided && ballot.accepts() >= decision.quorum) _onQuorum(task, decision, digest);
    }

    /// @inheritdoc IConsensus
    function rejectSigned(
        uint256 task,
        uint32 round,
        uint16 view_,
        Stage stage,
        bytes32 digest,
        bytes32[2][] calldata signatures
    ) external {
        Vote memory vote = Vote({
            task: task, round: round, view_: view_, stage: stage, valueDigest: digest, accept: false
        });
        (Decision memory decision, Ballot ballot, uint256 voters) = _recordSigned(vote, signatures);
        emit RejectionsRecorded(task, round, view_, stage, digest, voters);
        if (decision.stage != Stage.Decided && ballot.rejects() >= decision.quorum) _nextView(task, decision, true);
    }

    /// @inheritdoc IConsensus
    function reportEquivocation(
        Vote calldata first,
        bytes32[2] calldata firstSignature,
        Vote calldata second,
        bytes32[2] calldata secondSignature
    ) external {
        bool sameStage = first.task == second.task && first.round == second.round && first.view_ == second.view_
            && first.stage == second.stage;
        bytes32 firstHash = _hashOf(first);
        bytes32 secondHash = _hashOf(second);
        // Accepting one value and rejecting another is no contradiction, nor is rejecting two.
        bool conflict =
            first.valueDigest == second.valueDigest ? first.accept != second.accept : first.accept && second.accept;
        address voter = CompactSignature.signerOf(firstHash, firstSignature[0], firstSignature[1]);
        address again = CompactSignature.signerOf(secondHash, secondSignature[0], secondSignature[1]);
        if (!sameStage || !conflict || voter != again) {
            revert ConsensusNoEquivocation();
        }
        if (_seats[first.task][voter].isNone()) revert ConsensusNotMember(first.task, voter);
        bytes32 misconduct = keccak256(abi.encode(first.task, first.round, first.view_, first.stage, voter));
        if (_shown[misconduct]) revert ConsensusNothingNew(first.task, first.round);
        _shown[misconduct] = true;
        emit Equivocation(first.task, first.round, voter, first.view_, first.stage);
        _ledger.registry().slash(voter, Shares.WHOLE, _EQUIVOCATION, first.task);
    }

    // ---------------------------------------------------------------- queries

    /// @inheritdoc IConsensus
    function ledger() external view returns (IFederatedTasks) {
        return _ledger;
    }

    /// @inheritdoc IConsensus
    function status(uint256 task) external view returns (Status memory) {
        Decision memory decision = _decisions[task];
        bool proposed = decision.stage != Stage.None && decision.stage != Stage.Propose;
        Ballot ballot = proposed ? _tallies[task][_proposals[task]].ballot : Ballot.wrap(0);
        return Status({
            round: decision.round,
            view_: decision.view_,
            stage: decision.stage,
            committeeSize: decision.committeeSize,
            quorum: decision.quorum,
            accepts: ballot.isOpen() ? ballot.accepts() : 0,
            rejects: ballot.rejects(),
            openedAt: decision.openedAt,
            deadline: decision.deadline,
            leader: decision.stage == Stage.None ? address(0) : _leaderOf(task, decision.round, decision.view_),
            proposer: proposed ? _proposers[task] : address(0),
            proposal: proposed ? _proposals[task] : bytes32(0),
            prepared: _preparedOf(task, decision.round)
        });
    }

    /// @inheritdoc IConsensus
    function reportThresholds(uint256 task) external view returns (uint256 toLeaveOut, uint256 toSlash) {
        uint256 others = uint256(_decisions[task].committeeSize) - 1;
        uint256 faulty = others / 3;
        toLeaveOut = _rules[task].quorumRule == QuorumRule.Byzantine ? faulty + 1 : others / 2 + 1;
        toSlash = faulty == 0 ? 2 : 2 * faulty + 1;
    }

    /// @notice Returns true if a member may not propose any more in the current round.
    function isBarred(uint256 task, address member) external view returns (bool) {
        return _isBarred(task, member);
    }

    // ---------------------------------------------------------------- for implementations

    /// @dev Must revert unless `proof` entitles `proposer` to propose in this view.
    function _authorize(uint256 task, Decision memory decision, address proposer, bytes calldata proof) internal virtual;

    /// @dev Returns the member that may propose; zero if the proof decides.
    function _leaderOf(uint256 task, uint32 round, uint16 view_) internal view virtual returns (address);

    /// @dev Called when a decision opens.
    function _onOpen(uint256 task, uint32 round) internal virtual;

    /// @dev Called before a view is ended; whether that was all there is to do.
    function _renew(uint256, Decision memory) internal virtual returns (bool) {
        return false;
    }

    /// @dev Called when the proposal has its quorum in the current stage.
    function _onQuorum(uint256 task, Decision memory decision, bytes32 digest) internal virtual {
        _decide(task, decision, digest);
    }

    /// @dev The digest that must be proposed again in this round; zero if none.
    function _preparedOf(uint256, uint32) internal view virtual returns (bytes32) {
        return 0;
    }

    function _setRules(uint256 task, CommitteeRules memory rules) internal {
        if (
            rules.timeout == 0 || rules.timeoutCap < rules.timeout || rules.maxViews == 0
                || rules.rejectionPenalty > Shares.MAX_PENALTY
        ) {
            revert ConsensusBadParameters(rules.timeout, rules.timeoutCap, rules.maxViews);
        }
        _rules[task] = rules;
        emit RulesSet(task, rules.timeout, rules.timeoutCap, rules.maxViews, rules.quorumRule, rules.rejectionPenalty);
    }

    function _decide(uint256 task, Decision memory decision, bytes32 digest) internal {
        decision.decidedIn = decision.stage;
        decision.stage = Stage.Decided;
        _decisions[task] = decision;
        _ledger.finalizeRound(task, decision.round, digest);
    }

    /// @dev Has the committee vote on the prepared proposal once more.
    function _startCommit(uint256 task, Decision memory decision, bytes32 digest) internal {
        decision.stage = Stage.Commit;
        decision.deadline = uint40(block.timestamp) + _timeoutOf(task, decision.view_);
        _decisions[task] = decision;
        _tallies[task][digest].ballot = BallotLibrary.open(_expelledIn(task, decision.round));
    }

    /// @dev Gives a view that awaits a proposal its whole time again.
    function _restartView(uint256 task, Decision memory decision) internal {
        decision.deadline = uint40(block.timestamp) + _timeoutOf(task, decision.view_);
        _decisions[task] = decision;
        address leader = _leaderOf(task, decision.round, decision.view_);
        emit ViewStarted(task, decision.round, decision.view_, leader, decision.deadline);
    }

    function _inView(uint256 task, uint32 round, uint16 view_) internal view returns (Decision memory decision) {
        decision = _decisions[task];
        if (decision.round != round) revert ConsensusWrongRound(task, round, decision.round);
        if (decision.view_ != view_) revert ConsensusWrongView(task, view_, decision.view_);
    }

    /// @dev Ends the view; whoever had the turn is barred, and loses stake where a quorum voted its proposal down.
    function _nextView(uint256 task, Decision memory decision, bool rejected) internal {
        CommitteeRules memory rules = _rules[task];
        uint32 round = decision.round;
        address blamed = decision.stage == Stage.Propose ? _leaderOf(task, round, decision.view_) : _proposers[task];
        if (blamed != address(0)) {
            _barred[task] |= _bitOf(task, round, blamed);
            emit ProposerBarred(task, round, blamed, decision.view_);
        }
        _clearBallot(task);
        decision.view_ += 1;
        bool givenUp = decision.view_ >= rules.maxViews;
        decision.stage = givenUp ? Stage.Decided : Stage.Propose;
        decision.deadline = uint40(block.timestamp) + _timeoutOf(task, decision.view_);
        _decisions[task] = decision;
        if (!givenUp) {
            emit ViewStarted(task, round, decision.view_, _leaderOf(task, round, decision.view_), decision.deadline);
        } else {
            _ledger.abortRound(task, round, _TOO_MANY_VIEWS);
        }
        if (rejected && rules.rejectionPenalty != 0) {
            _ledger.registry().slash(blamed, rules.rejectionPenalty, _REJECTED, task);
        }
    }

    /// @dev The k-th member of the round's committee, counted round and round.
    function _memberAt(uint256 task, uint256 k) internal view returns (address) {
        uint256 committee = _committees[task];
        return _holders[task][committee.select(k % committee.count())];
    }

    function _bitOf(uint256 task, uint32 round, address member) internal view returns (uint256) {
        Seat seat = _seats[task][member];
        if (!seat.isHeldIn(round)) revert ConsensusNotMember(task, member);
        return seat.bit();
    }

    function _isMember(uint256 task, uint32 round, address member) internal view returns (bool) {
        return _seats[task][member].isHeldIn(round);
    }

    /// @dev Bitmap of the seats whose members were expelled in this round, while it was under way.
    function _expelledIn(uint256 task, uint32 round) internal view returns (uint256) {
        return _expelled[task].inRound(round).bitmap();
    }

    function _isBarred(uint256 task, address member) internal view returns (bool) {
        return _barred[task] & _seats[task][member].bit() != 0;
    }

    function _timeoutOf(uint256 task, uint16 view_) internal view returns (uint32) {
        CommitteeRules memory rules = _rules[task];
        uint256 doubled = uint256(rules.timeout) << (view_ > 32 ? 32 : view_);
        // forge-lint: disable-next-line(unsafe-typecast)
        return doubled > rules.timeoutCap ? rules.timeoutCap : uint32(doubled); // at most the cap
    }

    // ---------------------------------------------------------------- inside

    function _voting(uint256 task, uint32 round, uint16 view_, Stage stage)
        private
        view
        returns (Decision memory decision)
    {
        decision = _inView(task, round, view_);
        // A vote that comes after the decisive one is recorded, and changes nothing.
        bool open_ = decision.stage == stage || (decision.stage == Stage.Decided && decision.decidedIn == stage);
        if (!open_ || (stage != Stage.Prepare && stage != Stage.Commit)) {
            revert ConsensusWrongStage(task, stage, decision.stage);
        }
        if (block.timestamp > decision.deadline) revert ConsensusDeadlinePassed(task, decision.deadline);
    }

    /// @dev The votes on a digest, if it is before the committee.
    function _tallyOf(uint256 task, bytes32 digest) private view returns (Tally storage tally, Ballot ballot) {
        tally = _tallies[task][digest];
        ballot = tally.ballot;
        if (!ballot.isOpen()) revert ConsensusWrongDigest(task, digest, _proposals[task]);
    }

    /// @dev Adds the votes of all who signed this one, and returns the ballot, and the seats that are new in it.
    function _recordSigned(Vote memory vote, bytes32[2][] calldata signatures)
        private
        returns (Decision memory decision, Ballot ballot, uint256 voters)
    {
        decision = _voting(vote.task, vote.round, vote.view_, vote.stage);
        (Tally storage tally, Ballot before) = _tallyOf(vote.task, vote.valueDigest);
        ballot = _count(vote.task, vote.round, _hashOf(vote), signatures, before, vote.accept);
        voters = ballot.since(before);
        if (voters == 0) revert ConsensusNothingNew(vote.task, vote.round);
        tally.ballot = ballot;
    }

    /// @dev The ballot with the votes of those who signed `hash`.
    function _count(
        uint256 task,
        uint32 round,
        bytes32 hash,
        bytes32[2][] calldata signatures,
        Ballot ballot,
        bool accept
    ) private view returns (Ballot) {
        mapping(address => Seat) storage seats = _seats[task];
        for (uint256 i = 0; i < signatures.length; ++i) {
            bytes32[2] calldata signature = signatures[i];
            address voter = CompactSignature.signerOf(hash, signature[0], signature[1]);
            Seat seat = seats[voter];
            if (!seat.isHeldIn(round)) revert ConsensusNotMember(task, voter);
            uint256 bit = seat.bit();
            if (!ballot.has(bit)) ballot = ballot.add(bit, accept);
        }
        return ballot;
    }

    function _clearBallot(uint256 task) private {
        delete _tallies[task][_proposals[task]];
    }

    function _hashOf(Vote memory vote) private view returns (bytes32) {
        return _hashTypedDataV4(
            keccak256(
                abi.encode(VOTE_TYPEHASH, vote.task, vote.round, vote.view_, vote.stage, vote.valueDigest, vote.accept)
            )
        );
    }
}
