"""`fbfl deploy`: the contracts on a network."""

import argparse
import os
from pathlib import Path

from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_typing import ChecksumAddress
from web3 import Web3

from fbfl.chain.deploy import deploy as run_steps
from fbfl.chain.headers import proof_of_work
from fbfl.chain.networks import EMBEDDED, connect
from fbfl.chain.transactions import Sender
from fbfl.errors import InvalidInputError

FOLDER = Path("deployments")
KEY_VARIABLE = "FBFL_KEY"


def deploy(options: argparse.Namespace) -> int:
    """Deploy what is not deployed yet and print the addresses."""
    w3 = connect(options.network)
    folder = None if options.network == EMBEDDED else FOLDER
    addresses = run_steps(w3, Sender(w3, _account(w3)), folder, mock_ethash=options.mock_ethash)
    for name, address in addresses.items():
        print(f"{address}  {name}")
    if not proof_of_work(w3):
        what = "a mock here" if "EthashElection" in addresses else "not deployed (--mock-ethash deploys it as a mock)"
        print(f"this chain has no proof of work: EthashElection is {what}")
    if options.network == EMBEDDED:
        print("eth-tester lives in this process and ends with it; fbfl run deploys on its own chain")
    else:
        print(f"kept in {FOLDER / str(w3.eth.chain_id)}.json")
    return 0


def _account(w3: Web3) -> LocalAccount | ChecksumAddress:
    """The key in the environment, else the first account that the node itself holds."""
    key = os.environ.get(KEY_VARIABLE)
    if key:
        try:
            account: LocalAccount = Account.from_key(key)
        except (ValueError, TypeError) as error:
            raise InvalidInputError(f"{KEY_VARIABLE} is no private key; allowed: 32 bytes as hex") from error
        return account
    accounts = w3.eth.accounts
    if not accounts:
        raise InvalidInputError(f"the node holds no account; set {KEY_VARIABLE} to a private key that may pay for gas")
    return accounts[0]
