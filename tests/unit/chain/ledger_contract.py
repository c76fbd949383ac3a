"""The contract `Ledger` of the tests: for what is true of any contract."""

from typing import Any

from web3.contract import Contract

from fbfl.chain.artifacts import Artifact
from fbfl.chain.embedded.chain import EmbeddedChain


def deploy_ledger(chain: EmbeddedChain, artifact: Artifact) -> Contract:
    factory = chain.w3.eth.contract(abi=artifact.abi, bytecode=artifact.bytecode)
    transaction = factory.constructor(chain.accounts[0], 5).transact({"gas": 2_000_000})
    address: Any = chain.w3.eth.get_transaction_receipt(transaction)["contractAddress"]
    contract: Contract = chain.w3.eth.contract(address=address, abi=artifact.abi)
    return contract
