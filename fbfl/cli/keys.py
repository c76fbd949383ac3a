"""The key that a command signs with. Keys and passwords come from files or the environment, not from options."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from fbfl.cli.parser import Parser
from fbfl.errors import InvalidInputError
from fbfl.system import strictjson
from fbfl.system.textfile import read_text

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

    from fbfl.chain.ledger import Ledger
    from fbfl.chain.participant import Participant

KEY_VARIABLE = "FBFL_KEY"
PASSWORD_VARIABLE = "FBFL_PASSWORD"


def add_key(command: Parser) -> None:
    """Add the options for the key to sign with; `account_of` reads them."""
    key = command.add_mutually_exclusive_group()
    key.add_argument("--account", type=int, metavar="K", help="development account K (local networks only)")
    key.add_argument("--keystore", type=Path, metavar="FILE", help="encrypted key (default: the key in FBFL_KEY)")
    command.add_argument(
        "--password-file", type=Path, metavar="FILE", help="the keystore's password (default: FBFL_PASSWORD)"
    )


def account_of(options: argparse.Namespace, chain_id: int) -> "LocalAccount":
    """Return the account that the options name, else that of the key in the environment.

    Development accounts, whose keys everybody knows, are for local networks only.
    """
    from fbfl.chain.accounts import FUNDED, LOCAL_CHAINS, development_account

    if options.account is not None:
        if not 0 <= options.account < FUNDED:
            raise InvalidInputError(f"--account {options.account}; allowed: 0 to {FUNDED - 1}")
        if chain_id not in LOCAL_CHAINS:
            raise InvalidInputError(
                f"--account {options.account}: chain {chain_id} is not a local network, and everybody knows the keys "
                f"of development accounts; allowed: --keystore FILE or {KEY_VARIABLE}"
            )
        return development_account(options.account)
    if options.keystore is not None:
        return _unlock(options.keystore, options.password_file)
    account = account_of_environment()
    if account is None:
        raise InvalidInputError(f"no key to sign with; allowed: --account K, --keystore FILE, or {KEY_VARIABLE}")
    return account


def participant_of(options: argparse.Namespace, ledger: "Ledger") -> "Participant":
    """Return the account that the options name as one that sends to the contracts."""
    from fbfl.chain.participant import Participant
    from fbfl.chain.transactions import Sender

    return Participant(ledger, Sender(ledger.w3, account_of(options, ledger.chain_id)))


def account_of_environment() -> "LocalAccount | None":
    """Return the account of the key in the environment, if there is one."""
    key = os.environ.get(KEY_VARIABLE)
    if not key:
        return None
    from eth_account import Account

    try:
        account: LocalAccount = Account.from_key(key)
    except (ValueError, TypeError) as error:
        raise InvalidInputError(f"{KEY_VARIABLE} is not a private key; allowed: 32 bytes as hex") from error
    return account


def _unlock(keystore: Path, password_file: Path | None) -> "LocalAccount":
    password = read_text(password_file, f"--password-file {password_file}").rstrip("\r\n") if password_file else None
    if password is None:
        password = os.environ.get(PASSWORD_VARIABLE)
    if password is None:
        raise InvalidInputError(f"--keystore {keystore}: no password; set {PASSWORD_VARIABLE} or --password-file FILE")
    from eth_account import Account

    text = read_text(keystore, f"--keystore {keystore}")
    try:
        account: LocalAccount = Account.from_key(Account.decrypt(strictjson.loads(text), password))
    except Exception as error:  # the library raises many types for a damaged file
        raise InvalidInputError(f"--keystore {keystore}: not a keystore, or not its password ({error})") from error
    return account
