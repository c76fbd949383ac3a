"""py-evm's interpreter with the common instructions of a contract done in its loop instead of in a call for each.

Code is read once into a table of its blocks: instructions in a row that only move, compare and compute words, nine of
ten that contracts execute. Gas and room on the stack are checked once for a block, not at each of its instructions. All
else, and whatever goes wrong (no gas, too few or too many words, a jump to nowhere), is left to py-evm's own function
of the instruction, with nothing changed before. A test runs random programs through both.
"""

import contextlib
import functools
from collections.abc import Callable, Container, Sequence
from typing import Any, NamedTuple, cast

from eth.abc import ComputationAPI, MessageAPI, StateAPI, TransactionContextAPI
from eth.constants import GAS_ECRECOVER, GAS_MID, GAS_SHA3, GAS_SHA3WORD, SECPK1_N
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

_PUSH, _DUP, _SWAP, _POP, _UNARY, _BINARY, _LOAD, _STORE, _INPUT, _LABEL = range(10)  # they make blocks
_CALL, _JUMP, _JUMP_IF, _STORED, _HASH = range(10, 15)

_UNARY_OF: dict[int, Callable[[int], int]] = {
    op.ISZERO: lambda a: 0 if a else 1,
    op.NOT: lambda a: _MASK - a,
}
_BINARY_OF: dict[int, Callable[[int, int], int]] = {
    op.ADD: lambda a, b: a + b & _MASK,
    op.SUB: lambda a, b: a - b & _MASK,
    op.MUL: lambda a, b: a * b & _MASK,
    op.DIV: lambda a, b: a // b if b else 0,
    op.AND: lambda a, b: a & b,
    op.OR: lambda a, b: a | b,
    op.XOR: lambda a, b: a ^ b,
    op.LT: lambda a, b: 1 if a < b else 0,
    op.GT: lambda a, b: 1 if a > b else 0,
    op.EQ: lambda a, b: 1 if a == b else 0,
    op.SHL: lambda a, b: b << a & _MASK if a < 256 else 0,
    op.SHR: lambda a, b: b >> a if a < 256 else 0,
}

_OTHERS = {
    op.POP: _POP,
    op.JUMPDEST: _LABEL,
    op.JUMP: _JUMP,
    op.JUMPI: _JUMP_IF,
    op.MLOAD: _LOAD,
    op.SLOAD: _STORED,
    op.MSTORE: _STORE,
    op.CALLDATALOAD: _INPUT,
    op.SHA3: _HASH,
}


class _Place(NamedTuple):
    """What a place in the code does."""

    kind: int
    operand: Any
    following: int
    function: Any
    """py-evm's."""


class _Block(NamedTuple):
    """Instructions in a row. Most end with a jump to a place that is pushed right before it."""

    instructions: Sequence[tuple[int, Any]]
    """Kind and operand; of those on memory, which may not go well: place, and gas of it and what follows."""
    gas: int
    least: int
    """Words that have to be on the stack."""
    most: int
    """Words on the stack with which there is room for all that it puts there."""
    target: int | None
    """Place to go to if the last word is not 0, or None."""
    after: int
    """Place to go to otherwise."""


class _Noting:
    """An instruction that notes in the state that what follows may depend on the block's miner."""

    def __init__(self, function: Any) -> None:
        self._function = function
        self.gas_cost, self.mnemonic = function.gas_cost, function.mnemonic

    def __call__(self, computation: Any) -> Any:
        computation.state.depends_on_miner = True
        return self._function(computation=computation)


def _recover(computation: Any) -> Any:
    """Answer a call of the first precompiled contract: who signed a hash, or nothing, without eth-keys' forms."""
    computation.consume_gas(GAS_ECRECOVER, reason="ECRecover Precompile")
    given = computation.msg.data_as_bytes[:128].ljust(128, b"\0")
    v, r, s = (int.from_bytes(given[start : start + 32], "big") for start in (32, 64, 96))
    if v in (27, 28) and r < SECPK1_N and s < SECPK1_N:
        with contextlib.suppress(Exception):  # libsecp256k1 raises them without a type of their own: nobody did
            computation.output = signer_of(given[:32], r, s, v - 27).rjust(32, b"\0")
    return computation


class TableComputation(LondonComputation):
    """The execution of one message by the rules of London."""

    _precompiles = LondonComputation.get_precompiles() | {Address(b"\1".rjust(20, b"\0")): _recover}
    opcodes = LONDON_OPCODES | {value: _Noting(LONDON_OPCODES[value]) for value in (op.COINBASE, op.BALANCE)}

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
    places, blocks, labels = _table(computation.msg.code)
    words, meter, memory, code = (
        computation._stack.values,
        computation._gas_meter,
        computation._memory,
        computation.code,
    )
    state, address = computation.state, computation.msg.storage_address
    data = bytes(computation.msg.data)
    left = meter.gas_remaining
    at, end_of_code = 0, len(places) - 1
    while True:
        block = blocks[at]
        if block is not None:
            instructions, gas, least, most, target, after = block
            if gas <= left and least <= len(words) <= most:
                left -= gas
                for kind, operand in instructions:
                    if kind == _DUP:
                        words.append(words[-operand])
                    elif kind == _PUSH:
                        words.append(operand)
                    elif kind == _BINARY:
                        words[-1] = operand(words.pop(), words[-1])
                    elif kind == _SWAP:
                        words[-1], words[-operand] = words[-operand], words[-1]
                    elif kind == _POP:
                        words.pop()
                    elif kind == _STORE:
                        end = words[-1] + 32
                        if end > len(memory._bytes):
                            grown = _growth(len(memory._bytes) >> 5, end + 31 >> 5) if end <= _NEAR else left + 1
                            if grown > left:
                                break
                            left -= grown
                            memory.extend(end - 32, 32)
                        memory._bytes[end - 32 : end] = words[-2].to_bytes(32, "big")
                        del words[-2:]
                    elif kind == _LOAD:
                        end = words[-1] + 32
                        if end > len(memory._bytes):
                            break
                        words[-1] = int.from_bytes(memory._bytes[end - 32 : end], "big")
                    elif kind == _UNARY:
                        words[-1] = operand(words[-1])
                    else:
                        start = words[-1]
                        words[-1] = int.from_bytes(data[start : start + 32].ljust(32, b"\0"), "big")
                else:
                    at = after if target is None or not words.pop() else target
                    continue
                at, unspent = operand
                left += unspent
        kind, _, following, function = places[at]
        if kind == _JUMP:
            if words and words[-1] in labels and left >= GAS_MID:
                left -= GAS_MID
                at = words.pop()
                continue
        elif kind == _STORED:
            if words:
                slot = words[-1]
                warm = state.is_storage_warm(address, slot)
                gas = WARM_STORAGE_READ_COST if warm else COLD_SLOAD_COST
                if gas <= left:
                    left -= gas
                    if not warm:
                        state.mark_storage_warm(address, slot)
                    words[-1] = state.get_storage(address, slot)
                    at = following
                    continue
        elif kind == _HASH and len(words) > 1 and (end := words[-1] + words[-2]) <= len(memory._bytes):
            gas = GAS_SHA3 + GAS_SHA3WORD * (words[-2] + 31 >> 5)
            if gas <= left:
                left -= gas
                hashed = bytes(memory._bytes[words.pop() : end])
                words[-1] = int.from_bytes(keccak(hashed), "big")
                at = following
                continue
        code.program_counter = at + 1  # as py-evm has it while an instruction is executed
        meter.gas_remaining = left
        function(computation=computation)
        left = meter.gas_remaining
        if words and type(words[-1]) is not int:
            words[-1] = to_int(words[-1])
        at = min(code.program_counter, end_of_code)  # a PUSH that the code cuts off ends behind it


@functools.lru_cache(maxsize=1024)
def _growth(before: int, after: int) -> int:
    """Return the gas of memory that grows to so many words."""
    return 3 * (after - before) + after * after // 512 - before * before // 512


@functools.lru_cache(maxsize=64)
def _table(code: bytes) -> tuple[Sequence[_Place], Sequence[_Block | None], frozenset[int]]:
    """Return what each place of the code does, with a stop behind its end; the blocks by the places at which they
    begin; and the places that may be jumped to.
    """
    places = [_place(code, at) for at in range(len(code))]
    places.append(_Place(_CALL, None, len(code) + 1, TableComputation.opcodes[op.STOP]))
    begins, at = [], 0
    while at < len(code):
        begins.append(at)
        at = places[at].following
    labels = frozenset(at for at in begins if places[at].kind == _LABEL)
    blocks: list[_Block | None] = [None] * (len(places) + 1)
    at = 0
    while at < len(code):
        blocks[at], at = _block(places, labels, at)
    return places, blocks, labels


def _place(code: bytes, at: int) -> _Place:
    value = code[at]
    function = TableComputation.opcodes[value] if value in TableComputation.opcodes else InvalidOpcode(value)
    if op.PUSH1 <= value <= op.PUSH32:
        size = value - op.PUSH1 + 1
        following = min(at + 1 + size, len(code))
        return _Place(_PUSH, int.from_bytes(code[at + 1 : following].ljust(size, b"\0"), "big"), following, function)
    kind, operand = _OTHERS.get(value, _CALL), cast(Any, None)
    if op.DUP1 <= value <= op.DUP16:
        kind, operand = _DUP, value - op.DUP1 + 1
    elif op.SWAP1 <= value <= op.SWAP16:
        kind, operand = _SWAP, value - op.SWAP1 + 2
    elif value in _BINARY_OF:
        kind, operand = _BINARY, _BINARY_OF[value]
    elif value in _UNARY_OF:
        kind, operand = _UNARY, _UNARY_OF[value]
    return _Place(kind, operand, at + 1, function)


_EFFECT = {
    **{_PUSH: (0, 1), _POP: (1, -1), _UNARY: (1, 0), _BINARY: (2, -1)},
    **{_LOAD: (1, 0), _STORE: (2, -2), _INPUT: (1, 0), _LABEL: (0, 0)},
}
"""Words that an instruction needs, and by how many it changes their number."""


def _block(places: Sequence[_Place], labels: Container[int], start: int) -> tuple[_Block | None, int]:
    """Return the block that begins at a place, or None, and the place where to look for the next one."""
    read: list[tuple[int, int, Any, int]] = []  # place, kind, operand, gas before it
    gas = least = height = highest = 0
    target, at = None, start
    while (kind := places[at].kind) < _CALL and not (kind == _LABEL and at > start):
        _, operand, following, function = places[at]
        read.append((at, kind, operand, gas))
        needed, change = (operand, 1) if kind == _DUP else (operand, 0) if kind == _SWAP else _EFFECT[kind]
        gas, least, height = gas + function.gas_cost, max(least, needed - height), height + change
        highest, at = max(highest, height), following
        jump = places[at]
        if kind == _PUSH and operand in labels and jump.kind in (_JUMP, _JUMP_IF):
            read.pop()
            gas += jump.function.gas_cost
            if jump.kind == _JUMP:
                return _Block(_unfinished(read, gas), gas, least, _STACK - highest, None, operand), jump.following
            least, target, at = max(least, 2 - height), operand, jump.following
            break
    if at == start:
        return None, places[at].following
    return _Block(_unfinished(read, gas), gas, least, _STACK - highest, target, at), at


def _unfinished(read: Sequence[tuple[int, int, Any, int]], gas: int) -> Sequence[tuple[int, Any]]:
    """Return a block's instructions; those on memory can tell where to go on without them, with how much gas more."""
    return [
        (kind, (at, gas - before) if kind in (_LOAD, _STORE) else operand)
        for at, kind, operand, before in read
        if kind != _LABEL
    ]
