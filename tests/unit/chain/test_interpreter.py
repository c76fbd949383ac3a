"""The interpreter of embedded chains does what py-evm's own does, on random programs."""

from typing import Any

import pytest
from eth.chains.base import MiningChain
from eth.constants import SECPK1_N
from eth.db.atomic import AtomicDB
from eth.vm import opcode_values as op
from eth.vm.forks.london import LondonVM
from eth.vm.forks.london.computation import LondonComputation
from eth.vm.message import Message
from eth.vm.stack import to_int
from eth_typing import Address, BlockNumber
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fbfl.chain.embedded.chain import default_genesis
from fbfl.chain.embedded.interpreter import _COMPUTED, TableComputation
from fbfl.chain.keys import sign

DIGEST = b"\5" * 32
SIGNED = sign(b"\7" * 32, DIGEST)


def word(number: int) -> bytes:
    """The word of a number."""
    return number.to_bytes(32, "big")


SENDER, CONTRACT, RECOVER = Address(b"\1" * 20), Address(b"\2" * 20), Address(b"\1".rjust(20, b"\0"))


def pushed(number: int) -> bytes:
    """The instruction that pushes a number, with as many bytes as it takes."""
    size = max(1, (number.bit_length() + 7) // 8)
    return bytes([op.PUSH1 + size - 1]) + number.to_bytes(size, "big")


# Places to jump to are small numbers, and the edges of a word are where arithmetic goes wrong.
numbers = st.one_of(st.integers(0, 40), st.sampled_from([255, 256, 2**255, 2**256 - 1]))
pushes = numbers.map(pushed)
UNTRIED = (op.CREATE, op.CREATE2, op.SELFDESTRUCT)
others = st.sampled_from([value for value in LondonComputation.opcodes if value not in UNTRIED])
anything = st.one_of(others, others, st.integers(0, 255).filter(lambda value: value not in UNTRIED))
inlined = st.sampled_from([op.POP, op.JUMPDEST, op.MLOAD, op.MSTORE, op.CALLDATALOAD, *_COMPUTED])
jumps = st.sampled_from([op.JUMP, op.JUMPI])
moves = st.sampled_from([*range(op.DUP1, op.DUP16 + 1), *range(op.SWAP1, op.SWAP16 + 1)])


def load_behind(word: int) -> bytes:
    """Read a word that ends a byte behind what was written."""
    return pushed(1) + pushed(32 * word) + bytes([op.MSTORE]) + pushed(32 * word + 1) + bytes([op.MLOAD])


def store_behind(word: int) -> bytes:
    """Write a word that ends a byte behind what was written, or within it."""
    return b"".join(pushed(word) + pushed(32 * word + late) + bytes([op.MSTORE]) for late in (0, 1, 0, 700))


def hash_of(size: int) -> bytes:
    """Hash some of what was written, or what lies behind it, too."""
    return pushed(7) + pushed(32) + bytes([op.MSTORE]) + pushed(size) + pushed(1) + bytes([op.SHA3])


def after(*words: st.SearchStrategy[bytes], do: st.SearchStrategy[int]) -> st.SearchStrategy[bytes]:
    """An instruction, after some that push its words."""
    return st.tuples(*words, do.map(lambda value: bytes([value]))).map(b"".join)


steps = st.one_of(
    after(pushes, do=inlined),
    after(pushes, pushes, do=inlined),
    after(pushes, pushes, do=moves),
    st.integers(0, 3).map(load_behind),
    st.integers(0, 3).map(store_behind),
    st.sampled_from([0, 1, 32, 33, 63, 64, 2**255]).map(hash_of),
)
rare = st.one_of(after(pushes, pushes, do=jumps), after(pushes, pushes, pushes, do=anything))
# Enough words for most moves, steps that go well, and what may end the program.
programs = st.tuples(st.lists(pushes, min_size=10, max_size=18), st.lists(steps, max_size=12), rare, rare).map(
    lambda parts: b"".join([*parts[0], *parts[1], *parts[2:]])
)


class Chain(MiningChain):
    chain_id = 1
    vm_configuration = ((BlockNumber(0), LondonVM),)


def outcome(kind: type[Any], code: bytes, gas: int) -> dict[str, Any]:
    """Traces that the execution of a program leaves."""
    genesis = default_genesis(1)
    # With nothing, its account would be there until the transaction ends, where a call of it makes a computation.
    alloc = {**genesis.alloc, RECOVER: next(iter(genesis.alloc.values()))}
    state = Chain.from_genesis(AtomicDB(), dict(genesis.header), alloc).get_vm().state
    context = state.get_transaction_context_class()(gas_price=7, origin=SENDER)
    message = Message(gas, CONTRACT, SENDER, 0, b"calldata" * 8, code)
    computation = kind.apply_message(state, message, context)
    error = computation._error
    return {
        "error": None if error is None else (type(error), str(error)),
        "gas": (computation.get_gas_remaining(), computation._gas_meter.gas_refunded),
        "output": computation.output,
        "words": [to_int(word) for word in computation._stack.values],
        "memory": bytes(computation._memory._bytes),
        "logs": computation.get_log_entries(),
        "state": state.make_state_root(),
    }


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(programs, st.sampled_from([0, 20, 100, 60_000]))
def test_random_programs_end_alike(code: bytes, gas: int) -> None:
    assert outcome(TableComputation, code, gas) == outcome(LondonComputation, code, gas)


@pytest.mark.parametrize("size", [1, 2, 7, 32])
def test_a_push_that_the_code_cuts_off_ends_alike(size: int) -> None:
    for there in range(size):
        for before in (b"", bytes([op.MLOAD])):  # which grows memory, so that what follows is executed one by one
            code = bytes([op.PUSH1, 0]) + before + bytes([op.PUSH1 + size - 1]) + b"\1" * there
            for gas in (*range(16), 60_000):
                assert outcome(TableComputation, code, gas) == outcome(LondonComputation, code, gas)


def test_words_that_do_not_fit_are_refused_alike() -> None:
    for last in (bytes([op.PUSH1, 1]), bytes([op.DUP1]), bytes([op.SWAP1])):
        code = bytes([op.PUSH1, 1]) * 1023 + last * 3
        assert outcome(TableComputation, code, 60_000) == outcome(LondonComputation, code, 60_000)


@pytest.mark.parametrize("first", [op.DUP1, op.SWAP1])
def test_words_that_are_not_there_are_refused_alike(first: int) -> None:
    for number in range(16):
        for words in (number, number + 1, number + 2):
            code = bytes([op.PUSH1, 1]) * words + bytes([first + number])
            assert outcome(TableComputation, code, 60_000) == outcome(LondonComputation, code, 60_000)


def jump_over(condition: bytes, jump: int, target: int = 8) -> bytes:
    """Push a place and jump there, over a write to storage, or not."""
    here = condition + bytes([op.PUSH2, 0, target, jump])
    return here.ljust(target, bytes([op.CALLER])) + bytes([op.JUMPDEST]) + pushed(3) + bytes([op.SLOAD])


@pytest.mark.parametrize(
    "code",
    [
        jump_over(b"", op.JUMP),
        jump_over(pushed(1), op.JUMPI),
        jump_over(pushed(0), op.JUMPI),
        jump_over(b"", op.JUMPI),  # without a condition
        jump_over(b"", op.JUMP)[:-4],  # to no label
        pushed(5) + bytes([op.SLOAD]) + pushed(5) + bytes([op.SLOAD, op.ADD]),
        bytes([op.SLOAD]),
        hash_of(0),
        hash_of(33),
        hash_of(63),
        hash_of(64),
        store_behind(1) + pushed(4) + bytes([op.NOT]),
        load_behind(2) + bytes([op.ISZERO]),
        bytes([op.PUSH1, 1, op.SHA3]),
        bytes([op.PUSH1, 1, op.PUSH4, 7]),  # ends within what is pushed
    ],
)
def test_programs_end_alike_with_whatever_gas(code: bytes) -> None:
    for gas in (*range(80), *range(2100, 2135), 60_000):
        assert outcome(TableComputation, code, gas) == outcome(LondonComputation, code, gas)


@pytest.mark.parametrize("jump", [op.JUMP, op.JUMPI])
def test_a_place_to_jump_to_that_does_not_fit_is_refused_alike(jump: int) -> None:
    for words in (1022, 1023, 1024):
        code = bytes([op.PUSH1, 1]) * words
        code += bytes([op.PUSH2, *(len(code) + 4).to_bytes(2, "big"), jump, op.JUMPDEST])
        assert outcome(TableComputation, code, 60_000) == outcome(LondonComputation, code, 60_000)


SIGNATURE = DIGEST + word(27 + SIGNED[2]) + word(SIGNED[0]) + word(SIGNED[1])


@pytest.mark.parametrize(
    "given",
    [
        SIGNATURE,
        DIGEST + word(28 - SIGNED[2]) + word(SIGNED[0]) + word(SIGNED[1]),  # by somebody else
        DIGEST + word(26) + word(SIGNED[0]) + word(SIGNED[1]),
        DIGEST + word(27) + word(0) + word(SIGNED[1]),
        DIGEST + word(27) + word(SIGNED[0]) + word(2**256 - 1),
        DIGEST + word(27) + word(SECPK1_N) + word(SIGNED[1]),
        DIGEST + word(27) + word(SIGNED[0]) + word(SECPK1_N - SIGNED[1]) + b"more",
        DIGEST,
        b"",
    ],
)
def test_a_signature_is_recovered_alike(given: bytes) -> None:
    found = []
    for kind in (TableComputation, LondonComputation):
        genesis = default_genesis(1)
        state = Chain.from_genesis(AtomicDB(), dict(genesis.header), dict(genesis.alloc)).get_vm().state
        context = state.get_transaction_context_class()(gas_price=7, origin=SENDER)
        for gas in (2_999, 3_000):
            computation = kind.apply_message(state, Message(gas, RECOVER, SENDER, 0, given, b""), context)
            found.append((computation.output, computation.get_gas_remaining(), type(computation._error)))
    assert found[:2] == found[2:]


def asking(given: bytes, asked: int, start: int, size: int, to: int, room: int) -> bytes:
    """Write what is given to memory, and ask the first precompiled contract twice: at first its address is cold."""
    words = [given[place : place + 32].ljust(32, b"\0") for place in range(0, len(given), 32)]
    kept = [
        pushed(int.from_bytes(each, "big")) + pushed(32 * place) + bytes([op.MSTORE])
        for place, each in enumerate(words)
    ]
    call = b"".join(map(pushed, (room, to, size, start, 1, asked))) + bytes([op.STATICCALL, op.RETURNDATASIZE])
    return b"".join(kept) + call + call


@pytest.mark.parametrize("given", [SIGNATURE, bytes(128)])
@pytest.mark.parametrize("asked", [2_999, 3_000, 2**255])
@pytest.mark.parametrize(
    "memory",
    [(0, 128, 0, 32), (0, 128, 96, 32), (0, 128, 97, 32), (0, 127, 5, 7), (1, 128, 0, 0), (2**255, 0, 0, 32)],
)
def test_a_contract_recovers_a_signature_alike(given: bytes, asked: int, memory: tuple[int, int, int, int]) -> None:
    code = asking(given, asked, *memory)
    for gas in (5_900, *range(8_700, 8_960, 64), 60_000):
        assert outcome(TableComputation, code, gas) == outcome(LondonComputation, code, gas)
