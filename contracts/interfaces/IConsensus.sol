// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IFederatedTasks} from "./IFederatedTasks.sol";

/// @title Agreement of a committee on the aggregate of one round
/// @notice The ledger (`IFederatedTasks`) opens one decision per round; members propose through the ledger and vote
/// here. Every decision uses the committee that the ledger snapshotted when the round opened.
interface IConsensus {
    /// @dev `Propose`: a proposal is awaited. `Prepare`: it is voted on. `Commit`: it is prepared and voted on once
    /// more (PBFT only). `Decided`: final or given up.
    enum Stage {
        None,
        Propose,
        Prepare,
        Commit,
        Decided
    }

    /// @param round the round that is, or was last, decided
    /// @param view_ attempts so far, from 0
    /// @param stage see `Stage`
    /// @param committeeSize members of the round's committee
    /// @param quorum votes that carry a proposal
    /// @param accepts votes for the proposal in this stage
    /// @param rejects votes against it in this stage
    /// @param openedAt time (s) at which the decision opened
    /// @param deadline time (s) after which anyone may end this view
    /// @param leader who may propose in this view; zero where the proof decides (proof of work)
    /// @param proposer who proposed in this view; zero before
    /// @param proposal digest of the value proposed in this view; zero before
    /// @param prepared digest that reached a prepare quorum in this round and must be proposed again; zero if none
    struct Status {
        uint32 round;
        uint16 view_;
        Stage stage;
        uint8 committeeSize;
        uint8 quorum;
        uint8 accepts;
        uint8 rejects;
        uint40 openedAt;
        uint40 deadline;
        address leader;
        address proposer;
        bytes32 proposal;
        bytes32 prepared;
    }

    /// @dev The EIP-712 struct that a member signs: Vote(uint256 task,uint32 round,uint16 view,uint8 stage,bytes32
    /// valueDigest,bool accept).
    struct Vote {
        uint256 task;
        uint32 round;
        uint16 view_;
        Stage stage;
        bytes32 valueDigest;
        bool accept;
    }

    /// @notice A view began. `leader` is zero where the proof decides who may propose.
    event ViewStarted(
        uint256 indexed task, uint32 indexed round, uint16 indexed view_, address leader, uint40 deadline
    );
    /// @notice A member proposed a value.
    event Proposed(
        uint256 indexed task, uint32 indexed round, address indexed proposer, uint16 view_, bytes32 valueDigest
    );
    /// @notice A member voted.
    event Voted(
        uint256 indexed task,
        uint32 indexed round,
        address indexed voter,
        uint16 view_,
        Stage stage,
        bytes32 valueDigest,
        bool accept
    );
    /// @notice Votes that were signed off-chain were recorded: `voters` is the bitmap of their seats.
    event VotesRecorded(
        uint256 indexed task, uint32 indexed round, uint16 view_, Stage stage, bytes32 valueDigest, uint256 voters
    );
    /// @notice Votes against the proposal that were signed off-chain were recorded: `voters` is the bitmap of their seats.
    event RejectionsRecorded(
        uint256 indexed task, uint32 indexed round, uint16 view_, Stage stage, bytes32 valueDigest, uint256 voters
    );
    /// @notice A member signed two votes that exclude each other.
    event Equivocation(uint256 indexed task, uint32 indexed round, address indexed voter, uint16 view_, Stage stage);
    /// @notice A value reached a prepare quorum: later views must propose it again.
    event Prepared(uint256 indexed task, uint32 indexed round, uint16 view_, bytes32 valueDigest);
    /// @notice A leader was voted down or ran out of time: it may not propose in this round again.
    event ProposerBarred(uint256 indexed task, uint32 indexed round, address indexed proposer, uint16 view_);

    /// @notice Only the ledger may call this.
    error ConsensusOnlyTasks(address caller);
    /// @notice The two votes are of different signers or stages, or do not exclude each other.
    error ConsensusNoEquivocation();
    /// @notice A view needs time, at most `timeoutCap`, and a round a view; or the penalty is above its cap.
    error ConsensusBadParameters(uint32 timeout, uint32 timeoutCap, uint16 maxViews);
    /// @notice The account, or the signer of a vote, has no seat in the committee of the round.
    error ConsensusNotMember(uint256 task, address account);
    /// @notice The call is about another round than the one that is decided.
    error ConsensusWrongRound(uint256 task, uint32 round, uint32 current);
    /// @notice The vote is about another view than the current one.
    error ConsensusWrongView(uint256 task, uint16 view_, uint16 current);
    /// @notice The decision stands in another stage.
    error ConsensusWrongStage(uint256 task, Stage stage, Stage current);
    /// @notice The vote is about another value than the one that is proposed.
    error ConsensusWrongDigest(uint256 task, bytes32 digest, bytes32 proposal);
    /// @notice The voter has voted in this stage of this view.
    error ConsensusAlreadyVoted(uint256 task, address voter);
    /// @notice Nothing of this batch of votes is not recorded already; or this equivocation was shown before.
    error ConsensusNothingNew(uint256 task, uint32 round);
    /// @notice The proposer had its turn in this round, or was expelled.
    error ConsensusBarred(uint256 task, address proposer);
    /// @notice It is another member's turn.
    error ConsensusNotLeader(uint256 task, address proposer, address leader);
    /// @notice A value is prepared in this round: nothing else can be proposed.
    error ConsensusMustRepropose(uint256 task, bytes32 prepared);
    /// @notice The view's time is over.
    error ConsensusDeadlinePassed(uint256 task, uint40 deadline);
    /// @notice The view's time is not over.
    error ConsensusNotDue(uint256 task, uint40 deadline);

    /// @notice Set a new task's parameters. Only for the ledger.
    /// @param params ABI encoding of the implementation's own parameters
    function configure(uint256 task, bytes calldata params) external;

    /// @notice Record that `member` sits on `seat` in the rounds from `since` on and before `until`. Only for the ledger.
    function enroll(uint256 task, address member, uint8 seat, uint32 since, uint32 until) external;

    /// @notice From now on a member neither proposes nor votes in the current round; the quorum stays. Only for the
    /// ledger.
    function expel(uint256 task, uint32 round, uint8 seat) external;

    /// @notice The round ended in the ledger. Only for the ledger.
    function abandon(uint256 task, uint32 round) external;

    /// @notice Open the decision of a round. Only for the ledger.
    /// @param committee bitmap of the seats that vote
    function open(uint256 task, uint32 round, uint256 committee) external;

    /// @notice Propose a value. Only for the ledger, on behalf of `proposer`.
    /// @param proof what entitles `proposer`, in the implementation's encoding
    function propose(uint256 task, uint32 round, address proposer, bytes32 valueDigest, bytes calldata proof) external;

    /// @notice Vote on the proposal of this view. A voter votes once in each stage of each view.
    function attest(uint256 task, uint32 round, uint16 view_, Stage stage, bytes32 valueDigest, bool accept) external;

    /// @notice Record votes for the proposal that members signed off-chain (EIP-712 `Vote`, `accept` true). Votes that
    /// are recorded already are passed over; where nothing else is left, the call is refused.
    /// @param signatures r and vs (EIP-2098) of each signature
    function attestSigned(
        uint256 task,
        uint32 round,
        uint16 view_,
        Stage stage,
        bytes32 valueDigest,
        bytes32[2][] calldata signatures
    ) external;

    /// @notice Record votes against the proposal that members signed off-chain (`accept` false): with a quorum of them one
    /// transaction ends a view whose proposal is wrong.
    /// @param signatures as in `attestSigned`
    function rejectSigned(
        uint256 task,
        uint32 round,
        uint16 view_,
        Stage stage,
        bytes32 valueDigest,
        bytes32[2][] calldata signatures
    ) external;

    /// @notice Show that one member signed two votes in the same stage of the same view that exclude each other. It
    /// loses its stake and is expelled; once for each stage of each view.
    function reportEquivocation(
        Vote calldata first,
        bytes32[2] calldata firstSignature,
        Vote calldata second,
        bytes32[2] calldata secondSignature
    ) external;

    /// @notice End a view whose deadline has passed: the next view begins, or the round aborts. Before that, do what this
    /// consensus has to do once in a while. Only for the ledger.
    function onTimeout(uint256 task, uint32 round) external;

    /// @notice Returns the numbers of members other than the accused that have to report a payload in the current round:
    /// for it to be left out, and for its server to be slashed (never fewer than two).
    function reportThresholds(uint256 task) external view returns (uint256 toLeaveOut, uint256 toSlash);

    /// @notice The ledger whose rounds are decided here, and from which alone decisions open.
    function ledger() external view returns (IFederatedTasks);

    /// @notice Returns the state of a task's decision.
    function status(uint256 task) external view returns (Status memory);
}
