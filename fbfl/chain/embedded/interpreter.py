"""py-evm's interpreter with the common instructions of a contract done in its loop instead of in a call for each.

Code is read once into a table: what each place does, at what gas, with what operand. Two thirds of what contracts
execute moves and compares words; that is done here. All else, and whatever goes wrong (no gas, too few or too many
words, a jump to nowhere), is left to py-evm's own function of the instruction, with nothing changed before. A test runs
random programs through both.
"""

import contextlib
import functools
from collections.abc import Callable
from typing import Any

from eth.abc import ComputationAPI, MessageAPI, StateAPI, TransactionContextAPI
from eth.constants import GAS_ECRECOVER, GAS_SHA3WORD, SECPK1_N
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
_FULL = 1023  # words on the stack with which one more does not always fit

_CALL, _PUSH, _DUP, _SWAP, _POP, _LABEL, _JUMP, _UNARY, _BINARY, _LOAD, _STORE, _STORED, _INPUT, _HASH = range(14)
_PUSH_JUMP, _PUSH_JUMP_IF = 14, 15
"""A jump to a place that is pushed right before it, over the label there: most are such."""

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
    op.MLOAD: _LOAD,
    op.SLOAD: _STORED,
    op.MSTORE: _STORE,
    op.CALLDATALOAD: _INPUT,
    op.SHA3: _HASH,
}

_Place = tuple[int, int, Any, int, Any]
"""A place in the code: kind, gas, operand, next place, py-evm's function."""


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
    places, labels = _table(computation.msg.code)
    words, meter, memory, code = (
        computation._stack.values,
        computation._gas_meter,
        computation._memory,
        computation.code,
    )
    state, address = computation.state, computation.msg.storage_address
    data = bytes(computation.msg.data)
    before = meter.gas_remaining
    at = 0
    while True:
        kind, gas, operand, following, function = places[at]
        left = before - gas
        if left >= 0:
            if kind == _DUP:
                if operand <= len(words) <= _FULL:
                    before = left
                    words.append(words[-operand])
                    at = following
                    continue
            elif kind == _PUSH:
                if len(words) <= _FULL:
                    before = left
                    words.append(operand)
                    at = following
                    continue
            elif kind == _BINARY:
                if len(words) > 1:
                    before = left
                    words[-1] = operand(words.pop(), words[-1])
                    at = following
                    continue
            elif kind == _SWAP:
                if operand < len(words):
                    before = left
                    words[-1], words[-1 - operand] = words[-1 - operand], words[-1]
                    at = following
                    continue
            elif kind == _POP:
                if words:
                    before = left
                    words.pop()
                    at = following
                    continue
            elif kind == _STORE:
                if len(words) > 1 and (end := words[-1] + 32) <= _NEAR:
                    grows = end > len(memory._bytes)
                    if grows:
                        left -= _growth(len(memory._bytes) >> 5, end + 31 >> 5)
                    if left >= 0:
                        before = left
                        if grows:
                            memory.extend(end - 32, 32)
                        memory._bytes[end - 32 : end] = words[-2].to_bytes(32, "big")
                        del words[-2:]
                        at = following
                        continue
            elif kind == _PUSH_JUMP_IF:
                if words and len(words) <= _FULL and left:
                    if words.pop():
                        before = left - 1
                        at = operand
                    else:
                        before = left
                        at = following
                    continue
            elif kind == _LABEL:
                before = left
                at = following
                continue
            elif kind == _PUSH_JUMP:
                if len(words) <= _FULL and left:
                    before = left - 1
                    at = operand
                    continue
            elif kind == _JUMP:
                if words and words[-1] in labels:
                    before = left
                    at = words.pop()
                    continue
            elif kind == _LOAD:
                if words and (start := words[-1]) + 32 <= len(memory._bytes):
                    before = left
                    words[-1] = int.from_bytes(memory._bytes[start : start + 32], "big")
                    at = following
                    continue
            elif kind == _UNARY:
                if words:
                    before = left
                    words[-1] = operand(words[-1])
                    at = following
                    continue
            elif kind == _STORED:
                if words:
                    slot = words[-1]
                    warm = state.is_storage_warm(address, slot)
                    left -= WARM_STORAGE_READ_COST if warm else COLD_SLOAD_COST
                    if left >= 0:
                        before = left
                        if not warm:
                            state.mark_storage_warm(address, slot)
                        words[-1] = state.get_storage(address, slot)
                        at = following
                        continue
            elif kind == _HASH:
                if len(words) > 1 and (end := words[-1] + words[-2]) <= len(memory._bytes):
                    left -= GAS_SHA3WORD * (words[-2] + 31 >> 5)
                    if left >= 0:
                        before = left
                        hashed = bytes(memory._bytes[words.pop() : end])
                        words[-1] = int.from_bytes(keccak(hashed), "big")
                        at = following
                        continue
            elif kind == _INPUT and words:
                before = left
                start = words[-1]
                words[-1] = int.from_bytes(data[start : start + 32].ljust(32, b"\0"), "big")
                at = following
                continue
        code.program_counter = at + 1  # as py-evm has it while an instruction is executed
        meter.gas_remaining = before
        function(computation=computation)
        before = meter.gas_remaining
        if words and type(words[-1]) is not int:
            words[-1] = to_int(words[-1])
        at = code.program_counter


@functools.lru_cache(maxsize=1024)
def _growth(before: int, after: int) -> int:
    """Return the gas of memory that grows to so many words."""
    return 3 * (after - before) + after * after // 512 - before * before // 512


@functools.lru_cache(maxsize=64)
def _table(code: bytes) -> tuple[list[_Place], frozenset[int]]:
    """Return what each place of the code does, with a stop behind its end, and the places that may be jumped to."""
    opcodes = TableComputation.opcodes
    places: list[_Place] = []
    labels = set()
    data_until = 0
    for at, value in enumerate(code):
        function = opcodes[value] if value in opcodes else InvalidOpcode(value)
        kind, following = _CALL, at + 1
        operand: Any = None
        if op.PUSH1 <= value <= op.PUSH32:
            size = value - op.PUSH1 + 1
            following = min(at + 1 + size, len(code))
            kind, operand = _PUSH, int.from_bytes(code[at + 1 : following].ljust(size, b"\0"), "big")
        elif op.DUP1 <= value <= op.DUP16:
            kind, operand = _DUP, value - op.DUP1 + 1
        elif op.SWAP1 <= value <= op.SWAP16:
            kind, operand = _SWAP, value - op.SWAP1 + 1
        elif value in _BINARY_OF:
            kind, operand = _BINARY, _BINARY_OF[value]
        elif value in _UNARY_OF:
            kind, operand = _UNARY, _UNARY_OF[value]
        else:
            kind = _OTHERS.get(value, _CALL)
        if at >= data_until:
            if kind == _LABEL:
                labels.add(at)
            data_until = following
        places.append((kind, function.gas_cost if kind not in (_CALL, _STORED) else 0, operand, following, function))
    places.append((_CALL, 0, None, len(code) + 1, opcodes[op.STOP]))
    for at, (kind, gas, operand, following, function) in enumerate(places):
        if kind == _PUSH and operand in labels and following < len(code) and code[following] in (op.JUMP, op.JUMPI):
            jump = opcodes[code[following]]
            both = _PUSH_JUMP if code[following] == op.JUMP else _PUSH_JUMP_IF
            places[at] = both, gas + jump.gas_cost, operand + 1, following + 1, function
    return places, frozenset(labels)
