// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {BlockHeader} from "../libraries/BlockHeader.sol";
import {CommitteeConsensus} from "./CommitteeConsensus.sol";
import {IConsensus} from "../interfaces/IConsensus.sol";
import {IFederatedTasks} from "../interfaces/IFederatedTasks.sol";

/// @title Leader election by the chain's own proof of work
/// @notice In view v the leader is the member whose node mined the block `closing + delay + v * spacing`, where `closing` is
/// the block that closed the submissions: not that block itself, since its miner chooses what is in it. Its header,
/// checked against `blockhash`, proves it. Where the miner is no member of the committee, or 200 blocks have passed, any
/// member may propose.
/// @dev A contract cannot see a seal: on a chain without proof of work this is only a mock, which whoever deploys it has
/// to find out beforehand.
contract EthashElection is CommitteeConsensus {
    /// @param rules see `CommitteeRules`
    /// @param confirmations blocks on top of the electing block before anyone may propose
    /// @param spacing blocks from one view's electing block to the next one's
    /// @param delay blocks from the closing block to the first electing block, at least 1
    struct EthashParameters {
        CommitteeRules rules;
        uint16 confirmations;
        uint16 spacing;
        uint16 delay;
    }

    /// @notice Spacing, delay and confirmations are at least one block, and the latter fewer than the proof window.
    error EthashBadParameters(uint16 confirmations, uint16 spacing, uint16 delay);
    /// @notice The electing block is not there, or not confirmed yet.
    error EthashTooEarly(uint256 task, uint256 fromBlock);
    /// @notice The header is not that of the electing block.
    error EthashWrongHeader(uint256 task, uint256 electingBlock);

    /// @notice Blocks after which a proof is no longer waited for; `blockhash` reaches back 256.
    uint256 public constant PROOF_WINDOW = 200;

    mapping(uint256 task => EthashParameters) private _parameters;
    mapping(uint256 task => uint256) private _closingBlocks;

    constructor(IFederatedTasks ledger_) CommitteeConsensus(ledger_) {}

    /// @inheritdoc IConsensus
    /// @param params ABI encoding of `EthashParameters`
    function configure(uint256 task, bytes calldata params) external onlyLedger {
        EthashParameters memory parameters = abi.decode(params, (EthashParameters));
        if (
            parameters.spacing == 0 || parameters.delay == 0 || parameters.confirmations == 0
                || parameters.confirmations >= PROOF_WINDOW
        ) {
            revert EthashBadParameters(parameters.confirmations, parameters.spacing, parameters.delay);
        }
        _setRules(task, parameters.rules);
        _parameters[task] = parameters;
    }

    /// @notice The block whose miner leads the given view of the current round, and the first block in which anyone may
    /// propose.
    function electionOf(uint256 task, uint16 view_) public view returns (uint256 electingBlock, uint256 fromBlock) {
        EthashParameters storage parameters = _parameters[task];
        electingBlock = _closingBlocks[task] + parameters.delay + uint256(view_) * parameters.spacing;
        fromBlock = electingBlock + parameters.confirmations;
    }

    /// @param proof RLP of the electing block's header; may be empty when the proof window has passed
    function _authorize(uint256 task, Decision memory decision, address proposer, bytes calldata proof)
        internal
        view
        override
    {
        (uint256 electingBlock, uint256 fromBlock) = electionOf(task, decision.view_);
        if (block.number < fromBlock) revert EthashTooEarly(task, fromBlock);
        if (block.number > electingBlock + PROOF_WINDOW) return;
        if (keccak256(proof) != blockhash(electingBlock)) revert EthashWrongHeader(task, electingBlock);
        address miner = BlockHeader.coinbaseOf(proof);
        if (miner != proposer && _isMember(task, decision.round, miner) && !_isBarred(task, miner)) {
            revert ConsensusNotLeader(task, proposer, miner);
        }
    }

    function _onOpen(uint256 task, uint32) internal override {
        _closingBlocks[task] = block.number;
    }

    function _leaderOf(uint256, uint32, uint16) internal pure override returns (address) {
        return address(0);
    }
}
