// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {CommitteeConsensus} from "./CommitteeConsensus.sol";
import {IConsensus} from "../interfaces/IConsensus.sol";
import {IFederatedTasks} from "../interfaces/IFederatedTasks.sol";

/// @title Proof of work on any EVM chain
/// @notice The first member to find a nonce with
/// `keccak256(abi.encode(chainid, this, task, round, view, seed, sender, nonce)) < target` may propose. The seed is the hash
/// of the block that closed the submissions, which nobody knows before, not even the last submitter; and the nonce is
/// useless to anyone but its sender.
/// @dev `blockhash` reaches back 256 blocks: the first proposal or `poke` after the closing block stores the seed. If
/// none came in time, the next `poke` begins the view anew, with its own block.
contract PowPuzzle is CommitteeConsensus {
    /// @param rules see `CommitteeRules`
    /// @param target hashes below it solve the first puzzle
    /// @param solveTime seconds that a solution should take; the target moves towards it by at most a factor of 4 a
    /// round, and up by that factor after a round that nobody solved. 0: the target stays
    struct PowParameters {
        CommitteeRules rules;
        uint256 target;
        uint32 solveTime;
    }

    /// @dev Seed of a round's puzzles. The hash of an earlier round stays until it is replaced: overwriting costs less than
    /// storing anew.
    struct Seed {
        uint248 fromBlock;
        bool stored;
        bytes32 hash;
    }

    /// @notice A solution was shown, after `solveTime` seconds; `nextTarget` holds from the next round on.
    event PuzzleSolved(
        uint256 indexed task, uint32 indexed round, address indexed solver, uint256 nonce, uint256 nextTarget
    );

    /// @notice The seed was lost before anybody stored it: the view begins anew, and this event's block gives its seed.
    event PuzzleRenewed(uint256 indexed task, uint32 indexed round, uint16 view_);

    /// @notice Nothing is below a target of zero.
    error PowBadTarget(uint256 target);
    /// @notice The seed is not known yet, or not any more: a later block's `poke` renews it.
    error PowNoSeed(uint256 task, uint256 seedBlock);
    /// @notice The nonce does not solve the puzzle of this sender.
    error PowWrongNonce(uint256 task, bytes32 hash, uint256 target);

    uint256 private constant _MAX_STEP = 4;

    mapping(uint256 task => uint256) private _targets;
    mapping(uint256 task => uint256) private _nextTargets;
    mapping(uint256 task => uint32) private _solveTimes;
    mapping(uint256 task => bool) private _solved; // the current round's puzzle, in whatever view
    mapping(uint256 task => Seed) private _seeds;

    constructor(IFederatedTasks ledger_) CommitteeConsensus(ledger_) {}

    /// @inheritdoc IConsensus
    /// @param params ABI encoding of `PowParameters`
    function configure(uint256 task, bytes calldata params) external onlyLedger {
        PowParameters memory parameters = abi.decode(params, (PowParameters));
        if (parameters.target == 0) revert PowBadTarget(parameters.target);
        _setRules(task, parameters.rules);
        _targets[task] = parameters.target;
        _nextTargets[task] = parameters.target;
        _solveTimes[task] = parameters.solveTime;
    }

    /// @notice Returns the bound below which a solution of the current view must be.
    function targetOf(uint256 task) external view returns (uint256) {
        return _targets[task];
    }

    /// @notice The block whose hash is the seed of the current puzzle, that hash, and whether it is stored; zero where it is
    /// not, and the block is the current one or out of reach.
    function seedOf(uint256 task) public view returns (uint256 seedBlock, bytes32 seed, bool stored) {
        Seed storage known = _seeds[task];
        seedBlock = known.fromBlock;
        stored = known.stored;
        seed = stored ? known.hash : blockhash(seedBlock);
    }

    /// @notice The hash that a nonce gives.
    function hashOf(uint256 task, uint32 round, uint16 view_, address solver, uint256 nonce)
        external
        view
        returns (bytes32)
    {
        (, bytes32 seed,) = seedOf(task);
        return _hash(task, round, view_, seed, solver, nonce);
    }

    /// @param proof ABI encoding of the nonce (uint256)
    function _authorize(uint256 task, Decision memory decision, address proposer, bytes calldata proof)
        internal
        override
    {
        uint256 nonce = abi.decode(proof, (uint256));
        bytes32 hash = _hash(task, decision.round, decision.view_, _storedSeed(task), proposer, nonce);
        uint256 target = _targets[task];
        if (uint256(hash) >= target) revert PowWrongNonce(task, hash, target);
        if (!_solved[task]) {
            // The first solution of the round sets the next target: later ones start from a longer clock.
            _solved[task] = true;
            _nextTargets[task] = _retarget(target, _solveTimes[task], block.timestamp - decision.openedAt);
        }
        emit PuzzleSolved(task, decision.round, proposer, nonce, _nextTargets[task]);
    }

    function _onOpen(uint256 task, uint32) internal override {
        _awaitSeed(task);
        uint256 target = _nextTargets[task];
        if (_targets[task] != target) _targets[task] = target;
        // Unless somebody solves this round's puzzle, the next one is easier: a target that no member can reach must not
        // stay for ever.
        _solved[task] = false;
        _nextTargets[task] = _retarget(target, _solveTimes[task], type(uint40).max);
    }

    function _renew(uint256 task, Decision memory decision) internal override returns (bool) {
        (uint256 seedBlock, bytes32 seed, bool stored) = seedOf(task);
        if (stored || block.number == seedBlock) return false;
        if (seed != 0) {
            _store(task, seed);
            return block.timestamp <= decision.deadline;
        }
        _awaitSeed(task);
        emit PuzzleRenewed(task, decision.round, decision.view_);
        _restartView(task, decision);
        return true;
    }

    function _leaderOf(uint256, uint32, uint16) internal pure override returns (address) {
        return address(0);
    }

    /// @dev The seed, stored now if it was not yet.
    function _storedSeed(uint256 task) private returns (bytes32 seed) {
        uint256 seedBlock;
        bool stored;
        (seedBlock, seed, stored) = seedOf(task);
        if (seed == 0) revert PowNoSeed(task, seedBlock);
        if (!stored) _store(task, seed);
    }

    function _store(uint256 task, bytes32 seed) private {
        _seeds[task].stored = true;
        _seeds[task].hash = seed;
    }

    /// @dev From now on the hash of the current block is the seed.
    function _awaitSeed(uint256 task) private {
        Seed storage known = _seeds[task];
        // forge-lint: disable-next-line(unsafe-typecast)
        known.fromBlock = uint248(block.number);
        known.stored = false;
    }

    function _hash(uint256 task, uint32 round, uint16 view_, bytes32 seed, address solver, uint256 nonce)
        private
        view
        returns (bytes32)
    {
        return keccak256(abi.encode(block.chainid, address(this), task, round, view_, seed, solver, nonce));
    }

    function _retarget(uint256 target, uint256 wanted, uint256 taken) private pure returns (uint256) {
        if (wanted == 0) return target;
        uint256 longest = wanted * _MAX_STEP;
        uint256 quarter = Math.mulDiv(target, Math.min(taken, longest), longest); // at most the target: never overflows
        uint256 next = quarter > type(uint256).max / _MAX_STEP ? type(uint256).max : quarter * _MAX_STEP;
        return Math.max(next, (target - 1) / _MAX_STEP + 1);
    }
}
