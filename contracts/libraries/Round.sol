// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IFederatedTasks} from "../interfaces/IFederatedTasks.sol";

/// @dev The current round of a task: all that a submission has to know, in one slot; see `IFederatedTasks.RoundState`.
struct Round {
    uint32 number;
    IFederatedTasks.Phase phase;
    bool commitReveal;
    bool draws; // only members that are drawn submit
    uint8 awaited;
    uint8 minUpdates;
    uint40 deadline;
    uint40 closingBlock;
    uint32 maxPayload;
    uint32 maxSamples;
}

using RoundLibrary for Round global;

/// @title Rounds, and the calls that they refuse
library RoundLibrary {
    /// @notice Returns true if the next round may open.
    function isOver(IFederatedTasks.Phase phase) internal pure returns (bool) {
        return phase == IFederatedTasks.Phase.Idle || phase == IFederatedTasks.Phase.Final
            || phase == IFederatedTasks.Phase.Aborted;
    }

    /// @notice Reverts unless the round has this number and stands in this phase.
    function requireIn(Round memory self, uint256 task, uint32 round, IFederatedTasks.Phase phase) internal pure {
        if (self.number != round) revert IFederatedTasks.TasksWrongRound(task, round, self.number);
        if (self.phase != phase) revert IFederatedTasks.TasksWrongPhase(task, self.phase);
    }

    /// @notice Reverts if an update of this size, trained on so many samples, does not fit the task.
    function requireFit(Round memory self, uint32 size, uint32 samples) internal pure {
        if (size == 0 || size > self.maxPayload) revert IFederatedTasks.TasksPayloadTooLarge(size, self.maxPayload);
        if (samples == 0 || samples > self.maxSamples) {
            revert IFederatedTasks.TasksBadSampleCount(samples, self.maxSamples);
        }
    }
}
