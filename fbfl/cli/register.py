"""`fbfl register`: a MEC server in the registry, before there is a task for it."""

import argparse

from fbfl.chain.participant import Participant
from fbfl.chain.transactions import Sender
from fbfl.cli.keys import account_of
from fbfl.cli.network import ledger_on
from fbfl.cli.settings import taken
from fbfl.mec.courier import check_url


def register(options: argparse.Namespace) -> int:
    """Register the account unless it is active already; prints its number."""
    check_url(options.url, "--url")
    stake = taken(options, "stake")
    ledger = ledger_on(options.network, options.deployment)
    server = Participant(ledger, Sender(ledger.w3, account_of(options, ledger.chain_id)))
    if not ledger.is_active(server.address):
        server.register(options.url, stake)
    print(f"{server.address} is server {ledger.servers().index(server.address)}")
    return 0
