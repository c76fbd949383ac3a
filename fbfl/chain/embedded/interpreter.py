"""py-evm's interpreter with the common instructions of a contract done in its loop instead of in a call for each.

Code is read where execution first comes to it, into traces: common instructions in a row, over jumps to places that are
known, up to an instruction that is not common. Words that are only pushed, copied and swapped are followed while a
trace is read; left to execute is what computes words, reads or writes. Gas and room on the stack are checked once for a
trace, not at each of its instructions. All else, and whatever goes wrong (no gas, too few or too many words, a jump to
nowhere), is left to py-evm's own function of the instruction, with all done that comes before it and nothing of it. A
test runs random programs through both.
"""

import contextlib
import functools
from collections.abc import Callable, Container, Sequence
from typing import Any, NamedTuple

from eth.abc import ComputationAPI, MessageAPI, StateAPI, TransactionContextAPI
from eth.constants import GAS_ECRECOVER, GAS_SHA3WORD, SECPK1_N, STACK_DEPTH_LIMIT
from eth.exceptions import Halt
from eth.vm import opcode_values as op
from eth.vm.forks.berlin.constants import COLD_SLOAD_COST, WARM_STORAGE_READ_COST
from eth.vm.forks.london.computation import LondonComputation
from eth.vm.forks.london.opcodes import LONDON_OPCODES
from eth.vm.forks.london.state import LondonState
from eth.vm.logic.invalid import InvalidOpcode
from eth.vm.stack import to_int
from eth_hash.auto import keccak
from eth_typing import Address

from fbfl.chain.embedded.accounts import PlainAccounts
from fbfl.chain.keys import signer_of

_MASK = 2**256 - 1
_NEAR = 2**20  # the bytes of memory that are written to here
_STACK = 1024  # the most words
_LONGEST = 100  # instructions of a trace
_SIGN = 2**255
_FIRST = Address(b"\1".rjust(20, b"\0"))  # of the precompiled contracts

_COMPUTED: dict[int, Callable[[int, int], int]] = {
    op.ISZERO: lambda a, _: 0 if a else 1,
    op.NOT: lambda a, _: _MASK - a,
    op.ADD: lambda a, b: a + b & _MASK,
    op.SUB: lambda a, b: a - b & _MASK,
    op.MUL: lambda a, b: a * b & _MASK,
    op.DIV: lambda a, b: a // b if b else 0,
    op.AND: lambda a, b: a & b,
    op.OR: lambda a, b: a | b,
    op.XOR: lambda a, b: a ^ b,
    op.LT: lambda a, b: 1 if a < b else 0,
    op.GT: lambda a, b: 1 if a > b else 0,
    op.SLT: lambda a, b: 1 if a ^ _SIGN < b ^ _SIGN else 0,
    op.EQ: lambda a, b: 1 if a == b else 0,
    op.SHL: lambda a, b: b << a & _MASK if a < 256 else 0,
    op.SHR: lambda a, b: b >> a if a < 256 else 0,
}
"""Instructions that compute a word from the one or two on top."""

_ADD, _COMPUTE, _STORE, _TEST, _LOAD, _JUMP, _BRANCH, _STORED, _HASH, _INPUT, _SIZE = range(11)
_OTHERS = {
    **{op.MSTORE: _STORE, op.MLOAD: _LOAD, op.SHA3: _HASH, op.SLOAD: _STORED},
    **{op.CALLDATALOAD: _INPUT, op.CALLDATASIZE: _SIZE},
}
_NEEDED = {
    **dict.fromkeys((op.POP, op.MLOAD, op.SLOAD, op.CALLDATALOAD, op.JUMP), 1),
    **dict.fromkeys((op.MSTORE, op.SHA3, op.JUMPI, *_COMPUTED), 2),
    **dict.fromkeys((op.ISZERO, op.NOT), 1),
    **{op.DUP1 + place: place + 1 for place in range(16)},
    **{op.SWAP1 + place: place + 2 for place in range(16)},
}
"""Words on the stack that an instruction looks at."""


class _Leave(NamedTuple):
    """A way out of a trace."""

    at: int | None
    """Place where to go on; None for the one that the last step looked at."""
    alone: bool
    """True if the instruction there is py-evm's."""
    spent: int
    """Gas of the instructions before."""
    replaced: int
    """Words of the stack as it was that make way for others."""
    words: Sequence[int]
    """Places of those among the values."""


_Step = tuple[int, int, int, int, Any]
"""Kind, place of the result, places of two operands, and what computes it, or how to leave."""


class _Trace(NamedTuple):
    """Instructions in the order of their execution."""

    gas: int
    least: int
    """Words that have to be on the stack."""
    most: int
    """Words on the stack with which there is room for all that it puts there."""
    values: list[Any]
    """Known words, and room for the results; behind them come the `least` words of the stack."""
    steps: Sequence[_Step]
    end: _Leave


class _Noting:
    """An instruction that notes in the state that what follows may depend on the block's miner."""

    def __init__(self, function: Any) -> None:
        self._function = function
        self.gas_cost, self.mnemonic = function.gas_cost, function.mnemonic

    def __call__(self, computation: Any) -> Any:
        computation.state.depends_on_miner = True
        return self._function(computation=computation)


class _Recovering:
    """A call that changes nothing, which asks the first precompiled contract without a computation of its own."""

    def __init__(self, function: Any) -> None:
        self._function = function
        self.gas_cost, self.mnemonic = function.gas_cost, function.mnemonic

    def __call__(self, computation: Any) -> Any:
        words, meter, memory = computation._stack.values, computation._gas_meter, computation._memory._bytes
        if len(words) > 5 and words[-2] == 1:
            gas, _, start, size, to, room = words[:-7:-1]
            left = meter.gas_remaining - WARM_STORAGE_READ_COST
            fits = max(start + size, to + room) <= len(memory) and min(gas, left - left // 64) >= GAS_ECRECOVER
            if fits and computation.state.is_address_warm(_FIRST) and computation.msg.depth < STACK_DEPTH_LIMIT:
                meter.gas_remaining = left - GAS_ECRECOVER
                computation.return_data = output = _recovered(bytes(memory[start : start + size]))
                memory[to : to + min(room, len(output))] = output[:room]
                words[-6:] = [1]
                return None
        return self._function(computation=computation)


def _recovered(data: bytes) -> bytes:
    """Return what the first precompiled contract answers: who signed a hash, or nothing."""
    data = data[:128].ljust(128, b"\0")
    v, r, s = (int.from_bytes(data[start : start + 32], "big") for start in (32, 64, 96))
    if v in (27, 28) and r < SECPK1_N and s < SECPK1_N:
        with contextlib.suppress(Exception):  # libsecp256k1 raises them without a type of their own: nobody did
            return signer_of(data[:32], r, s, v - 27).rjust(32, b"\0")
    return b""


def _recover(computation: Any) -> Any:
    """Answer a call of the first precompiled contract without eth-keys' forms."""
    computation.consume_gas(GAS_ECRECOVER, reason="ECRecover Precompile")
    computation.output = _recovered(computation.msg.data_as_bytes)
    return computation


class TableComputation(LondonComputation):
    """The execution of one message by the rules of London."""

    _precompiles = LondonComputation.get_precompiles() | {_FIRST: _recover}
    opcodes = (
        LONDON_OPCODES
        | {value: _Noting(LONDON_OPCODES[value]) for value in (op.COINBASE, op.BALANCE)}
        | {op.STATICCALL: _Recovering(LONDON_OPCODES[op.STATICCALL])}
    )

    @classmethod
    def apply_computation(
        cls,
        state: StateAPI,
        message: MessageAPI,
        transaction_context: TransactionContextAPI,
        parent_computation: ComputationAPI | None = None,
    ) -> ComputationAPI:
        """Execute a message that is not to one of the precompiled contracts."""
        if message.is_create or message.code_address in cls.get_precompiles():
            return super().apply_computation(state, message, transaction_context, parent_computation)
        with cls(state, message, transaction_context) as computation:
            if computation.is_origin_computation:
                computation.contracts_created = []
            if parent_computation is not None:
                computation.contracts_created = parent_computation.contracts_created
            with contextlib.suppress(Halt):
                _run(computation)
        return computation


class TableState(LondonState):
    """London's state in plain dictionaries, which executes messages with `TableComputation`."""

    depends_on_miner = False
    """True if a contract has looked at the block's miner, or at a balance that its earnings may have changed."""

    computation_class = TableComputation
    account_db_class = PlainAccounts


def _run(computation: Any) -> None:
    """Execute until an instruction raises: `Halt`, or an error of the EVM.

    Words are numbers here, always: what an instruction of py-evm leaves as bytes is made one at once. The gas that is
    left is in the meter only while such an instruction is executed.
    """
    traces, labels, padded = _table(computation.msg.code)
    words, meter, held, code = (
        computation._stack.values,
        computation._gas_meter,
        computation._memory,
        computation.code,
    )
    memory = held._bytes
    accounts, address = computation.state._account_db, computation.msg.storage_address
    data = bytes(computation.msg.data)
    left = meter.gas_remaining
    at, end_of_code = 0, len(traces) - 1
    while True:
        trace = traces[at]
        if trace is None:
            trace = traces[at] = _trace(padded, labels, at, end_of_code)
        gas, least, most, values, steps, leave = trace
        size = len(words)
        if gas <= left and least <= size <= most:
            left -= gas
            values = values + words[size - least :]
            for kind, place, a, b, operand in steps:
                if kind == _ADD:
                    values[place] = values[a] + values[b] & _MASK
                elif kind == _COMPUTE:
                    values[place] = operand(values[a], values[b])
                elif kind == _STORE:
                    end, room = values[a] + 32, len(memory)
                    if end > room:
                        length = end + 31 >> 5
                        cost = _growth(room >> 5, length) if end <= _NEAR else left + 1
                        if cost > left:
                            leave = operand
                            break
                        left -= cost
                        try:
                            memory += bytes(length * 32 - room)
                        except BufferError:  # who was called looks at it still
                            memory = held._bytes = memory + bytes(length * 32 - room)
                    memory[end - 32 : end] = values[b].to_bytes(32, "big")
                elif kind == _TEST:
                    function, away = operand
                    if function(values[a], values[b]):
                        leave = away
                        break
                elif kind == _LOAD:
                    end = values[a] + 32
                    if end > len(memory):
                        leave = operand
                        break
                    values[place] = int.from_bytes(memory[end - 32 : end], "big")
                elif kind == _JUMP:
                    if values[a] not in labels:
                        leave = operand
                        break
                elif kind == _BRANCH:
                    if values[a]:
                        leave = operand
                        break
                elif kind == _STORED:
                    slot = values[a]
                    warm = accounts.is_storage_warm(address, slot)
                    cost = WARM_STORAGE_READ_COST if warm else COLD_SLOAD_COST
                    if cost > left:
                        leave = operand
                        break
                    left -= cost
                    if not warm:
                        accounts.mark_storage_warm(address, slot)
                    values[place] = accounts.get_storage(address, slot)
                elif kind == _HASH:
                    end, cost = values[a] + values[b], GAS_SHA3WORD * (values[b] + 31 >> 5)
                    if end > len(memory) or cost > left:
                        leave = operand
                        break
                    left -= cost
                    values[place] = int.from_bytes(keccak(bytes(memory[values[a] : end])), "big")
                elif kind == _INPUT:
                    values[place] = int.from_bytes(data[values[a] : values[a] + 32].ljust(32, b"\0"), "big")
                else:
                    values[place] = len(data)
            to, alone, spent, replaced, places = leave
            left += gas - spent
            words[size - replaced :] = map(values.__getitem__, places)
            at = values[a] if to is None else to
            if not alone:
                continue
        code.program_counter = at + 1  # as py-evm has it while an instruction is executed
        meter.gas_remaining = left
        _FUNCTIONS[padded[at]](computation=computation)
        left, memory = meter.gas_remaining, held._bytes
        if words and type(words[-1]) is not int:
            words[-1] = to_int(words[-1])
        at = min(code.program_counter, end_of_code)  # a PUSH that the code cuts off ends behind it


@functools.lru_cache(maxsize=1024)
def _growth(before: int, after: int) -> int:
    """Return the gas of memory that grows to so many words."""
    return 3 * (after - before) + after * after // 512 - before * before // 512


_FUNCTIONS: Sequence[Any] = [TableComputation.opcodes.get(value) or InvalidOpcode(value) for value in range(256)]


@functools.lru_cache(maxsize=64)
def _table(code: bytes) -> tuple[list[_Trace | None], Container[Any], bytes]:
    """Return room for the trace that begins at each place of the code, and behind it; the places that may be jumped to;
    and the code with the zeros that are read behind its end.
    """
    labels, at = set[int](), 0
    while at < len(code):
        if code[at] == op.JUMPDEST:
            labels.add(at)
        at += 1 + _pushed(code[at])
    return [None] * (len(code) + 1), frozenset(labels), code + bytes(33)


def _pushed(value: int) -> int:
    """Return the number of bytes that an instruction pushes."""
    return value - op.PUSH1 + 1 if op.PUSH1 <= value <= op.PUSH32 else 0


def _trace(code: bytes, labels: Container[Any], at: int, end_of_code: int) -> _Trace:
    """Return the trace that begins at a place.

    A word is known by its place among the trace's values; those of the stack come last, and count from the end.
    """
    values, stack, steps = list[Any](), list[int](), list[_Step]()
    gas = least = highest = 0

    def leave(to: int | None, spent: int, *, alone: bool = False) -> _Leave:
        same = 0  # words at the bottom that are where they were
        while same < min(least, len(stack)) and stack[same] == same - least:
            same += 1
        return _Leave(to, alone, spent, least - same, tuple(stack[same:]))

    def put(word: int | None = None) -> None:
        stack.append(len(values))
        values.append(word)

    for _ in range(_LONGEST):
        value = code[at]
        cost, pushed, needed = _FUNCTIONS[value].gas_cost, _pushed(value), _NEEDED.get(value, 0)
        following = min(at + 1 + pushed, end_of_code)
        while len(stack) < needed:
            least += 1
            stack.insert(0, -least)
        a = stack[-1] if needed else -1
        b = stack[-2] if needed > 1 else a
        known: list[Any] = [values[place] if place >= 0 else None for place in (a, b)]
        first, second = known
        if pushed:
            put(int.from_bytes(code[at + 1 : at + 1 + pushed], "big"))
        elif op.DUP1 <= value <= op.DUP16:
            stack.append(stack[-needed])
        elif op.SWAP1 <= value <= op.SWAP16:
            stack[-1], stack[-needed] = stack[-needed], stack[-1]
        elif value == op.POP:
            stack.pop()
        elif value in _COMPUTED:
            function = _COMPUTED[value]
            del stack[-needed:]
            if first is None or second is None:
                steps.append((_ADD if value == op.ADD else _COMPUTE, len(values), a, b, function))
                put()
            else:
                put(function(first, second))
        elif value in _OTHERS:
            steps.append((_OTHERS[value], len(values), a, b, leave(at, gas, alone=True)))
            del stack[len(stack) - needed :]
            if value != op.MSTORE:
                put()
        elif value == op.JUMPI and first in labels:
            del stack[-2:]
            away = leave(first, gas + cost)
            if steps and steps[-1][:2] == (_COMPUTE, b) and b not in stack:  # computed only to be looked at here
                _, _, one, other, function = steps.pop()
                steps.append((_TEST, 0, one, other, (function, away)))
            else:
                steps.append((_BRANCH, 0, b, 0, away))
        elif value == op.JUMP and first in labels:
            stack.pop()
            following = first
        elif value == op.JUMP and first is None:
            steps.append((_JUMP, 0, a, 0, leave(at, gas, alone=True)))
            stack.pop()
            gas += cost
            end = leave(None, gas)
            break
        elif value != op.JUMPDEST:
            end = leave(at, gas, alone=True)
            break
        gas, at, highest = gas + cost, following, max(highest, len(stack) - least)
    else:
        end = leave(at, gas)
    return _Trace(gas, least, _STACK - highest, values, steps, end)
