// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {CommitteeConsensus} from "./CommitteeConsensus.sol";
import {Bitmap} from "../libraries/Bitmap.sol";
import {IConsensus} from "../interfaces/IConsensus.sol";
import {IFederatedTasks} from "../interfaces/IFederatedTasks.sol";

/// @title Practical Byzantine fault tolerance by a committee
/// @notice The leader of view v, member (round + v) mod n, proposes (pre-prepare); the committee prepares, then commits,
/// each with a quorum of (2n-1)/3+1. The chain is the total order of all messages, so PBFT's certificates are state: a
/// value that reached a prepare quorum is recorded, and every later view of the round must propose it again.
contract PbftCommittee is CommitteeConsensus {
    using Bitmap for uint256;

    /// @notice A member wants the view to end before its deadline.
    event ViewChangeVoted(uint256 indexed task, uint32 indexed round, address indexed voter, uint16 view_);

    mapping(uint256 task => bytes32) private _prepared;
    /// @dev Bitmap of the members that voted to end a view.
    mapping(uint256 task => mapping(uint32 round => mapping(uint16 view_ => uint256))) private _viewChanges;

    constructor(IFederatedTasks ledger_) CommitteeConsensus(ledger_) {}

    /// @inheritdoc IConsensus
    /// @param params ABI encoding of `CommitteeRules`
    function configure(uint256 task, bytes calldata params) external onlyLedger {
        CommitteeRules memory rules = abi.decode(params, (CommitteeRules));
        if (rules.quorumRule != QuorumRule.Byzantine) revert ConsensusUnsafeQuorum();
        _setRules(task, rules);
    }

    /// @notice Record the signed votes of both stages in one transaction, as `attestSigned` takes them. Members sign the
    /// second stage once they have seen a quorum of the first.
    function attestBothSigned(
        uint256 task,
        uint32 round,
        uint16 view_,
        bytes32 valueDigest,
        bytes32[2][] calldata prepares,
        bytes32[2][] calldata commits
    ) external {
        attestSigned(task, round, view_, Stage.Prepare, valueDigest, prepares);
        attestSigned(task, round, view_, Stage.Commit, valueDigest, commits);
    }

    /// @notice Vote to end the current view before its deadline; a quorum ends it.
    function voteViewChange(uint256 task, uint32 round, uint16 view_) external {
        Decision memory decision = _inView(task, round, view_);
        if (decision.stage == Stage.Decided) revert ConsensusWrongStage(task, Stage.Propose, decision.stage);
        uint256 bit = _bitOf(task, round, msg.sender);
        if (_expelledIn(task, round) & bit != 0) revert ConsensusBarred(task, msg.sender);
        uint256 voters = _viewChanges[task][round][view_];
        if (voters & bit != 0) revert ConsensusAlreadyVoted(task, msg.sender);
        voters |= bit;
        _viewChanges[task][round][view_] = voters;
        emit ViewChangeVoted(task, round, msg.sender, view_);
        if (voters.count() == decision.quorum) _nextView(task, decision, false);
    }

    function _authorize(uint256 task, Decision memory decision, address proposer, bytes calldata)
        internal
        view
        override
    {
        address leader = _leaderOf(task, decision.round, decision.view_);
        if (proposer != leader) revert ConsensusNotLeader(task, proposer, leader);
    }

    function _leaderOf(uint256 task, uint32 round, uint16 view_) internal view override returns (address) {
        return _memberAt(task, uint256(round) + view_);
    }

    function _onOpen(uint256 task, uint32) internal override {
        if (_prepared[task] != 0) _prepared[task] = 0;
    }

    function _onQuorum(uint256 task, Decision memory decision, bytes32 digest) internal override {
        if (decision.stage == Stage.Commit) {
            _decide(task, decision, digest);
            return;
        }
        _prepared[task] = digest;
        emit Prepared(task, decision.round, decision.view_, digest);
        _startCommit(task, decision, digest);
    }

    function _preparedOf(uint256 task, uint32) internal view override returns (bytes32) {
        return _prepared[task];
    }
}
