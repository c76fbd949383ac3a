// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {FederatedTasks} from "contracts/FederatedTasks.sol";
import {MECRegistry} from "contracts/MECRegistry.sol";
import {RewardPool} from "contracts/RewardPool.sol";
import {Draw} from "contracts/libraries/Draw.sol";
import {Shares} from "contracts/libraries/Shares.sol";
import {IConsensus} from "contracts/interfaces/IConsensus.sol";
import {IFederatedTasks} from "contracts/interfaces/IFederatedTasks.sol";
import {IRewardPool} from "contracts/interfaces/IRewardPool.sol";
import {VM} from "./ICheats.sol";

/// @notice Does what forge's fuzzer says, in the name of some servers, and remembers what must have come of it.
contract Actors {
    uint256 public constant COUNT = 5;
    uint256 public constant STAKE = 1 ether;
    uint256 private constant _SEED = 5; // of the draws

    MECRegistry public immutable registry;
    FederatedTasks public immutable tasks;
    RewardPool public immutable rewards;
    IConsensus public immutable consensus;
    uint256 public immutable task;
    /// @dev Part of the members that is drawn for a round.
    uint16 private immutable _participation;

    /// @notice What the running hash of the current round must be, and over how many updates it goes.
    bytes32 public accumulator;
    uint256 public updates;
    /// @notice Whose updates those may be.
    uint256 public drawn;
    /// @notice What the current model must be.
    bytes32 public model;
    /// @notice Final rounds.
    uint256 public finals;
    /// @notice Something went back, was final twice, or did not end by itself: what it was.
    string public fault;

    uint256[] private _keys;
    /// @dev A task of the last actor's own, once it has made it.
    uint256 private _ownTask;
    bytes private _params;
    uint256 private _progress;
    mapping(uint256 round => IRewardPool.Update[]) private _updates;
    mapping(uint256 round => IRewardPool.Outcome) private _results;
    mapping(bytes32 call_ => bool) private _done;
    /// @dev Reports of each update of a round that stand, and the seats against which there were enough for a penalty.
    mapping(uint256 round => mapping(address accused => uint256)) private _standing;
    mapping(uint256 round => uint256) private _guilty;
    /// @dev Hashes of blocks that closed submissions, once a proposal has named them.
    mapping(uint256 closingBlock => bytes32) private _hashes;

    /// @dev Checks, after every call, what only a comparison with before can show.
    modifier watched() {
        _;
        IFederatedTasks.State memory state = tasks.stateOf(task);
        bool over =
            state.round.phase == IFederatedTasks.Phase.Final || state.round.phase == IFederatedTasks.Phase.Aborted;
        bool deciding = state.round.phase == IFederatedTasks.Phase.Decide;
        uint256 progress =
            uint256(state.round.number) << 64 | uint256(over ? IFederatedTasks.Phase.Final : state.round.phase) << 32;
        if (deciding) progress |= uint256(state.decision.view_) << 8 | uint256(state.decision.stage);
        if (progress < _progress) fault = "went back";
        _progress = progress;
        if (state.round.phase == IFederatedTasks.Phase.Final && state.model != model) {
            if (_results[state.round.number].leader != address(0)) fault = "a second outcome";
            _results[state.round.number] = IRewardPool.Outcome({
                leader: state.proposal.proposer,
                parent: model,
                closing: _hashes[state.round.closingBlock],
                missing: state.proposal.missing,
                rule: "rule",
                ruleParamsHash: keccak256("{}"),
                model: state.model,
                modelSize: state.modelSize
            });
            model = state.model;
            ++finals;
        }
    }

    constructor(
        MECRegistry registry_,
        FederatedTasks tasks_,
        RewardPool rewards_,
        IConsensus consensus_,
        bytes memory params,
        bytes32 firstModel,
        uint16 participation
    ) {
        registry = registry_;
        tasks = tasks_;
        rewards = rewards_;
        consensus = consensus_;
        model = firstModel;
        _params = params;
        _participation = participation;
        task = tasks_.createSampledTask(_settings(firstModel, 100), participation, _SEED);
        rewards_.setTerms(task, IRewardPool.Terms({perRound: 1000, leaderShare: 2500, bySamples: true}));
        for (uint256 i = 0; i < COUNT; ++i) {
            _keys.push(uint256(keccak256(abi.encode("actor", i))));
            address actor = server(i);
            VM.deal(actor, 100 ether);
            VM.prank(actor);
            registry_.join{value: 2 * STAKE}("");
            VM.prank(actor);
            tasks_.join(task);
        }
    }

    // ---------------------------------------------------------------- servers

    function register(uint256 who) external watched {
        VM.prank(server(who));
        registry.join{value: STAKE}("");
    }

    function addStake(uint256 who) external watched {
        VM.prank(server(who));
        registry.addStake{value: STAKE}();
    }

    function burn(uint256 who) external watched {
        registry.burn(server(who));
    }

    function retire(uint256 who) external watched {
        VM.prank(server(who));
        registry.retire();
    }

    function takeStakeBack(uint256 who) external watched {
        VM.prank(server(who));
        registry.withdraw();
    }

    function sit(uint256 who) external watched {
        VM.prank(server(who));
        tasks.join(task);
    }

    function resign(uint256 who) external watched {
        VM.prank(server(who));
        tasks.resign(task);
    }

    function evict(uint256 who) external watched {
        tasks.evict(task, server(who));
    }

    // ---------------------------------------------------------------- rounds

    function open() public watched {
        uint32 number = tasks.openRound(task);
        accumulator = keccak256(abi.encode(block.chainid, address(tasks), task, number));
        updates = 0;
        drawn = _expectedDraw(number);
    }

    receive() external payable {}

    function submit(uint256 who, bytes32 digest, uint32 samples) public watched {
        uint32 number = tasks.stateOf(task).round.number;
        samples = samples % 1002; // sometimes one too few or too many
        VM.prank(server(who));
        tasks.submit(task, number, digest, 10, samples);
        accumulator = keccak256(abi.encode(accumulator, server(who), digest, uint32(10), samples));
        ++updates;
        _updates[number].push(IRewardPool.Update({server: server(who), digest: digest, size: 10, samples: samples}));
    }

    function reportMissing(uint256 who, uint256 whose) external watched {
        IFederatedTasks.State memory state = tasks.stateOf(task);
        uint32 number = state.round.number;
        address accused = server(whose);
        (, uint256 toSlash) = consensus.reportThresholds(task);
        VM.prank(server(who));
        tasks.reportMissing(task, number, accused, state.accumulator);
        _once(keccak256(abi.encode("report", number, server(who), accused)));
        if (++_standing[number][accused] >= toSlash) _guilty[number] |= 1 << tasks.memberOf(task, accused).seat;
        IFederatedTasks.State memory then = tasks.stateOf(task);
        bool over = then.round.phase == IFederatedTasks.Phase.Aborted;
        if (over && then.missing & ~_guilty[number] != 0) fault = "ended before they paid";
    }

    function withdrawReport(uint256 who, uint256 whose) external watched {
        IFederatedTasks.State memory state = tasks.stateOf(task);
        VM.prank(server(who));
        tasks.withdrawReport(task, state.round.number, server(whose), state.accumulator);
        _once(keccak256(abi.encode("withdrawal", state.round.number, server(who), server(whose))));
        --_standing[state.round.number][server(whose)];
    }

    function poke() public watched {
        tasks.poke(task);
    }

    function propose(uint256 who, bytes32 newModel) public watched {
        IFederatedTasks.State memory state = tasks.stateOf(task);
        uint32 size = uint8(newModel[0]) % 8 == 0 ? 0 : 1; // sometimes to give the round up
        bytes32 closing = _closingHash(state.round.closingBlock);
        bytes32 value = tasks.valueDigest(task, newModel, size, closing);
        VM.prank(server(who));
        tasks.propose(task, state.round.number, newModel, size, closing, value, abi.encode(uint256(0)));
    }

    function vote(uint256 who, bool accept, uint8 wrong) public watched {
        IConsensus.Status memory now_ = consensus.status(task);
        uint16 view_ = wrong % 8 == 1 ? now_.view_ + 1 : now_.view_;
        uint32 round = wrong % 8 == 2 ? now_.round + 1 : now_.round;
        bytes32 digest = wrong % 8 == 3 ? bytes32(uint256(wrong)) : now_.proposal;
        VM.prank(server(who));
        consensus.attest(task, round, view_, now_.stage, digest, accept);
    }

    function voteSigned(uint256 first, uint256 count, bool accept) external watched {
        IConsensus.Status memory now_ = consensus.status(task);
        bytes32[2][] memory signatures = new bytes32[2][](count % (COUNT + 1));
        for (uint256 i = 0; i < signatures.length; ++i) {
            signatures[i] = _sign(
                first % COUNT + i, IConsensus.Vote(task, now_.round, now_.view_, now_.stage, now_.proposal, accept)
            );
        }
        if (accept) consensus.attestSigned(task, now_.round, now_.view_, now_.stage, now_.proposal, signatures);
        else consensus.rejectSigned(task, now_.round, now_.view_, now_.stage, now_.proposal, signatures);
        IConsensus.Status memory then = consensus.status(task);
        bool moved = then.stage != now_.stage || then.view_ != now_.view_;
        if (!moved && then.accepts + then.rejects == now_.accepts + now_.rejects) fault = "recorded nothing";
    }

    function equivocate(uint256 who, bytes32 other) external watched {
        IConsensus.Status memory now_ = consensus.status(task);
        IConsensus.Vote memory one = IConsensus.Vote(task, now_.round, now_.view_, now_.stage, now_.proposal, true);
        IConsensus.Vote memory two = IConsensus.Vote(task, now_.round, now_.view_, now_.stage, other, true);
        consensus.reportEquivocation(one, _sign(who, one), two, _sign(who, two));
        _once(keccak256(abi.encode("equivocation", now_.round, now_.view_, now_.stage, server(who))));
    }

    // ---------------------------------------------------------------- the last actor, an attacker

    /// @notice It makes a task of its own, as dear as can be, and sits there alone.
    function makeOwnTask() external watched {
        if (_ownTask != 0) return;
        IFederatedTasks.TaskSettings memory settings = _settings("own", 2500);
        settings.minMembers = settings.minUpdates = 1;
        VM.prank(server(COUNT - 1));
        _ownTask = tasks.createTask(settings);
        VM.prank(server(COUNT - 1));
        tasks.join(_ownTask);
    }

    /// @notice It does what comes next there, and at last contradicts itself.
    function actInOwnTask() external watched {
        IFederatedTasks.State memory state = tasks.stateOf(_ownTask);
        bytes32 closing = _closingHash(state.round.closingBlock);
        bytes32 value = tasks.valueDigest(_ownTask, "own model", 1, closing);
        IFederatedTasks.Phase phase = state.round.phase;
        VM.prank(server(COUNT - 1));
        if (phase == IFederatedTasks.Phase.Submit && state.submitted == 0) {
            tasks.submit(_ownTask, state.round.number, "own", 10, 1);
        } else if (phase == IFederatedTasks.Phase.Submit) {
            tasks.poke(_ownTask);
        } else if (state.decision.stage == IConsensus.Stage.Propose && phase == IFederatedTasks.Phase.Decide) {
            tasks.propose(_ownTask, state.round.number, "own model", 1, closing, value, abi.encode(uint256(0)));
        } else {
            tasks.openRound(_ownTask);
        }
    }

    function equivocateInOwnTask() external watched {
        IConsensus.Vote memory one = IConsensus.Vote(_ownTask, 1, 0, IConsensus.Stage.Prepare, "one", true);
        IConsensus.Vote memory two = IConsensus.Vote(_ownTask, 1, 0, IConsensus.Stage.Prepare, "two", true);
        consensus.reportEquivocation(one, _sign(COUNT - 1, one), two, _sign(COUNT - 1, two));
    }

    /// @notice It shows a vote of somebody who has signed no other, and says that the same signature is of another one.
    function showForeignEvidence(uint256 who, uint8 change, bytes32 other) external watched {
        IConsensus.Status memory now_ = consensus.status(task);
        IConsensus.Vote memory one = IConsensus.Vote(task, now_.round, now_.view_, now_.stage, now_.proposal, true);
        IConsensus.Vote memory two = IConsensus.Vote(task, now_.round, now_.view_, now_.stage, now_.proposal, true);
        if (change % 6 == 0) two.task = _ownTask;
        if (change % 6 == 1) ++two.round;
        if (change % 6 == 2) ++two.view_;
        if (change % 6 == 3) two.stage = IConsensus.Stage.Commit;
        if (change % 6 == 4) two.valueDigest = other;
        if (change % 6 == 5) two.accept = false;
        bytes32[2] memory signature = _sign(who, one);
        uint256 before = registry.server(server(who)).stake;
        consensus.reportEquivocation(one, signature, two, signature);
        if (registry.server(server(who)).stake != before) fault = "slashed by foreign evidence";
    }

    /// @notice Blocks with nothing in them.
    function mine(uint16 blocks) external watched {
        VM.roll(block.number + blocks);
    }

    // ---------------------------------------------------------------- what the protocol says

    /// @notice A round up to the decision, with the updates of all that may.
    function collect(bytes32 digest) public {
        open();
        for (uint256 i = 0; i < COUNT; ++i) {
            if (_sits(i) && drawn & 1 << tasks.memberOf(task, server(i)).seat != 0) submit(i, digest, 1);
        }
        poke();
        VM.roll(block.number + 202); // past the window in which only a miner may propose
    }

    /// @notice What the protocol has the committee do next, as far as that lets it.
    function agree(bytes32 newModel) public {
        address leader = consensus.status(task).leader;
        for (uint256 i = 0; i < COUNT; ++i) {
            bool mayPropose = leader == address(0) ? _sits(i) : leader == server(i);
            if (mayPropose && consensus.status(task).stage == IConsensus.Stage.Propose) propose(i, newModel);
        }
        for (uint256 stage = 0; stage < 2; ++stage) {
            for (uint256 i = 0; i < COUNT; ++i) {
                IConsensus.Status memory now_ = consensus.status(task);
                bool voted = stage == 0 && now_.proposer == server(i);
                bool open_ = now_.stage == (stage == 0 ? IConsensus.Stage.Prepare : IConsensus.Stage.Commit);
                if (open_ && !voted && _sits(i)) vote(i, true, 0);
            }
        }
    }

    // ---------------------------------------------------------------- money and time

    function fund(uint96 amount) external watched {
        VM.deal(address(this), amount);
        rewards.fund{value: amount}(task);
    }

    function settle(uint32 round) external watched {
        round = round % (tasks.stateOf(task).round.number + 1);
        rewards.settle(task, round, _results[round], _updates[round]);
    }

    /// @notice Rarely, since nothing happens afterwards.
    function end(uint8 often) external watched {
        if (often == 0) tasks.endTask(task);
    }

    function reclaim() external watched {
        rewards.reclaim(task);
    }

    function earn(uint256 who) external watched {
        VM.prank(server(who));
        rewards.withdraw();
    }

    function wait(uint16 seconds_) external watched {
        VM.warp(block.timestamp + seconds_);
        VM.roll(block.number + seconds_ / 12);
    }

    /// @notice Time and anybody's pokes end every round.
    function expire() external {
        for (uint256 pokes = 0; pokes < 20; ++pokes) {
            IFederatedTasks.State memory state = tasks.stateOf(task);
            bool deciding = state.round.phase == IFederatedTasks.Phase.Decide;
            if (!deciding && state.round.phase != IFederatedTasks.Phase.Submit) return;
            VM.warp((deciding ? state.decision.deadline : state.round.deadline) + 1);
            poke();
        }
        fault = "did not end by itself";
    }

    // ---------------------------------------------------------------- queries

    function server(uint256 who) public view returns (address) {
        return VM.addr(_keys[who % COUNT]);
    }

    function _settings(bytes32 firstModel, uint16 withheldPenalty)
        private
        view
        returns (IFederatedTasks.TaskSettings memory)
    {
        uint8 least = _participation < Shares.WHOLE ? 2 : 1;
        return IFederatedTasks.TaskSettings({
            consensus: consensus,
            rule: "rule",
            ruleParams: "{}",
            definition: "",
            model: firstModel,
            modelSize: 1,
            maxPayload: 1000,
            maxSamples: 1000,
            minMembers: least,
            maxMembers: 240,
            minUpdates: least,
            maxRounds: 0,
            commitWindow: 0,
            submitWindow: 1000,
            withheldPenalty: withheldPenalty,
            consensusParams: _params
        });
    }

    /// @dev The seats that may submit in the round that was just opened, by the task's terms.
    function _expectedDraw(uint32 number) private view returns (uint256) {
        IFederatedTasks.State memory state = tasks.stateOf(task);
        if (_participation == Shares.WHOLE) return state.committee;
        return Draw.draw(state.committee, state.round.awaited, _SEED, number);
    }

    /// @dev Notes a call that the contracts take once.
    function _once(bytes32 call_) private {
        if (_done[call_]) fault = "done twice";
        _done[call_] = true;
    }

    /// @dev The hash of a closing block as somebody knows it who has seen the block that follows.
    function _closingHash(uint256 closingBlock) private returns (bytes32) {
        if (block.number == closingBlock) VM.roll(block.number + 1);
        if (_hashes[closingBlock] == 0) _hashes[closingBlock] = blockhash(closingBlock);
        return _hashes[closingBlock];
    }

    function _sits(uint256 who) private view returns (bool) {
        IFederatedTasks.Member memory member = tasks.memberOf(task, server(who));
        uint32 number = tasks.stateOf(task).round.number;
        return member.since <= number && number < member.until;
    }

    function _sign(uint256 who, IConsensus.Vote memory vote_) private view returns (bytes32[2] memory) {
        bytes32 domain = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("fbfl"),
                keccak256("1"),
                block.chainid,
                address(consensus)
            )
        );
        bytes32 content = keccak256(
            abi.encode(
                keccak256("Vote(uint256 task,uint32 round,uint16 view,uint8 stage,bytes32 valueDigest,bool accept)"),
                vote_.task,
                vote_.round,
                vote_.view_,
                vote_.stage,
                vote_.valueDigest,
                vote_.accept
            )
        );
        (uint8 v, bytes32 r, bytes32 s) =
            VM.sign(_keys[who % COUNT], keccak256(abi.encodePacked(hex"1901", domain, content)));
        return [r, bytes32(uint256(s) | (uint256(v) - 27) << 255)];
    }
}
