"""`fbfl deploy`: the contracts on a network."""

import argparse
from typing import TYPE_CHECKING

from fbfl.cli.keys import KEY_VARIABLE, account_of, account_of_environment, add_key
from fbfl.cli.network import add_deployment, deployment_on
from fbfl.cli.parser import Commands
from fbfl.errors import InvalidInputError

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount
    from eth_typing import ChecksumAddress
    from web3 import Web3


def add_parser(commands: Commands) -> None:
    """Add the command."""
    command = commands.add_parser("deploy", help="deploy the contracts", description="Deploy the contracts.")
    command.add_argument("--network", default="eth-tester", help="eth-tester, ganache, anvil, geth, or a JSON-RPC URL")
    command.add_argument("--mock-ethash", action="store_true", help="deploy EthashElection without proof of work, too")
    command.add_argument(
        "--consensus",
        action="append",
        default=[],
        metavar="NAME=ADDRESS",
        help="let tasks name a consensus contract that is deployed already; it may slash then; again for each",
    )
    add_deployment(command)
    add_key(command)
    command.set_defaults(command=deploy)


def deploy(options: argparse.Namespace) -> int:
    """Deploy what is not deployed yet and print the addresses."""
    from fbfl.chain.deployment.deploy import deploy as run_steps
    from fbfl.chain.deployment.deploy import set_aside_beside
    from fbfl.chain.headers import proof_of_work
    from fbfl.chain.networks import connect
    from fbfl.chain.transactions import Sender

    file = deployment_on(options.network, options.deployment)
    w3 = connect(options.network)
    others = dict(map(_named_address, options.consensus))
    sender = Sender(w3, _account(options, w3))
    before = set_aside_beside(file) if file else set()
    addresses = run_steps(w3, sender, file, mock_ethash=options.mock_ethash, consensus=others)
    for name, address in addresses.items():
        print(f"{address}  {name}")
    if not proof_of_work(w3):
        what = "a mock here" if "EthashElection" in addresses else "not deployed (--mock-ethash deploys it as a mock)"
        print(f"this chain has no proof of work: EthashElection is {what}")
    if file is None:
        print("eth-tester lives in this process and ends with it; fbfl run deploys on its own chain")
    else:
        for former in sorted(set_aside_beside(file) - before):
            print(f"former contracts stay on the chain, with their tasks: --deployment {former} names them")
        print(f"kept in {file}")
    return 0


def _named_address(option: str) -> tuple[str, str]:
    from eth_utils.address import is_address, to_checksum_address

    name, _, address = option.partition("=")
    if not name or not is_address(address):
        raise InvalidInputError(f"--consensus {option}; allowed: NAME=ADDRESS, an address being 20 bytes as hex")
    return name, to_checksum_address(address)


def _account(options: argparse.Namespace, w3: "Web3") -> "LocalAccount | ChecksumAddress":
    """Return the account that was named, else that of the key in the environment, else the node's first account."""
    if options.account is not None or options.keystore is not None:
        return account_of(options, w3.eth.chain_id)
    account = account_of_environment()
    if account is not None:
        return account
    accounts = w3.eth.accounts
    if not accounts:
        raise InvalidInputError(f"the node holds no account; set {KEY_VARIABLE} to a private key that may pay for gas")
    return accounts[0]
