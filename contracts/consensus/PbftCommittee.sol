// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {CommitteeConsensus} from "./CommitteeConsensus.sol";
import {IConsensus} from "../interfaces/IConsensus.sol";
import {IFederatedTasks} from "../interfaces/IFederatedTasks.sol";

/// @title Practical Byzantine fault tolerance by a committee
/// @notice The leader of view v, member (round + v) mod n, proposes (pre-prepare); the committee prepares, then commits,
/// each with a quorum of (2n-1)/3+1. A quorum of votes against it, or the deadline, changes the view. The chain is the total order of all messages, so PBFT's certificates are state: a
/// value that reached a prepare quorum is recorded, and every later view of the round must propose it again.
contract PbftCommittee is CommitteeConsensus {
    /// @notice Two quorums of a majority rule may have no honest member in common.
    error PbftUnsafeQuorum();

    mapping(uint256 task => bytes32) private _prepared;

    constructor(IFederatedTasks ledger_) CommitteeConsensus(ledger_) {}

    /// @inheritdoc IConsensus
    /// @param params ABI encoding of `CommitteeRules`
    function configure(uint256 task, bytes calldata params) external onlyLedger {
        CommitteeRules memory rules = abi.decode(params, (CommitteeRules));
        if (rules.quorumRule != QuorumRule.Byzantine) revert PbftUnsafeQuorum();
        _setRules(task, rules);
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
