"""`fbfl register`: a MEC server in the registry, before there is a task for it."""

import argparse

from fbfl.cli.keys import add_key, participant_of
from fbfl.cli.network import add_deployment, add_network, ledger_on
from fbfl.cli.parser import Commands, Parser
from fbfl.cli.settings import add_option, taken


def add_parser(commands: Commands) -> None:
    """Add the command."""
    command = commands.add_parser(
        "register",
        help="register a MEC server before there is a task",
        description="Register a MEC server; prints its number, by which a task may name it. fbfl mec does it, too.",
    )
    add_network(command)
    add_deployment(command)
    add_key(command)
    command.add_argument("--url", required=True, help="its address for the others")
    add_stake(command)
    command.set_defaults(command=register)


def add_stake(command: Parser) -> None:
    """Add the option for the stake of a server that is not registered yet."""
    add_option(command, "stake", "stake when it registers: wei, or an amount as '0.01 ether' (default: 1 ether)")


def register(options: argparse.Namespace) -> int:
    """Register the account unless it is active already; prints its number."""
    from fbfl.mec.courier import check_url

    check_url(options.url, "--url")
    stake = taken(options, "stake")
    server = participant_of(options, ledger_on(options.network, options.deployment))
    if not server.ledger.is_active(server.address):
        server.register(options.url, stake)
    print(f"{server.address} is server {server.ledger.servers().index(server.address)}")
    return 0
