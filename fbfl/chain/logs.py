"""Reading contract events from the chain: in order, each once, with reorganisations noticed.

Only `eth_getLogs` is used: filters that a node keeps for its client vanish with the node.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from eth_abi.codec import ABICodec
from eth_abi.decoding import StringDecoder
from eth_abi.encoding import TextStringEncoder
from eth_abi.registry import ABIRegistry, BaseEquals, registry
from eth_typing import ABIEvent, BlockNumber, ChecksumAddress, HexStr
from eth_utils.abi import collapse_if_tuple, event_abi_to_log_topic
from hexbytes import HexBytes
from web3 import Web3
from web3.exceptions import LogTopicError, Web3RPCError
from web3.types import FilterParams, LogReceipt

from fbfl.chain import words
from fbfl.chain.calls import UNDECODED
from fbfl.chain.head import hash_of
from fbfl.chain.keys import checksummed
from fbfl.chain.reverts import ABI
from fbfl.errors import ChainError

CHECKPOINTS = 64
"""Number of blocks that the scanner can go back to before it starts over."""

MAX_REQUESTS = 1_000_000


class _AnyText(StringDecoder):
    """Strings in events, also those that are not UTF-8: contracts take any bytes, and readers must not stop at them."""

    @staticmethod
    def decoder_fn(data: bytes, handle_string_errors: str = "backslashreplace") -> str:  # noqa: ARG004
        return data.decode("utf-8", "backslashreplace")


def _codec() -> ABICodec:
    lenient: ABIRegistry = registry.copy()  # type: ignore[no-untyped-call]
    lenient.unregister("string")
    text = BaseEquals("string", with_sub=False)  # type: ignore[no-untyped-call]
    lenient.register(text, TextStringEncoder, _AnyText, label="string")
    return ABICodec(lenient)


_CODEC = _codec()


class EventDecoder:
    """Decodes the logs of one event as web3 does, which works out anew for each log what follows from the ABI alone."""

    def __init__(self, abi: ABIEvent) -> None:
        self.name = abi["name"]
        inputs = abi.get("inputs", [])
        self._indexed = [each for each in inputs if each.get("indexed")]
        self._plain = [each for each in inputs if not each.get("indexed")]
        # Of what has no fixed size the topic holds a hash.
        self._topic_types = ["bytes32" if _is_dynamic(each["type"]) else each["type"] for each in self._indexed]
        self._types = [collapse_if_tuple(cast(Any, each)) for each in self._plain]

    def arguments(self, log: LogReceipt) -> dict[str, Any]:
        """Return the event's arguments by name; a log that does not fit the ABI raises `LogTopicError` or
        an error of `UNDECODED`.
        """
        topics = log["topics"][1:]
        if len(topics) != len(self._indexed):
            raise LogTopicError(f"{self.name} has {len(self._indexed)} indexed arguments, the log {len(topics)}")
        indexed = [_decoded([kind], topic)[0] for kind, topic in zip(self._topic_types, topics, strict=True)]
        values = _decoded(self._types, log["data"])
        named = zip((*self._indexed, *self._plain), (*indexed, *values), strict=True)
        return {str(each["name"]): _named(each, each["type"], value) for each, value in named}


def _decoded(types: Sequence[str], data: bytes) -> Sequence[Any]:
    return words.values(f"({','.join(types)})", data, lambda: _CODEC.decode(types, data))


def _is_dynamic(kind: str) -> bool:
    return kind in ("string", "bytes", "tuple") or kind.endswith("]")


def _named(parameter: Any, kind: str, value: Any) -> Any:
    """Return a decoded value with checksummed addresses, and structs by the names of their fields."""
    if kind.endswith("]"):
        inner = kind[: kind.rindex("[")]
        return [_named(parameter, inner, item) for item in value]
    if kind == "address":
        return checksummed(value)
    if kind == "tuple":
        fields = zip(parameter["components"], value, strict=True)
        return {field["name"]: _named(field, field["type"], item) for field, item in fields}
    return value


@dataclass(frozen=True)
class Event:
    """One event of a contract; `args` by parameter name, as web3 decodes them."""

    name: str
    args: Mapping[str, Any]
    address: ChecksumAddress
    block: int
    block_hash: bytes
    transaction: bytes
    index: int


@dataclass(frozen=True)
class Scan:
    """New events in chain order; after a reorganisation, also the block after which everything is new.

    With `rewound_to` = n, everything that earlier scans said about blocks above n is void.
    """

    events: Sequence[Event]
    rewound_to: int | None


class LogScanner:
    """Follows the events of some contracts from block `start` on.

    `contracts` maps addresses to ABIs; unknown events are passed over. `chunk` is how many blocks one request covers;
    nodes that find it too much get smaller ones. `about` has, for some of the contracts, the number that events must
    have as their first indexed value: others are not read.
    """

    def __init__(
        self,
        w3: Web3,
        contracts: Mapping[ChecksumAddress, ABI],
        *,
        start: int = 0,
        chunk: int = 1000,
        about: Mapping[ChecksumAddress, int] | None = None,
    ) -> None:
        self._w3 = w3
        self._start = start
        self._chunk = chunk
        self._events = {
            (address, HexBytes(event_abi_to_log_topic(cast(ABIEvent, entry)))): EventDecoder(cast(ABIEvent, entry))
            for address, abi in contracts.items()
            for entry in abi
            if entry["type"] == "event"
        }
        self._wanted: list[FilterParams] = []
        numbers = {address: (about or {}).get(address) for address in contracts}
        for number in dict.fromkeys(numbers.values()):
            wanted = FilterParams(address=[address for address in contracts if numbers[address] == number])
            if number is not None:
                wanted["topics"] = [None, HexStr("0x" + number.to_bytes(32).hex())]
            self._wanted.append(wanted)
        # (number, hash) of blocks up to which everything was read, oldest first.
        self._checkpoints: list[tuple[int, bytes]] = []
        self._doubted = False

    def scan(self) -> Scan:
        """Read up to the head.

        Where the node fails in between, nothing counts as read: the next scan tells all of it.
        """
        before = list(self._checkpoints), self._doubted
        try:
            return self._scan()
        except BaseException:
            self._checkpoints, self._doubted = before
            raise

    def doubt(self, block: int) -> None:
        """Have the next scan read again from this block on: the node may not have known all of its events."""
        self._checkpoints = [checkpoint for checkpoint in self._checkpoints if checkpoint[0] < block]
        self._doubted = True

    def _scan(self) -> Scan:
        events: list[Event] = []
        rewound_to: int | None = None
        for _ in range(MAX_REQUESTS):
            back = self._rewind()
            if back is not None:
                rewound_to = back if rewound_to is None else min(back, rewound_to)
                events = [event for event in events if event.block <= back]
            first = self._checkpoints[-1][0] + 1 if self._checkpoints else self._start
            target = self._w3.eth.block_number
            if first > target:
                return Scan(events, rewound_to)
            events += self._read_chunk(first, min(first + self._chunk - 1, target))
        raise ChainError(f"the chain changed faster than its logs could be read, at block {first}")

    def _rewind(self) -> int | None:
        """Drop the checkpoints that left the chain; return the last block that is still good, if any were dropped."""
        dropped, self._doubted = self._doubted, False
        while not self._stands():
            self._checkpoints.pop()
            dropped = True
        if not dropped:
            return None
        return self._checkpoints[-1][0] if self._checkpoints else self._start - 1

    def _stands(self) -> bool:
        """Return True if the newest checkpoint is on the chain."""
        return not self._checkpoints or hash_of(self._w3, self._checkpoints[-1][0]) == self._checkpoints[-1][1]

    def _read_chunk(self, first: int, last: int) -> list[Event]:
        """Return the events of these blocks, or none and no progress if the chain changed meanwhile."""
        before = hash_of(self._w3, last)
        try:
            logs: list[LogReceipt] = []
            for wanted in self._wanted:
                logs += self._w3.eth.get_logs({"fromBlock": BlockNumber(first), "toBlock": BlockNumber(last), **wanted})
        except Web3RPCError as error:
            if first == last:
                raise ChainError(f"the node refused to read the logs of block {first}: {error}") from error
            # Too many blocks or too many results at once, which every node words differently.
            self._chunk = (last - first + 1) // 2
            return []
        if before is None or hash_of(self._w3, last) != before or not self._stands():
            return []
        self._checkpoints = [*self._checkpoints[-(CHECKPOINTS - 1) :], (last, before)]
        return self.decoded(sorted(logs, key=lambda log: (log["blockNumber"], log["logIndex"])))

    def decoded(self, logs: Iterable[LogReceipt]) -> list[Event]:
        """Return the known events among logs, in their order."""
        return [event for log in logs if (event := self._decode(log)) is not None]

    def _decode(self, log: LogReceipt) -> Event | None:
        decoder = self._events.get((log["address"], log["topics"][0])) if log["topics"] else None
        if decoder is None:
            return None
        try:
            arguments = decoder.arguments(log)
        except (*UNDECODED, LogTopicError) as error:
            raise ChainError(
                f"the node's log {log['logIndex']} of block {log['blockNumber']} is no {decoder.name}: {error}"
            ) from error
        return Event(
            name=decoder.name,
            args=arguments,
            address=log["address"],
            block=log["blockNumber"],
            block_hash=bytes(log["blockHash"]),
            transaction=bytes(log["transactionHash"]),
            index=log["logIndex"],
        )
