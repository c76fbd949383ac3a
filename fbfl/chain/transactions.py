"""Sending transactions from one account, until they are mined or refused."""

import threading
import time
from dataclasses import dataclass, field
from typing import Any, Protocol, cast, runtime_checkable

from eth_account.signers.local import LocalAccount
from eth_typing import ChecksumAddress, HexStr
from hexbytes import HexBytes
from web3 import Web3
from web3.contract.contract import ContractConstructor, ContractFunction
from web3.exceptions import TransactionNotFound, Web3RPCError
from web3.types import BlockData, Nonce, TxParams, TxReceipt, Wei

from fbfl.chain.calls import data_of
from fbfl.chain.reverts import ABI, decode_revert, decoded_reverts
from fbfl.chain.signing import signed
from fbfl.errors import ChainError, ContractRevertError, NodeUnavailableError
from fbfl.system.backoff import pause_after

DEFAULT_GAS = 1_000_000
TIP = Wei(10**9)
"""Wei per gas for the miner."""


Call = ContractFunction | ContractConstructor


@runtime_checkable
class KnowsReasons(Protocol):
    """A node that knows why a transaction failed, for a while."""

    def reason_of(self, receipt: TxReceipt) -> bytes | None:
        """Return what the transaction reverted with, in its place in its block; None if that is not known any more."""


@dataclass
class Sent:
    """A transaction on its way: what it does, and every hash under which it may be mined (one per fee)."""

    transaction: TxParams
    abi: ABI
    hashes: list[HexBytes] = field(default_factory=list)


class Sender:
    """Sends from one account: an address whose key the node holds, or an account with its key here.

    Several transactions can be on their way at once. `timeout` in seconds is how long one may take to be mined, over
    `attempts` of rising fees.
    """

    def __init__(
        self,
        w3: Web3,
        account: ChecksumAddress | LocalAccount,
        *,
        timeout: float = 120.0,
        attempts: int = 3,
    ) -> None:
        self.w3 = w3
        self.address = account.address if isinstance(account, LocalAccount) else account
        self.timeout = timeout
        self.attempts = attempts
        self._account = account if isinstance(account, LocalAccount) else None
        self._chain_id = w3.eth.chain_id
        self._lock = threading.Lock()
        self._unmined: dict[Nonce, Sent] = {}

    def transact(self, call: Call, *, gas: int | None = None, value: int = 0) -> TxReceipt:
        """Send a call, or a deployment, and wait until it is mined; raises what `send` and `wait` raise."""
        return self.wait(self.send(call, gas=gas, value=value))

    def ask(self, call: ContractFunction, *, gas: int | None = None, value: int = 0) -> None:
        """Have the node execute a call on its newest state; raises what `send` and `wait` raise where it is refused."""
        try:
            with decoded_reverts(cast(Any, call.contract_abi)):
                call.call({"from": self.address, "gas": gas or DEFAULT_GAS, "value": Wei(value)})
        except Web3RPCError as error:
            raise self._refused_by_node(error) from error

    def send(self, call: Call, *, gas: int | None = None, value: int = 0) -> Sent:
        """Send a call without waiting for it; `gas` and `value` (wei) are its limits.

        A node that does not take the transaction raises `ChainError`.
        """
        abi: ABI = cast(Any, call.contract_abi if isinstance(call, ContractFunction) else call.abi)
        with self._lock:
            for retry in (True, False):
                nonce = self._next_nonce()
                fields: TxParams = {"from": self.address, "nonce": nonce, "chainId": self._chain_id}
                limits: TxParams = {"gas": gas or DEFAULT_GAS, "value": Wei(value), **self._fees()}
                sent = Sent(_transaction(call, {**fields, **limits}), abi)
                try:
                    self._submit(sent)
                    self._unmined[nonce] = sent
                    break
                except ChainError as error:
                    # Another process may have used the nonce, or the base fee has more than doubled.
                    if not (retry and ("nonce" in str(error).lower() or "fee" in str(error).lower())):
                        raise
        return sent

    def wait(self, sent: Sent) -> TxReceipt:
        """Wait for the receipt of a transaction; send it again with higher fees while it is not mined.

        A contract that refused raises `ContractRevertError`; running out of time raises `NodeUnavailableError`.
        """
        for attempt in range(self.attempts):
            if attempt:
                self._raise_fees(sent)
            receipt = self._poll(sent, self.timeout / self.attempts)
            if receipt is not None:
                if not receipt["status"]:
                    raise self._failure(sent, receipt)
                return receipt
        raise NodeUnavailableError(
            f"transaction {sent.hashes[-1].to_0x_hex()} of {self.address} was not mined within {self.timeout:g} s"
        )

    def _next_nonce(self) -> Nonce:
        # Ask the node: a restart, another process or a reorganisation may have changed it.
        nonce = self.w3.eth.get_transaction_count(self.address, "pending")
        self._unmined = {number: sent for number, sent in self._unmined.items() if number >= nonce}
        while nonce in self._unmined and self._is_known(self._unmined[nonce].hashes[-1]):
            nonce = Nonce(nonce + 1)  # Ganache counts no transaction that is not mined
        return nonce

    def _fees(self) -> TxParams:
        block: BlockData = self.w3.eth.get_block("latest")
        if block.get("baseFeePerGas") is None:  # a chain before London
            return {"gasPrice": max(self.w3.eth.gas_price, TIP)}
        # Twice the base fee holds for six full blocks on end.
        return {"maxFeePerGas": Wei(2 * block["baseFeePerGas"] + TIP), "maxPriorityFeePerGas": TIP}

    def _submit(self, sent: Sent) -> None:
        try:
            with decoded_reverts(sent.abi):
                if self._account:
                    raw, transaction_hash = map(HexBytes, signed(self._account, sent.transaction))
                    self._submit_once(raw, transaction_hash)
                    sent.hashes.append(transaction_hash)
                else:
                    sent.hashes.append(self.w3.eth.send_transaction(sent.transaction))
        except Web3RPCError as error:
            raise self._refused_by_node(error) from error

    def _refused_by_node(self, error: Web3RPCError) -> ChainError:
        message = (error.rpc_response or {}).get("error", {}).get("message") or str(error)
        return ChainError(f"the node refused a transaction of {self.address}: {message}")

    def _submit_once(self, raw: HexBytes, transaction_hash: HexBytes) -> None:
        try:
            self.w3.eth.send_raw_transaction(raw)
        except Web3RPCError:
            # web3 repeats a request whose answer was lost; a node that took the transaction refuses the second one.
            if not self._is_known(transaction_hash):
                raise

    def _is_known(self, transaction_hash: HexBytes) -> bool:
        try:
            self.w3.eth.get_transaction(transaction_hash)
        except TransactionNotFound:
            return False
        return True

    def _raise_fees(self, sent: Sent) -> None:
        old = cast(dict[str, int], sent.transaction)
        for name, now in cast(dict[str, int], self._fees()).items():
            # Nodes keep the transaction that they have unless the fee rises by an eighth.
            old[name] = Wei(max(old.get(name, 0) * 5 // 4 + 1, now))
        try:
            self._submit(sent)
        except ChainError:
            # Mined meanwhile, or not replaceable: one of the hashes sent so far decides.
            return

    def _poll(self, sent: Sent, timeout: float) -> TxReceipt | None:
        deadline = time.monotonic() + timeout
        looks = 0
        while True:
            for transaction_hash in sent.hashes:
                try:
                    receipt = self.w3.eth.get_transaction_receipt(transaction_hash)
                except TransactionNotFound:
                    continue
                if receipt["blockNumber"] is not None:
                    return receipt
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            looks += 1
            time.sleep(min(pause_after(looks, first=0.02, longest=1.0), left))

    def _failure(self, sent: Sent, receipt: TxReceipt) -> ContractRevertError:
        """Return the reason why a mined transaction failed; receipts lack it, so run it again if the node forgot it.

        The state after its block has what stood before it there, and its number and time; that before the block is for
        a reason that what came after it has removed.
        """
        call = {key: value for key, value in sent.transaction.items() if key in ("from", "to", "data", "value", "gas")}
        failure = ContractRevertError("Unknown", {"transaction": receipt["transactionHash"].to_0x_hex()})
        known = self.w3.eth.reason_of(receipt) if isinstance(self.w3.eth, KnowsReasons) else None
        if known is not None:
            failure = decode_revert(known, sent.abi)
        for block in (receipt["blockNumber"], receipt["blockNumber"] - 1) if known is None else ():
            try:
                with decoded_reverts(sent.abi):
                    self.w3.eth.call(cast(TxParams, call), block_identifier=cast(Any, block))
            except ContractRevertError as error:
                failure = error
                break
            except Web3RPCError:
                continue
        if failure.error in ("Unknown", "Silent") and receipt["gasUsed"] == sent.transaction["gas"]:
            return ContractRevertError("OutOfGas", {"gas": sent.transaction["gas"]})
        return failure


def _transaction(call: Call, fields: TxParams) -> TxParams:
    """Return the transaction of a call with these fields."""
    if isinstance(call, ContractConstructor):
        return cast(TxParams, call.build_transaction(fields))
    return {**fields, "to": call.address, "data": HexStr("0x" + data_of(call).hex())}
