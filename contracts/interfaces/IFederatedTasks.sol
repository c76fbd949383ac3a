// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IConsensus} from "./IConsensus.sol";
import {IMECRegistry} from "./IMECRegistry.sol";

/// @title The round ledger: tasks, their rounds, and the hashes of what was learned
/// @notice Payloads (models, updates) live outside the chain. The chain records the 32-byte root digest of each, under
/// one import profile that makes the digest its content address, its size, and how many samples it was trained on.
interface IFederatedTasks {
    /// @dev `Idle`: no round yet. `Commit`: commitments are taken (tasks with commit-reveal). `Submit`: updates are
    /// taken. `Decide`: the consensus decides on the aggregate. `Final` and `Aborted` end a round.
    enum Phase {
        Idle,
        Commit,
        Submit,
        Decide,
        Final,
        Aborted
    }

    /// @param consensus who decides
    /// @param rule name of the aggregation rule, ASCII, padded with zeros
    /// @param ruleParams the rule's parameters as canonical JSON; only their hash is stored
    /// @param definition what else a server needs (model, training settings) as JSON; only published in an event
    /// @param model digest of the initial global model
    /// @param modelSize its size in bytes
    /// @param maxPayload most bytes that an update or a model may have
    /// @param maxSamples most samples that an update may claim
    /// @param minMembers fewest members that must sit before the owner can open the first round, at least `minUpdates`
    /// @param maxMembers most seats, at least `minMembers` and at most 240: what a rule keeps for each must fit `maxPayload`
    /// @param minUpdates fewest updates that a round aggregates; below, it aborts
    /// @param maxRounds rounds after which the task ends, at most 65,535; 0: that many
    /// @param commitWindow seconds for commitments; 0: no commit-reveal
    /// @param submitWindow seconds for submissions
    /// @param withheldPenalty what a server loses whose update nobody can fetch, in 1/10,000 of its stake, at most 2,500
    /// @param consensusParams see the implementation of `consensus`
    struct TaskSettings {
        IConsensus consensus;
        bytes32 rule;
        bytes ruleParams;
        bytes definition;
        bytes32 model;
        uint32 modelSize;
        uint32 maxPayload;
        uint32 maxSamples;
        uint8 minMembers;
        uint8 maxMembers;
        uint8 minUpdates;
        uint32 maxRounds;
        uint32 commitWindow;
        uint32 submitWindow;
        uint16 withheldPenalty;
        bytes consensusParams;
    }

    /// @dev An update signed by its server: EIP-712 Update(uint256 task,uint32 round,bytes32 parent,bytes32 digest,uint32
    /// size,uint32 samples), where `parent` is the model that it was trained from, so that it is worth nothing on a branch
    /// of the chain with another one; signature as r and vs (EIP-2098).
    struct SignedUpdate {
        bytes32 digest;
        uint32 size;
        uint32 samples;
        bytes32 r;
        bytes32 vs;
    }

    /// @dev One update of a batch, as recorded.
    struct RecordedUpdate {
        address server;
        bytes32 digest;
        uint32 size;
        uint32 samples;
    }

    /// @dev A round. `awaited` is the number of members that may submit: all, or those that are drawn.
    struct RoundState {
        uint32 number;
        Phase phase;
        bool commitReveal;
        uint8 awaited;
        uint8 minUpdates;
        uint40 deadline;
        uint40 closingBlock;
        uint32 maxPayload;
        uint32 maxSamples;
    }

    /// @dev A server's seat in a task, in one slot: it is a member in the rounds `since <= round < until`.
    struct Member {
        uint8 seat;
        uint32 since;
        uint32 until;
    }

    /// @param proposer who proposed
    /// @param modelSize bytes of the new model; 0 where the proposal is to give the round up
    /// @param model digest of the new model, or the reason
    /// @param missing bitmap of the seats whose recorded updates are left out because nobody can fetch them
    struct Proposal {
        address proposer;
        uint32 modelSize;
        bytes32 model;
        uint256 missing;
    }

    /// @param round the current round, or the last one
    /// @param committee bitmap of the seats of that round's committee
    /// @param committed bitmap of the seats that committed in it
    /// @param submitted bitmap of the seats that submitted in it
    /// @param missing bitmap of the updates that the next proposal leaves out
    /// @param accumulator running hash over its updates
    /// @param model digest of the current global model
    /// @param modelSize its size in bytes
    /// @param proposal the last proposal
    /// @param decision where the consensus stands
    struct State {
        RoundState round;
        uint256 committee;
        uint256 committed;
        uint256 submitted;
        uint256 missing;
        bytes32 accumulator;
        bytes32 model;
        uint32 modelSize;
        Proposal proposal;
        IConsensus.Status decision;
    }

    /// @notice A task exists. What is not stored is here.
    event TaskCreated(
        uint256 indexed task,
        address indexed owner,
        IConsensus indexed consensus,
        bytes32 rule,
        bytes ruleParams,
        bytes definition,
        bytes32 model,
        uint32 modelSize
    );
    /// @notice Emitted with a task's terms and penalties; the consensus emits its own part, `RulesSet`.
    event TaskTerms(
        uint256 indexed task,
        uint8 minMembers,
        uint8 maxMembers,
        uint8 minUpdates,
        uint32 maxRounds,
        uint32 maxPayload,
        uint32 maxSamples,
        uint16 withheldPenalty
    );
    /// @notice Emitted with the terms of a task that draws for each round who submits: a part of the members, in 1/10,000, by
    /// `seed`.
    event TaskSampled(uint256 indexed task, uint16 participation, uint256 seed);
    /// @notice The owner ended the task: no round follows number `lastRound`.
    event TaskEnded(uint256 indexed task, uint32 lastRound);
    /// @notice A server sits on `seat` from round `since` on.
    event MemberJoined(uint256 indexed task, address indexed server, uint8 seat, uint32 since);
    /// @notice A server is no member from round `until` on.
    event MemberLeft(uint256 indexed task, address indexed server, uint8 seat, uint32 until);
    /// @notice A round opened on top of the model `parent`, with the committee of the seats in the bitmap.
    event RoundOpened(
        uint256 indexed task,
        uint32 indexed round,
        bytes32 parent,
        uint32 parentSize,
        uint256 committee,
        uint40 deadline
    );
    /// @notice The seats in the bitmap were drawn: they alone submit in this round. All vote.
    event ParticipantsDrawn(uint256 indexed task, uint32 indexed round, uint256 drawn);
    /// @notice A server committed itself to an update.
    event UpdateCommitted(uint256 indexed task, uint32 indexed round, address indexed server, bytes32 commitment);
    /// @notice A server's update was recorded.
    event UpdateSubmitted(
        uint256 indexed task, uint32 indexed round, address indexed server, bytes32 digest, uint32 size, uint32 samples
    );
    /// @notice The updates of many servers were recorded, in this order.
    event UpdatesSubmitted(uint256 indexed task, uint32 indexed round, RecordedUpdate[] updates);
    /// @notice Submissions closed; the consensus decides now.
    event SubmissionsClosed(uint256 indexed task, uint32 indexed round, uint8 updates, bytes32 accumulator);
    /// @notice A member could not fetch the recorded update of `server`.
    event PayloadReported(uint256 indexed task, uint32 indexed round, address indexed server, address reporter);
    /// @notice A member took its report back.
    event ReportWithdrawn(uint256 indexed task, uint32 indexed round, address indexed server, address reporter);
    /// @notice Enough members reported it: the next proposal leaves the update of `server` out.
    event PayloadMissing(uint256 indexed task, uint32 indexed round, address indexed server);
    /// @notice To give the round up was proposed, for a reason that the updates themselves show.
    event AbortProposed(
        uint256 indexed task,
        uint32 indexed round,
        address indexed proposer,
        bytes32 valueDigest,
        bytes32 reason,
        uint256 missing
    );
    /// @notice A new global model was proposed. The consensus contract emits who in which view.
    event ModelProposed(
        uint256 indexed task,
        uint32 indexed round,
        address indexed proposer,
        bytes32 valueDigest,
        bytes32 model,
        uint32 modelSize,
        uint256 missing
    );
    /// @notice The round is final: `model` is the global model now.
    event RoundFinalized(
        uint256 indexed task,
        uint32 indexed round,
        address indexed leader,
        bytes32 valueDigest,
        bytes32 model,
        uint32 modelSize,
        uint256 missing
    );
    /// @notice The round ended without a new model; the parent model stays.
    event RoundAborted(uint256 indexed task, uint32 indexed round, bytes32 reason);

    /// @notice There is no task of this number.
    error TasksUnknownTask(uint256 task);
    /// @notice The setting `what` (its name, ASCII) has a value that is not allowed.
    error TasksBadSettings(bytes32 what);
    /// @notice The registry does not have the server as active.
    error TasksNotActive(address server);
    /// @notice Only the task's owner may do this.
    error TasksNotOwner(uint256 task, address account);
    /// @notice The account has no seat, in the current round where the call is about that.
    error TasksNotMember(uint256 task, address account);
    /// @notice The member was not drawn for this round: it votes, and submits nothing.
    error TasksNotDrawn(uint256 task, uint32 round, address server);
    /// @notice The account has a seat, or still sits in the current round.
    error TasksAlreadyMember(uint256 task, address account);
    /// @notice All seats are taken.
    error TasksFull(uint256 task, uint256 maxMembers);
    /// @notice Only servers that are not active lose their seats to others.
    error TasksStillActive(uint256 task, address server);
    /// @notice The task has had its last round.
    error TasksEnded(uint256 task, uint32 maxRounds);
    /// @notice The round needs more members before it opens.
    error TasksTooFewMembers(uint256 task, uint256 members, uint256 needed);
    /// @notice Fewer updates count than a round aggregates.
    error TasksTooFewUpdates(uint256 task, uint256 updates, uint256 minUpdates);
    /// @notice The round stands in this other phase.
    error TasksWrongPhase(uint256 task, Phase phase);
    /// @notice The call is about another round than the current one.
    error TasksWrongRound(uint256 task, uint32 round, uint32 current);
    /// @notice The phase's time is over.
    error TasksDeadlinePassed(uint256 task, uint40 deadline);
    /// @notice The phase is neither complete nor past its deadline.
    error TasksNotDue(uint256 task, uint40 deadline);
    /// @notice The server has committed to, or recorded, an update in this round.
    error TasksAlreadySubmitted(uint256 task, uint32 round, address server);
    /// @notice Nothing of this batch is not recorded already.
    error TasksNothingNew(uint256 task, uint32 round);
    /// @notice The server has no update recorded in this round.
    error TasksNotSubmitted(uint256 task, uint32 round, address server);
    /// @notice The caller has reported this update, even where it has taken that back.
    error TasksAlreadyReported(uint256 task, uint32 round, address server);
    /// @notice No report of this update by the caller stands.
    error TasksNotReported(uint256 task, uint32 round, address server);
    /// @notice The call is about other updates than those that are recorded in this round.
    /// @param accumulator running hash over the updates that the caller has seen
    /// @param here running hash over those that are recorded
    error TasksOtherUpdates(uint256 task, bytes32 accumulator, bytes32 here);
    /// @notice Alone with a report three rounds running: until this round the member may not report.
    error TasksMayNotReport(uint256 task, address account, uint32 barredUntil);
    /// @notice A proposal is before the committee: reports stay as they are.
    error TasksAlreadyProposed(uint256 task, uint32 round);
    /// @notice What is recorded is not what was committed to; or the task has no, or needs a, commitment.
    error TasksWrongCommitment(uint256 task, uint32 round, address server);
    /// @notice The payload is empty, or larger than the task allows.
    error TasksPayloadTooLarge(uint32 size, uint32 maxPayload);
    /// @notice There are no samples, or more than the task allows.
    error TasksBadSampleCount(uint32 samples, uint32 maxSamples);
    /// @notice Only the task's consensus may call this.
    error TasksOnlyConsensus(address caller);
    /// @notice The proposed model was computed for other updates, or another parent, than those of the round.
    /// @param value what the committee would vote on
    /// @param expected what the proposer named
    error TasksValueChanged(uint256 task, bytes32 value, bytes32 expected);
    /// @notice The proposer has seen another block close the submissions, on another branch of the chain.
    /// @param closing hash of the block that it named
    /// @param here hash of the block that closed them on this branch; 0 in that block itself
    error TasksOtherBranch(uint256 task, bytes32 closing, bytes32 here);

    /// @notice Create a task; the caller owns it.
    function createTask(TaskSettings calldata settings) external returns (uint256 task);

    /// @notice Create a task that draws, when a round opens, which members submit in it; the caller owns it.
    /// @param participation part of the members that is drawn, in 1/10,000; 10,000: all, as in other tasks. However small,
    /// `minUpdates` are
    /// @param seed what the draws follow from, with the number of the round; see `Draw`. Like the part it stays for ever
    function createSampledTask(TaskSettings calldata settings, uint16 participation, uint256 seed)
        external
        returns (uint256 task);

    /// @notice End a task: no further round opens; one that is under way is the last. For its owner.
    function endTask(uint256 task) external;

    /// @notice Take a seat in a task, from the next round on. The caller must be active in the registry, and a seat below
    /// `maxMembers` free.
    function join(uint256 task) external;

    /// @notice Give the seat up, from the next round on.
    function resign(uint256 task) external;

    /// @notice Take the seat of a server that is not active in the registry any more, from the next round on. In the
    /// current round it may neither propose nor vote nor report from now on; the quorum stays what it was. For anyone, at
    /// any time.
    function evict(uint256 task, address server) external;

    /// @notice Open the next round. For the task's owner, once `minMembers` sit; from the second round on also for
    /// members that are active in the registry.
    function openRound(uint256 task) external returns (uint32 round);

    /// @notice Commit to an update that is revealed by `submit` or `reveal` later.
    /// @param commitment keccak256(abi.encode(chainid, this, task, round, sender, digest, size, samples, salt))
    function commit(uint256 task, uint32 round, bytes32 commitment) external;

    /// @notice Record an update.
    /// @param digest root digest of the payload, its content address
    /// @param size bytes of the payload
    /// @param samples how many samples it was trained on
    function submit(uint256 task, uint32 round, bytes32 digest, uint32 size, uint32 samples) external;

    /// @notice Record an update that was committed to.
    /// @param salt what the commitment was hidden with
    function reveal(uint256 task, uint32 round, bytes32 digest, uint32 size, uint32 samples, bytes32 salt) external;

    /// @notice Record updates that their servers signed. Updates of servers that have one recorded are passed over; where
    /// nothing else is left, the call is refused.
    function submitBatch(uint256 task, uint32 round, SignedUpdate[] calldata updates) external;

    /// @notice Report that the recorded update of `server` cannot be fetched, for another member that is active in the
    /// registry; once for each update. Once as many have as `IConsensus.reportThresholds` says, it is left out of the next
    /// proposal; once enough for a penalty have, its server is slashed. Where fewer than `minUpdates` are left, the round
    /// aborts once the servers of all that are left out are slashed, or, by this or `poke`, when the view is over. A member
    /// that was alone with a report in three rounds running may report nothing in the ten rounds after them.
    /// @param accumulator running hash over the updates of the round, so that the report is worth nothing on a branch of the
    /// chain with other updates
    function reportMissing(uint256 task, uint32 round, address server, bytes32 accumulator) external;

    /// @notice Take a report back, since the payload could be fetched after all; while no proposal is being voted on. It
    /// cannot be made again.
    /// @param accumulator as in `reportMissing`
    function withdrawReport(uint256 task, uint32 round, address server, bytes32 accumulator) external;

    /// @notice Move a round on whose phase is complete or past its deadline. For anyone.
    function poke(uint256 task) external;

    /// @notice Propose the new global model, or, with a size of 0, to give the round up for the reason `model` (a short
    /// ASCII text): then the quorum that would make a model final aborts the round. The ledger computes what is voted on
    /// itself; where it is not what the proposer names, since other updates count by now, or another block closed the
    /// submissions, the call is refused, and nothing else happens.
    /// @param closing hash of the block that closed the submissions, which what a rule draws depends on
    /// @param expected the digest of the value, as `valueDigest` has it
    /// @param proof what entitles the caller under the task's consensus
    function propose(
        uint256 task,
        uint32 round,
        bytes32 model,
        uint32 modelSize,
        bytes32 closing,
        bytes32 expected,
        bytes calldata proof
    ) external;

    /// @notice Make the current proposal the outcome of the round: a new model, or its end without one. Only for the
    /// task's consensus.
    function finalizeRound(uint256 task, uint32 round, bytes32 valueDigest) external;

    /// @notice Give the round up. Only for the task's consensus.
    function abortRound(uint256 task, uint32 round, bytes32 reason) external;

    /// @notice Returns the state of a task: all that a server needs for its next step, in one call.
    function stateOf(uint256 task) external view returns (State memory);

    function registry() external view returns (IMECRegistry);
    function taskCount() external view returns (uint256);
    function consensusOf(uint256 task) external view returns (IConsensus);
    function ownerOf(uint256 task) external view returns (address);
    function memberOf(uint256 task, address server) external view returns (Member memory);
    function seatHolder(uint256 task, uint8 seat) external view returns (address);

    /// @notice Returns the number of final rounds, and whether the task has ended: its last round is over.
    function progressOf(uint256 task) external view returns (uint32 finalRounds, bool ended);

    /// @notice Returns keccak256(abi.encode(valueDigest, leader)) of a final round; zero otherwise.
    function outcomeOf(uint256 task, uint32 round) external view returns (bytes32);

    /// @notice Returns the digest to vote on if `model` were proposed now, the submissions closed by the block with the
    /// hash `closing`. This does not look at the block: calls that are no transactions may not know it.
    function valueDigest(uint256 task, bytes32 model, uint32 modelSize, bytes32 closing) external view returns (bytes32);
}
