// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {FederatedTasks} from "contracts/FederatedTasks.sol";
import {MECRegistry} from "contracts/MECRegistry.sol";
import {RewardPool} from "contracts/RewardPool.sol";
import {Bitmap} from "contracts/libraries/Bitmap.sol";
import {CommitteeConsensus} from "contracts/consensus/CommitteeConsensus.sol";
import {EthashElection} from "contracts/consensus/EthashElection.sol";
import {IConsensus} from "contracts/interfaces/IConsensus.sol";
import {IFederatedTasks} from "contracts/interfaces/IFederatedTasks.sol";
import {IMECRegistry} from "contracts/interfaces/IMECRegistry.sol";
import {PbftCommittee} from "contracts/consensus/PbftCommittee.sol";
import {PowPuzzle} from "contracts/consensus/PowPuzzle.sol";
import {Actors} from "./Actors.sol";

/// @notice What must hold after any calls by anybody, at any time. forge calls `Actors` at random and checks each
/// `invariant_` function after every call.
abstract contract Invariants {
    bytes32 internal constant FIRST_MODEL = "first model";

    Actors internal actors;

    function setUp() public {
        MECRegistry registry = new MECRegistry(address(this), 1 ether, 100);
        FederatedTasks tasks = new FederatedTasks(registry);
        RewardPool rewards = new RewardPool(tasks);
        (IConsensus consensus, bytes memory params) = _consensus(tasks);
        registry.grantRole(registry.LEDGER_ROLE(), address(tasks));
        registry.grantRole(registry.SLASHER_ROLE(), address(tasks));
        registry.grantRole(registry.SLASHER_ROLE(), address(consensus));
        actors = new Actors(registry, tasks, rewards, consensus, params, FIRST_MODEL, _participation());
    }

    /// @notice forge calls nothing but the actors.
    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(actors);
    }

    function invariant_stakesAreInTheRegistry() external view {
        uint256 stakes;
        for (uint256 i = 0; i < actors.COUNT(); ++i) {
            IMECRegistry.Server memory known = actors.registry().server(actors.server(i));
            stakes += known.stake + known.held;
        }
        require(address(actors.registry()).balance == stakes, "registry");
    }

    function invariant_rewardsAreInThePool() external view {
        RewardPool rewards = actors.rewards();
        uint256 owed = rewards.balanceOf(actors.task());
        for (uint256 i = 0; i < actors.COUNT(); ++i) {
            owed += rewards.creditOf(actors.server(i));
        }
        require(address(rewards).balance == owed, "pool");
    }

    function invariant_updatesAreRecordedOnce() external view {
        IFederatedTasks.State memory state = _state();
        require(Bitmap.count(state.submitted) == actors.updates(), "number of updates");
        require(state.submitted & ~state.committee == 0, "an update from outside of the committee");
        require(state.submitted & ~actors.drawn() == 0, "an update of who was not drawn");
        require(state.round.number == 0 || state.accumulator == actors.accumulator(), "running hash");
    }

    function invariant_onlyFinalRoundsChangeTheModel() external view {
        require(_state().model == actors.model(), "model");
    }

    function invariant_everythingGoesForwardAndEnds() external view {
        require(bytes(actors.fault()).length == 0, actors.fault());
    }

    function invariant_quorumsAreActedOnAtOnce() external view {
        IConsensus.Status memory now_ = _state().decision;
        require(now_.accepts + now_.rejects <= now_.committeeSize, "more votes than members");
        if (now_.stage == IConsensus.Stage.Prepare || now_.stage == IConsensus.Stage.Commit) {
            require(now_.accepts < now_.quorum && now_.rejects < now_.quorum, "a quorum waits");
            require(now_.prepared == 0 || now_.prepared == now_.proposal, "a prepared value was let go");
        }
    }

    function _consensus(FederatedTasks tasks) internal virtual returns (IConsensus, bytes memory params);

    /// @dev Part of the members that is drawn for a round, in 1/10,000.
    function _participation() internal pure virtual returns (uint16) {
        return 10_000;
    }

    function _rules(CommitteeConsensus.QuorumRule quorumRule)
        internal
        pure
        returns (CommitteeConsensus.CommitteeRules memory)
    {
        return CommitteeConsensus.CommitteeRules({
            timeout: 3000, timeoutCap: 6000, maxViews: 4, quorumRule: quorumRule, rejectionPenalty: 2000
        });
    }

    function _state() private view returns (IFederatedTasks.State memory) {
        return actors.tasks().stateOf(actors.task());
    }
}

contract PbftInvariantsTest is Invariants {
    function _consensus(FederatedTasks tasks) internal override returns (IConsensus, bytes memory) {
        return (new PbftCommittee(tasks), abi.encode(_rules(CommitteeConsensus.QuorumRule.Byzantine)));
    }

    /// @notice The calls are no use if no round ever gets through.
    function test_aRoundCanBeFinal() external {
        actors.collect("update");
        actors.agree("new model");
        require(actors.finals() == 1, "no final round");
    }
}

contract PowInvariantsTest is Invariants {
    function _consensus(FederatedTasks tasks) internal override returns (IConsensus, bytes memory) {
        PowPuzzle.PowParameters memory parameters = PowPuzzle.PowParameters({
            rules: _rules(CommitteeConsensus.QuorumRule.Majority), target: type(uint256).max, solveTime: 0
        });
        return (new PowPuzzle(tasks), abi.encode(parameters));
    }

    /// @notice The calls are no use if no round ever gets through.
    function test_aRoundCanBeFinal() external {
        actors.collect("update");
        actors.agree("new model");
        require(actors.finals() == 1, "no final round");
    }
}

contract EthashInvariantsTest is Invariants {
    function _consensus(FederatedTasks tasks) internal override returns (IConsensus, bytes memory) {
        EthashElection.EthashParameters memory parameters = EthashElection.EthashParameters({
            rules: _rules(CommitteeConsensus.QuorumRule.Majority), confirmations: 1, spacing: 1, delay: 1
        });
        return (new EthashElection(tasks), abi.encode(parameters));
    }

    /// @notice The calls are no use if no round ever gets through.
    function test_aRoundCanBeFinal() external {
        actors.collect("update");
        actors.agree("new model");
        require(actors.finals() == 1, "no final round");
    }
}

contract DrawnInvariantsTest is Invariants {
    function _consensus(FederatedTasks tasks) internal override returns (IConsensus, bytes memory) {
        return (new PbftCommittee(tasks), abi.encode(_rules(CommitteeConsensus.QuorumRule.Byzantine)));
    }

    function _participation() internal pure override returns (uint16) {
        return 6000; // three of five
    }

    /// @notice The calls are no use if no round ever gets through.
    function test_aRoundCanBeFinal() external {
        actors.collect("update");
        require(actors.updates() == 3, "not three of five");
        actors.agree("new model");
        require(actors.finals() == 1, "no final round");
    }

    /// @notice Nor if what is watched never happens.
    function test_withholdersEndARoundOnceTheyHavePaid() external {
        actors.collect("update");
        for (uint256 who = 0; who < 4; ++who) {
            for (uint256 whose = 0; whose < 5; ++whose) {
                (bool done,) = address(actors).call(abi.encodeCall(actors.reportMissing, (who, whose)));
                done; // some have no update, or are the reporter, or the round is over
            }
        }
        IFederatedTasks.State memory state = actors.tasks().stateOf(actors.task());
        require(state.round.phase == IFederatedTasks.Phase.Aborted, "not over");
        require(bytes(actors.fault()).length == 0, actors.fault());
    }
}
