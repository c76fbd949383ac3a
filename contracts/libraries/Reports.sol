// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IFederatedTasks} from "../interfaces/IFederatedTasks.sol";
import {Bitmap} from "./Bitmap.sol";
import {RoundSeats} from "./RoundSeats.sol";

/// @title Reports of updates that nobody can fetch
/// @notice A member reports an update at most once, and may take that back once: so its reports and the events of them
/// have an end. What is stored of an earlier round counts as empty.
library Reports {
    using Bitmap for uint256;

    /// @dev After `_LONELY_ROUNDS` of being alone with a report, a member may not report for `_SILENT_ROUNDS`.
    uint8 private constant _LONELY_ROUNDS = 3;
    uint32 private constant _SILENT_ROUNDS = 10;

    /// @dev Record of a member's reports so far, in one slot. A member is alone with a report if it stays the only
    /// reporter of that update, below the threshold.
    /// @param round the last round in which it reported anything
    /// @param alone reports of that round with which it is alone
    /// @param streak rounds running before that one in which it was alone with a report
    /// @param barredUntil last round in which it may not report
    struct Reporter {
        uint32 round;
        uint8 alone;
        uint8 streak;
        uint32 barredUntil;
    }

    /// @dev The reports of one task.
    struct Book {
        mapping(uint8 seat => RoundSeats) made; // who has reported the update of this seat
        mapping(uint8 seat => RoundSeats) withdrawn; // who of these has taken it back
        mapping(address member => Reporter) reporters;
        RoundSeats missing; // whose updates the next proposal leaves out
        RoundSeats slashed; // whose servers have paid for it
    }

    /// @dev One report, to be made or taken back, and how many it takes.
    /// @param accused whose update it is
    /// @param seat the seat of the accused
    /// @param bit of the seat of the reporter
    struct Report {
        uint256 task;
        uint32 round;
        address accused;
        uint8 seat;
        address reporter;
        uint256 bit;
        uint256 toLeaveOut;
        uint256 toSlash;
    }

    /// @notice Records a report; reverts if its reporter has made it before, or may not report.
    /// @param holders who sits on each seat
    /// @return leavesOut true if there are now as many as leave the update out
    /// @return slashes true if there are enough for a penalty that was not taken yet
    function add(Book storage self, Report memory report, mapping(uint8 seat => address) storage holders)
        internal
        returns (bool leavesOut, bool slashes)
    {
        RoundSeats made = self.made[report.seat].inRound(report.round);
        if (made.has(report.bit)) {
            revert IFederatedTasks.TasksAlreadyReported(report.task, report.round, report.accused);
        }
        _admit(self, report);
        made = made.with(report.bit);
        self.made[report.seat] = made;
        uint256 standing = made.bitmap() & ~self.withdrawn[report.seat].inRound(report.round).bitmap();
        uint256 count = standing.count();
        if (report.toLeaveOut > 1) _countLonely(self, report, standing, count, true, holders);
        leavesOut = count == report.toLeaveOut;
        if (leavesOut) self.missing = self.missing.inRound(report.round).with(1 << report.seat);
        if (count >= report.toSlash) {
            RoundSeats slashed = self.slashed.inRound(report.round);
            slashes = !slashed.has(1 << report.seat);
            if (slashes) self.slashed = slashed.with(1 << report.seat);
        }
    }

    /// @notice Takes a report back; reverts if it does not stand.
    function withdraw(Book storage self, Report memory report, mapping(uint8 seat => address) storage holders)
        internal
    {
        RoundSeats made = self.made[report.seat].inRound(report.round);
        RoundSeats withdrawn = self.withdrawn[report.seat].inRound(report.round);
        if (!made.has(report.bit) || withdrawn.has(report.bit)) {
            revert IFederatedTasks.TasksNotReported(report.task, report.round, report.accused);
        }
        withdrawn = withdrawn.with(report.bit);
        self.withdrawn[report.seat] = withdrawn;
        uint256 standing = made.bitmap() & ~withdrawn.bitmap();
        uint256 count = standing.count();
        if (report.toLeaveOut > 1) _countLonely(self, report, standing, count, false, holders);
        if (count + 1 == report.toLeaveOut) self.missing = self.missing.without(1 << report.seat);
    }

    /// @notice Returns true if no update is left out whose server has not paid for it.
    function havePaid(Book storage self, uint32 round) internal view returns (bool) {
        return self.missing.inRound(round).bitmap() & ~self.slashed.inRound(round).bitmap() == 0;
    }

    /// @dev Keeps count of the reports with which members are alone, after one was added, or taken out: `standing` are
    /// now `count`.
    function _countLonely(
        Book storage self,
        Report memory report,
        uint256 standing,
        uint256 count,
        bool added,
        mapping(uint8 seat => address) storage holders
    ) private {
        if (count == (added ? 1 : 0)) {
            Reporter storage own = self.reporters[report.reporter];
            if (added) own.alone += 1;
            else own.alone -= 1;
        } else if (count == (added ? 2 : 1)) {
            uint256 other = standing & ~report.bit;
            // forge-lint: disable-next-line(unsafe-typecast)
            Reporter storage first = self.reporters[holders[uint8((other - 1).count())]]; // below 240
            if (added) first.alone -= 1;
            else first.alone += 1;
        }
    }

    /// @dev Begins the record of a reporter in a round with its first report; reverts if it may not report.
    function _admit(Book storage self, Report memory report) private {
        Reporter memory record = self.reporters[report.reporter];
        if (record.round != report.round) {
            bool next = record.round + 1 == report.round;
            uint8 streak = record.alone == 0 ? 0 : record.streak + 1;
            if (streak == _LONELY_ROUNDS) record.barredUntil = record.round + _SILENT_ROUNDS;
            record.streak = next && streak < _LONELY_ROUNDS ? streak : 0;
            record.round = report.round;
            record.alone = 0;
        }
        if (report.round <= record.barredUntil) {
            revert IFederatedTasks.TasksMayNotReport(report.task, report.reporter, record.barredUntil);
        }
        self.reporters[report.reporter] = record;
    }
}
