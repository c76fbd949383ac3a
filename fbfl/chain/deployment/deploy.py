"""Deploying the contracts: the numbered steps in migrations/, in order.

Running them again does only what is missing. What was deployed is kept in a file, written after every contract, so an
interrupted deployment goes on where it stopped. Contracts are linked for good: where one of them
has changed, or the chain began anew, all are deployed anew.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eth_hash.auto import keccak
from eth_utils.address import is_address
from web3 import Web3
from web3.contract import Contract
from web3.exceptions import BadFunctionCallOutput, ContractLogicError

from fbfl import shipped
from fbfl.chain.artifacts import load_artifact
from fbfl.chain.deployment.steps import run_steps
from fbfl.chain.headers import proof_of_work
from fbfl.chain.ledger import CONSENSUS_CONTRACTS, Ledger
from fbfl.chain.reverts import decoded_reverts
from fbfl.chain.transactions import Sender
from fbfl.errors import ChainError, ContractRevertError, InvalidInputError, StorageError, failures_as
from fbfl.system import strictjson
from fbfl.system.atomic import write_atomically

DEPLOYMENTS = Path("deployments")
"""Default folder for the files of networks that last."""


_NAME = re.compile("[a-z][a-z0-9_-]*")


class _OutdatedError(Exception):
    """A contract that is on record is not what would be deployed now, or is gone."""


@dataclass
class NetworkDeployment:
    """A deployment that is kept on record; `records` holds what is known of each contract, by its name."""

    w3: Web3
    sender: Sender
    records: dict[str, dict[str, Any]] = field(default_factory=dict)
    file: Path | None = None
    mock_ethash: bool = False
    """Deploy the election by miners even where there is no proof of work."""

    @property
    def owner(self) -> str:
        """Account that deploys."""
        return self.sender.address

    @property
    def addresses(self) -> dict[str, str]:
        """The contracts so far, by name."""
        return {name: record["address"] for name, record in self.records.items()}

    def contract(self, name: str, *arguments: Any) -> str:
        """Return the address of a contract with these constructor arguments; deploy it if it is not there yet."""
        artifact = load_artifact(name)
        factory = self.w3.eth.contract(abi=artifact.abi, bytecode=artifact.bytecode)
        creation = factory.constructor(*arguments)
        creation_hash = "0x" + keccak(bytes.fromhex(creation.data_in_transaction.removeprefix("0x"))).hex()
        known = self.records.get(name)
        if known:
            if (known["creation_hash"], known["code_hash"]) != (creation_hash, self._code_hash(known["address"])):
                raise _OutdatedError
            return str(known["address"])
        # 200 gas for a byte of code and 16 for sending it, and what a constructor may do.
        try:
            receipt = self.sender.transact(creation, gas=1_000_000 + 220 * len(artifact.bytecode))
        except ContractRevertError as error:
            if error.error == "OutOfGas":  # an invalid instruction takes all gas
                chain = f"chain {self.w3.eth.chain_id}"
                raise ChainError(f"{name} does not run on {chain}; needed: the rules of Istanbul or newer") from error
            raise
        address = receipt.get("contractAddress")
        if address is None:
            raise ChainError(f"the node does not say where {name} is, which it has deployed")
        self._remember(name, address, receipt["blockNumber"], receipt["transactionHash"].to_0x_hex(), creation_hash)
        return address

    def read(self, name: str, function: str, *arguments: Any) -> Any:
        """Call a view function of a contract that is deployed."""
        contract = self._at(self.addresses[name], name)
        with decoded_reverts(contract.abi):
            return contract.functions[function](*arguments).call({"from": Web3.to_checksum_address(self.owner)})

    def call(self, name: str, function: str, *arguments: Any) -> None:
        """Send a transaction to a contract that is deployed."""
        self.read(name, function, *arguments)  # learn of a refusal before anything is sent
        self.sender.transact(self._at(self.addresses[name], name).functions[function](*arguments))

    def grant(self, name: str, role: str, account: str) -> None:
        """Give an account a role (`SLASHER_ROLE`) of a contract, if it has not got it."""
        role_hash = keccak(role.encode())
        if not self.read(name, "hasRole", role_hash, account):
            self.call(name, "grantRole", role_hash, account)

    def adopt(self, name: str, address: str) -> None:
        """Let tasks name a consensus contract that somebody else deployed for this ledger: it may slash from now on.

        A name of another contract, or an address without one for this ledger, raises `InvalidInputError`.
        """
        known = self.records.get(name, {"address": address})["address"]
        if not _NAME.fullmatch(name) or name in CONSENSUS_CONTRACTS or known != address:
            taken = ", ".join([*CONSENSUS_CONTRACTS, *filter(_NAME.fullmatch, self.records)])
            raise InvalidInputError(
                f"--consensus {name}={address}; allowed: names of small letters, digits, _ and -, but {taken}"
            )
        self._refuse_no_consensus(name, address)
        self.grant("MECRegistry", "SLASHER_ROLE", address)
        # It is not known here who deployed it, nor how.
        self._remember(name, address, self.w3.eth.block_number, transaction="", creation_hash="")

    def _refuse_no_consensus(self, name: str, address: str) -> None:
        contract = self._at(address, "IConsensus")
        try:
            contract.functions.status(0).call()
            of = contract.functions.ledger().call()
        except (ContractLogicError, BadFunctionCallOutput) as error:
            raise InvalidInputError(
                f"--consensus {name}={address}; allowed: contracts that answer as IConsensus says"
            ) from error
        if of != self.addresses["FederatedTasks"]:
            raise InvalidInputError(
                f"--consensus {name}={address}: it decides for the ledger {of}; allowed: contracts for "
                f"{self.addresses['FederatedTasks']}"
            )

    def elects_miners(self) -> bool:
        """Return True if the blocks so far carry valid proofs of work, or a mock of an election is wanted."""
        return self.mock_ethash or proof_of_work(self.w3)

    def _code_hash(self, address: str) -> str:
        return "0x" + keccak(bytes(self.w3.eth.get_code(Web3.to_checksum_address(address)))).hex()

    def _at(self, address: str, artifact: str) -> Contract:
        return self.w3.eth.contract(Web3.to_checksum_address(address), abi=load_artifact(artifact).abi)

    def _remember(self, name: str, address: str, block: int, transaction: str, creation_hash: str) -> None:
        """Put a contract on record, and the record on the disk."""
        self.records[name] = {
            "address": address,
            "block": block,
            "transaction": transaction,
            "creation_hash": creation_hash,
            "code_hash": self._code_hash(address),
        }
        self.keep()

    def set_aside(self) -> None:
        """Begin a new record; that of contracts that are still there stays beside it, since stakes may be in them."""
        if self.file is not None and any(
            self.w3.eth.get_code(Web3.to_checksum_address(address)) for address in self.addresses.values()
        ):
            first = min(record["block"] for record in self.records.values())
            with failures_as(StorageError, f"{self.file} cannot be written"):
                write_atomically(self.file.with_name(f"{self.file.stem}-{first}.json"), self.file.read_bytes())
        self.records.clear()

    def keep(self) -> None:
        """Put the record on the disk, where it has a file."""
        if self.file is None:
            return
        content = {"chain_id": self.w3.eth.chain_id, "contracts": self.records}
        with failures_as(StorageError, f"{self.file} cannot be written"):
            self.file.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self.file, (json.dumps(content, indent=1) + "\n").encode())


def deploy(
    w3: Web3,
    sender: Sender,
    file: Path | None = None,
    steps: Path | None = None,
    *,
    mock_ethash: bool = False,
    consensus: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Run the steps, by default those in migrations/, on a network; returns the contracts' addresses by name.

    `mock_ethash` deploys `EthashElection` on a chain without proof of work too. `consensus` are contracts that others
    deployed for this ledger, by the names that tasks may give them; see `NetworkDeployment.adopt`. All are remembered
    in `file`, where there is one. Refusals raise `ContractRevertError`, a node or a step that fails `ChainError`, a
    disk that fails `StorageError`, a file of another chain `InvalidInputError`.
    """
    records = _read_records(file, w3.eth.chain_id) if file else {}
    deployment = NetworkDeployment(w3, sender, records, file, mock_ethash)
    steps = steps or shipped.folder("migrations")
    if not records:
        deployment.keep()  # a disk that fails now costs no gas for contracts that nothing would know of
    try:
        run_steps(deployment, steps)
    except _OutdatedError:
        deployment.set_aside()
        run_steps(deployment, steps)
    for name, address in (consensus or {}).items():
        deployment.adopt(name, address)
    return deployment.addresses


def set_aside_beside(file: Path) -> set[Path]:
    """Return the records of former deployments beside one, each with the block of its first contract in its name."""
    return {path for path in file.parent.glob(f"{file.stem}-*.json") if path.stem.rpartition("-")[2].isdecimal()}


def file_of(w3: Web3, folder: Path) -> Path:
    """Return the file in a folder that records what is deployed on the chain of `w3`."""
    return folder / f"{w3.eth.chain_id}.json"


def read_addresses(file: Path, chain_id: int) -> dict[str, str]:
    """Return the addresses that `deploy` recorded in a file for a chain; if none, raise `InvalidInputError`."""
    records = _read_records(file, chain_id)
    if not records:
        raise InvalidInputError(
            f"nothing is deployed on chain {chain_id} according to {file}: if it is, copy that file from where it was "
            "deployed, or name it with --deployment FILE; if not, run fbfl deploy"
        )
    return {name: record["address"] for name, record in records.items()}


def open_ledger(w3: Web3, file: Path, task: int | None = None) -> Ledger:
    """Open the ledger that `deploy` recorded in a file, read from its first block on; with `task`, of that task alone.

    Nothing recorded there, another chain, or one that began anew since then, raises `InvalidInputError`.
    """
    ledger = Ledger(w3, read_addresses(file, w3.eth.chain_id), first_block(w3, file), task=task)
    if not w3.eth.get_code(ledger.tasks.address):
        raise InvalidInputError(f"{file} names contracts that are not on this chain; run fbfl deploy again")
    return ledger


def first_block(w3: Web3, file: Path) -> int:
    """Return the block of the first contract that `deploy` recorded in a file; nothing has happened before it."""
    return min(int(record["block"]) for record in _read_records(file, w3.eth.chain_id).values())


def _read_records(file: Path, chain_id: int) -> dict[str, dict[str, Any]]:
    try:
        content = strictjson.loads(file.read_bytes())
        of, contracts = content["chain_id"], dict(content["contracts"])
        fields = {"address", "block", "transaction", "creation_hash", "code_hash"}
        valid = all(
            set(record) == fields
            and is_address(record["address"])
            and type(record["block"]) is int
            and record["block"] >= 0
            for record in contracts.values()
        )
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise StorageError(f"{file} cannot be read: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, AttributeError):
        valid = False
    if not valid:
        raise InvalidInputError(f"{file} is not a record of a deployment; remove it to deploy anew")
    if of != chain_id:
        raise InvalidInputError(f"{file} is of chain {of}, and the network is chain {chain_id}")
    return contracts
