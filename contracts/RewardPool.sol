// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ReentrancyGuard} from "@openzeppelin/contracts/utils/ReentrancyGuard.sol";
import {IFederatedTasks} from "./interfaces/IFederatedTasks.sol";
import {IRewardPool} from "./interfaces/IRewardPool.sol";
import {Digests} from "./libraries/Digests.sol";
import {Shares} from "./libraries/Shares.sol";

/// @title Pays the leader and the included updates of final rounds
/// @notice The ledger keeps 32 bytes per final round. The settler of a round shows their preimage; so rewards add
/// no cost to submitting and voting.
contract RewardPool is IRewardPool, ReentrancyGuard {
    /// @param balance wei for rounds that are not settled yet
    /// @param settledRounds how many are
    struct Budget {
        uint128 balance;
        uint16 settledRounds;
    }

    IFederatedTasks private immutable _ledger;

    mapping(uint256 task => Terms) private _terms;
    mapping(uint256 task => Budget) private _budgets;
    mapping(uint256 task => mapping(uint32 round => bool)) private _settled;
    mapping(address server => uint256) private _credits;

    /// @param ledger_ the round ledger whose rounds are paid
    constructor(IFederatedTasks ledger_) {
        _ledger = ledger_;
    }

    /// @inheritdoc IRewardPool
    function setTerms(uint256 task, Terms calldata terms) external {
        if (msg.sender != _ledger.ownerOf(task)) revert RewardsNotOwner(task, msg.sender);
        if (_terms[task].perRound != 0) revert RewardsTermsAlreadySet(task);
        if (terms.perRound == 0 || terms.leaderShare > Shares.WHOLE) revert RewardsBadTerms(terms.leaderShare);
        _terms[task] = terms;
        emit TermsSet(task, terms.perRound, terms.leaderShare, terms.bySamples);
    }

    /// @inheritdoc IRewardPool
    function fund(uint256 task) external payable {
        if (msg.sender != _ledger.ownerOf(task)) revert RewardsNotOwner(task, msg.sender);
        if (_terms[task].perRound == 0) revert RewardsNoTerms(task);
        // forge-lint: disable-next-line(unsafe-typecast)
        _budgets[task].balance += uint128(msg.value); // all ether there is fits 87 bits
        emit Funded(task, msg.value);
    }

    /// @inheritdoc IRewardPool
    function settle(uint256 task, uint32 round, Outcome calldata outcome, Update[] calldata updates) external {
        Terms memory terms = _terms[task];
        if (terms.perRound == 0) revert RewardsNoTerms(task);
        if (_settled[task][round]) revert RewardsAlreadySettled(task, round);
        Budget storage budget = _budgets[task];
        if (budget.balance < terms.perRound) revert RewardsUnderfunded(task, budget.balance, terms.perRound);
        _requireOutcome(task, round, outcome, updates);
        _settled[task][round] = true;

        uint256 forLeader = Shares.part(terms.perRound, terms.leaderShare);
        uint256 forUpdates = terms.perRound - forLeader;
        (uint256[] memory weights, uint256 total) = _weightsOf(task, round, outcome.missing, updates, terms.bySamples);
        uint256 paid = forLeader;
        _credit(task, round, outcome.leader, forLeader);
        for (uint256 i = 0; i < updates.length; ++i) {
            if (weights[i] == 0) continue;
            uint256 share = (forUpdates * weights[i]) / total;
            paid += share;
            _credit(task, round, updates[i].server, share);
        }
        // forge-lint: disable-next-line(unsafe-typecast)
        budget.balance -= uint128(paid); // at most `perRound`; what rounding leaves stays with the task
        budget.settledRounds += 1;
        emit RoundSettled(task, round, paid);
    }

    /// @inheritdoc IRewardPool
    function reclaim(uint256 task) external nonReentrant {
        if (msg.sender != _ledger.ownerOf(task)) revert RewardsNotOwner(task, msg.sender);
        (uint32 finalRounds, bool ended) = _ledger.progressOf(task);
        if (!ended) revert RewardsNotEnded(task);
        Budget storage budget = _budgets[task];
        uint256 perRound = _terms[task].perRound;
        uint256 owed = perRound * (finalRounds - budget.settledRounds);
        // If the money is not enough for all of them, the remainder below one round's pay is nobody's.
        if (owed > budget.balance) owed = budget.balance - budget.balance % perRound;
        uint256 amount = budget.balance - owed;
        if (amount == 0) revert RewardsNothingLeft(task);
        // forge-lint: disable-next-line(unsafe-typecast)
        budget.balance = uint128(owed); // at most what it was
        emit LeftoverReclaimed(task, msg.sender, amount);
        (bool paid,) = msg.sender.call{value: amount}("");
        if (!paid) revert RewardsPaymentFailed(msg.sender, amount);
    }

    /// @inheritdoc IRewardPool
    function withdraw() external nonReentrant {
        uint256 amount = _credits[msg.sender];
        if (amount == 0) revert RewardsNothingToWithdraw(msg.sender);
        _credits[msg.sender] = 0;
        emit RewardWithdrawn(msg.sender, amount);
        (bool paid,) = msg.sender.call{value: amount}("");
        if (!paid) revert RewardsPaymentFailed(msg.sender, amount);
    }

    /// @inheritdoc IRewardPool
    function termsOf(uint256 task) external view returns (Terms memory) {
        return _terms[task];
    }

    /// @inheritdoc IRewardPool
    function balanceOf(uint256 task) external view returns (uint256) {
        return _budgets[task].balance;
    }

    /// @inheritdoc IRewardPool
    function creditOf(address server) external view returns (uint256) {
        return _credits[server];
    }

    /// @inheritdoc IRewardPool
    function isSettled(uint256 task, uint32 round) external view returns (bool) {
        return _settled[task][round];
    }

    function _credit(uint256 task, uint32 round, address server, uint256 amount) private {
        _credits[server] += amount;
        emit Credited(task, round, server, amount);
    }

    /// @dev Recomputes the running hash and the digest that was voted on.
    function _requireOutcome(uint256 task, uint32 round, Outcome calldata outcome, Update[] calldata updates)
        private
        view
    {
        bytes32 accumulator = Digests.firstAccumulator(address(_ledger), task, round);
        for (uint256 i = 0; i < updates.length; ++i) {
            Update calldata update = updates[i];
            accumulator = Digests.accumulate(accumulator, update.server, update.digest, update.size, update.samples);
        }
        Digests.Value memory value = Digests.Value({
            chainId: block.chainid,
            ledger: address(_ledger),
            task: task,
            round: round,
            parent: outcome.parent,
            closing: outcome.closing,
            accumulator: accumulator,
            missing: outcome.missing,
            rule: outcome.rule,
            ruleParamsHash: outcome.ruleParamsHash,
            model: outcome.model,
            modelSize: outcome.modelSize
        });
        bytes32 digest = Digests.digestOf(value);
        if (Digests.outcomeOf(digest, outcome.leader) != _ledger.outcomeOf(task, round)) {
            revert RewardsWrongOutcome(task, round);
        }
    }

    /// @dev The weight of each update; 0 for those left out. The bitmap of these counts seats, so where there are any,
    /// an update whose server has given up the seat of that round since cannot be told apart, and earns nothing.
    function _weightsOf(uint256 task, uint32 round, uint256 missing, Update[] calldata updates, bool bySamples)
        private
        view
        returns (uint256[] memory weights, uint256 total)
    {
        weights = new uint256[](updates.length);
        for (uint256 i = 0; i < updates.length; ++i) {
            if (missing != 0) {
                IFederatedTasks.Member memory member = _ledger.memberOf(task, updates[i].server);
                // It sat in that round, so its seat is another's only if it has taken one since.
                if (member.since > round || missing & (1 << member.seat) != 0) continue;
            }
            weights[i] = bySamples ? updates[i].samples : 1;
            total += weights[i];
        }
    }
}
