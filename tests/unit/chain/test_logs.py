from collections.abc import Sequence
from typing import Any

import pytest
from hexbytes import HexBytes
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from web3 import Web3
from web3.contract import Contract

from fbfl.chain.embedded.chain import EmbeddedChain
from fbfl.chain.logs import Event, LogScanner
from fbfl.errors import ChainError, NodeUnavailableError


def enter(ledger: Contract, *values: int) -> None:
    for value in values:
        ledger.functions.enter(value).transact({"gas": 100_000})


def scanner_of(chain: EmbeddedChain, ledger: Contract, w3: Web3 | None = None, **options: Any) -> LogScanner:
    return LogScanner(w3 or chain.w3, {ledger.address: ledger.abi}, **options)


def values(events: Sequence[Event]) -> list[int]:
    return [event.args["value"] for event in events if event.name == "Entered"]


def test_events_come_once_in_order_with_where_they_are_from(chain: EmbeddedChain, ledger: Contract) -> None:
    scanner = scanner_of(chain, ledger, start=chain.w3.eth.block_number + 1)
    assert scanner.scan().events == []
    enter(ledger, 7, 8)
    first, second = scanner.scan().events
    assert (first.name, dict(first.args)) == ("Entered", {"sender": chain.accounts[0], "number": 1, "value": 7})
    assert (first.block, second.block) == (chain.w3.eth.block_number - 1, chain.w3.eth.block_number)
    block = chain.w3.eth.get_block("latest")
    assert (second.block_hash, second.transaction) == (bytes(block["hash"]), bytes(block["transactions"][0]))  # type: ignore[arg-type]
    assert scanner.scan().events == []
    enter(ledger, 9)
    assert values(scanner.scan().events) == [9]


def test_events_about_something_else_are_not_asked_for(chain: EmbeddedChain, ledger: Contract) -> None:
    own, other = chain.accounts[:2]
    for sender, value in ((own, 7), (other, 8), (own, 9)):
        ledger.functions.enter(value).transact({"from": sender, "gas": 100_000})
    assert values(scanner_of(chain, ledger).scan().events) == [7, 8, 9]
    for sender, expected in ((own, [7, 9]), (other, [8]), (ledger.address, [])):
        assert values(scanner_of(chain, ledger, about={ledger.address: int(sender, 16)}).scan().events) == expected


def test_small_chunks_give_the_same_events(chain: EmbeddedChain, ledger: Contract) -> None:
    enter(ledger, *range(5, 12))
    with chain.one_block():
        enter(ledger, 20, 21)
    for chunk in (1, 2, 3, 1000):
        assert values(scanner_of(chain, ledger, chunk=chunk).scan().events) == [*range(5, 12), 20, 21]


def test_a_reorganisation_is_told_and_read_again(chain: EmbeddedChain, ledger: Contract) -> None:
    scanner = scanner_of(chain, ledger)
    enter(ledger, 7)
    fork = chain.w3.eth.block_number
    assert scanner.scan().rewound_to is None
    before = chain.snapshot()
    enter(ledger, 8, 9)
    assert values(scanner.scan().events) == [8, 9]
    chain.revert(before)
    enter(ledger, 10, 11, 12)
    scan = scanner.scan()
    assert scan.rewound_to == fork
    assert values(scan.events) == [10, 11, 12]


def test_what_is_doubted_is_read_again_even_if_the_node_fails_meanwhile(
    chain: EmbeddedChain, ledger: Contract, monkeypatch: pytest.MonkeyPatch
) -> None:
    scanner = scanner_of(chain, ledger, chunk=1)
    enter(ledger, 7, 8, 9)
    assert values(scanner.scan().events) == [7, 8, 9]
    last = chain.w3.eth.block_number
    scanner.doubt(last - 1)
    with monkeypatch.context() as patch:
        patch.setattr(chain.w3.eth, "get_logs", None)
        with pytest.raises(TypeError):
            scanner.scan()
    scan = scanner.scan()
    assert (scan.rewound_to, values(scan.events)) == (last - 2, [8, 9])
    assert scanner.scan().rewound_to is None


def test_a_chain_that_became_shorter_is_noticed(chain: EmbeddedChain, ledger: Contract) -> None:
    scanner = scanner_of(chain, ledger)
    scanner.scan()
    before, number = chain.snapshot(), chain.w3.eth.block_number
    enter(ledger, 7)
    scanner.scan()
    chain.revert(before)
    scan = scanner.scan()
    assert (scan.rewound_to, scan.events) == (number, [])


def test_a_chain_without_any_known_block_is_read_from_the_start(chain: EmbeddedChain, ledger: Contract) -> None:
    enter(ledger, 7)
    scanner = scanner_of(chain, ledger, start=1)
    scanner._checkpoints = [(1, bytes([0x11] * 32))]
    scan = scanner.scan()
    assert scan.rewound_to == 0
    assert values(scan.events) == [7]


@pytest.mark.parametrize("part", [{"data": HexBytes("0x12")}, {"data": HexBytes(b"")}, {"topics": 3}])
def test_a_log_that_is_none_of_its_event_is_told(
    chain: EmbeddedChain, ledger: Contract, part: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    enter(ledger, 7)
    get_logs = chain.w3.eth.get_logs

    def spoiled(wanted: Any) -> list[Any]:
        found = [{**log} for log in get_logs(wanted)]
        return [{**log, **(part if "data" in part else {"topics": log["topics"] * part["topics"]})} for log in found]

    monkeypatch.setattr(chain.w3.eth, "get_logs", spoiled)
    with pytest.raises(ChainError, match=r"^the node's log \d+ of block \d+ is no \w+: "):
        scanner_of(chain, ledger).scan()


def test_a_log_with_a_text_longer_than_any_is_told() -> None:
    w3, address = Web3(), Web3.to_checksum_address("0x" + "12" * 20)
    said = {"type": "event", "name": "Said", "inputs": [{"name": "text", "type": "string"}]}
    log: Any = {
        "address": address,
        "topics": [HexBytes(w3.keccak(text="Said(string)"))],
        "data": HexBytes((32).to_bytes(32) + (2**255).to_bytes(32)),
        "blockNumber": 7,
        "logIndex": 0,
    }
    with pytest.raises(ChainError, match=r"^the node's log 0 of block 7 is no Said: "):
        LogScanner(w3, {address: [said]}).decoded([log])


def test_other_contracts_and_unknown_events_are_passed_over(chain: EmbeddedChain, ledger: Contract) -> None:
    enter(ledger, 7)
    stranger = Web3.to_checksum_address("0x" + "ab" * 20)
    assert LogScanner(chain.w3, {stranger: ledger.abi}).scan().events == []
    assert LogScanner(chain.w3, {ledger.address: []}).scan().events == []


def test_a_node_that_limits_its_answers_gets_smaller_questions(chain: EmbeddedChain, ledger: Contract) -> None:
    enter(ledger, 7, 8, 9)
    w3 = Web3(chain.w3.provider)  # asks by JSON-RPC
    provider = w3.provider
    answer = provider.make_request

    def limited(method: Any, params: Any) -> Any:
        if method == "eth_getLogs" and params[0]["to_block"] - params[0]["from_block"] >= 2:
            return {"id": 1, "jsonrpc": "2.0", "error": {"code": -32005, "message": "too many blocks"}}
        return answer(method, params)

    provider.make_request = limited  # type: ignore[method-assign]
    provider._request_func_cache = (None, None)  # type: ignore[assignment]
    try:
        assert values(scanner_of(chain, ledger, w3).scan().events) == [7, 8, 9]
    finally:
        del provider.make_request
        provider._request_func_cache = (None, None)  # type: ignore[assignment]


def test_what_was_read_before_the_node_failed_is_told_by_the_next_scan(chain: EmbeddedChain, ledger: Contract) -> None:
    w3 = Web3(chain.w3.provider)  # asks by JSON-RPC
    scanner = scanner_of(chain, ledger, w3, chunk=1)
    enter(ledger, 7)
    before = chain.snapshot()
    enter(ledger, 8)
    assert values(scanner.scan().events) == [7, 8]
    number = chain.w3.eth.block_number - 1
    chain.revert(before)
    chain.travel(3)
    enter(ledger, 9, 10)
    provider = w3.provider
    answer = provider.make_request

    def failing(method: Any, params: Any) -> Any:
        if method == "eth_getLogs" and params[0]["from_block"] == chain.w3.eth.block_number:
            raise NodeUnavailableError("no node answers")
        return answer(method, params)

    provider.make_request = failing  # type: ignore[method-assign]
    provider._request_func_cache = (None, None)  # type: ignore[assignment]
    try:
        with pytest.raises(NodeUnavailableError):
            scanner.scan()
    finally:
        del provider.make_request
        provider._request_func_cache = (None, None)  # type: ignore[assignment]
    scan = scanner.scan()
    assert (scan.rewound_to, values(scan.events)) == (number, [9, 10])


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # an example takes a second: shrinking would take minutes
)
@given(steps=st.lists(st.sampled_from(["enter", "fork", "scan"]), min_size=4, max_size=14))
def test_whatever_happens_a_follower_knows_exactly_the_chains_events(
    chain: EmbeddedChain, ledger: Contract, steps: list[str]
) -> None:
    start = chain.snapshot()
    snapshots = [start]
    scanner = scanner_of(chain, ledger, chunk=3)
    known: list[Event] = []
    for value, step in enumerate([*steps, "scan"], start=5):
        if step == "enter":
            enter(ledger, value)
            snapshots.append(chain.snapshot())
        elif step == "fork":
            snapshots = snapshots[: len(snapshots) // 2 + 1]
            chain.revert(snapshots[-1])
            chain.travel(value)
        else:
            scan = scanner.scan()
            if scan.rewound_to is not None:
                known = [event for event in known if event.block <= scan.rewound_to]
            known += scan.events
    logs = ledger.events.Entered().get_logs(from_block=0)
    entered = [event for event in known if event.name == "Entered"]
    assert [(event.block_hash, event.args["value"]) for event in entered] == [
        (bytes(log["blockHash"]), log["args"]["value"]) for log in logs
    ]
    chain.revert(start)
