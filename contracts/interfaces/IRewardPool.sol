// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title Rewards for final rounds, to be fetched by those who earned them
interface IRewardPool {
    /// @param perRound wei for one final round
    /// @param leaderShare the leader's part of it, in 1/10,000; the rest goes to the included updates
    /// @param bySamples divide that rest by the updates' sample counts; otherwise equally
    struct Terms {
        uint128 perRound;
        uint16 leaderShare;
        bool bySamples;
    }

    /// @dev One recorded update, as the ledger's running hash holds it.
    struct Update {
        address server;
        bytes32 digest;
        uint32 size;
        uint32 samples;
    }

    /// @dev Content of a final round's outcome, apart from its updates; `closing` is the hash of the block that closed
    /// the submissions.
    struct Outcome {
        address leader;
        bytes32 parent;
        bytes32 closing;
        uint256 missing;
        bytes32 rule;
        bytes32 ruleParamsHash;
        bytes32 model;
        uint32 modelSize;
    }

    /// @notice A task's terms were set.
    event TermsSet(uint256 indexed task, uint128 perRound, uint16 leaderShare, bool bySamples);
    /// @notice Money for a task's rewards arrived.
    event Funded(uint256 indexed task, uint256 amount);
    /// @notice A final round was paid out: `paid` wei in all.
    event RoundSettled(uint256 indexed task, uint32 indexed round, uint256 paid);
    /// @notice A server may withdraw `amount` more.
    event Credited(uint256 indexed task, uint32 indexed round, address indexed server, uint256 amount);
    /// @notice The owner took back `amount` that no round of its ended task can earn any more.
    event LeftoverReclaimed(uint256 indexed task, address indexed owner, uint256 amount);
    /// @notice A server took what it had earned.
    event RewardWithdrawn(address indexed server, uint256 amount);

    /// @notice Only the task's owner may do this.
    error RewardsNotOwner(uint256 task, address account);
    /// @notice Terms are set once.
    error RewardsTermsAlreadySet(uint256 task);
    /// @notice A round pays nothing, or its leader more than all.
    error RewardsBadTerms(uint16 leaderShare);
    /// @notice The task's terms are not set.
    error RewardsNoTerms(uint256 task);
    /// @notice A round is divided once.
    error RewardsAlreadySettled(uint256 task, uint32 round);
    /// @notice The task's balance does not cover the round.
    error RewardsUnderfunded(uint256 task, uint256 balance, uint256 perRound);
    /// @notice The task goes on, and may need all that there is.
    error RewardsNotEnded(uint256 task);
    /// @notice Final rounds that are not settled yet may need all that there is.
    error RewardsNothingLeft(uint256 task);
    /// @notice The round is not final, or ended otherwise, or with other updates.
    error RewardsWrongOutcome(uint256 task, uint32 round);
    /// @notice The server has no credit.
    error RewardsNothingToWithdraw(address server);
    /// @notice The receiver refused the money.
    error RewardsPaymentFailed(address to, uint256 amount);

    /// @notice Set a task's terms, once. Only for its owner.
    function setTerms(uint256 task, Terms calldata terms) external;

    /// @notice Add the wei sent along to a task's rewards, once its terms are set. Only for its owner, whom what is left
    /// belongs to: nobody else's money can end up there.
    function fund(uint256 task) external payable;

    /// @notice Divide the reward of a final round, once. For anyone; what is paid follows from the ledger alone. The
    /// task's balance must cover the round: nobody can settle it for less before the money comes.
    /// @param updates every recorded update in the order of recording: they must give the round's running hash
    function settle(uint256 task, uint32 round, Outcome calldata outcome, Update[] calldata updates) external;

    /// @notice Take back what no round can earn any more, once the task has ended: all but what its final rounds that are
    /// not settled yet will pay. Only for its owner, again and again.
    function reclaim(uint256 task) external;

    /// @notice Withdraw what the caller has earned.
    function withdraw() external;

    /// @notice Returns a task's terms; zeros before they are set.
    function termsOf(uint256 task) external view returns (Terms memory);

    /// @notice Wei that a task has left for rewards.
    function balanceOf(uint256 task) external view returns (uint256);

    /// @notice Wei that a server may withdraw.
    function creditOf(address server) external view returns (uint256);

    /// @notice Returns true if a round was divided.
    function isSettled(uint256 task, uint32 round) external view returns (bool);
}
