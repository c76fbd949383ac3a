"""A development network: nodes with the contracts on them, and accounts whose keys everybody knows."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from eth_account.signers.local import LocalAccount

from fbfl.chain.deployment.deploy import deploy, first_block
from fbfl.chain.embedded.chain import EmbeddedChain, start_chain
from fbfl.chain.embedded.ethash import EthashNetwork, NodeChain
from fbfl.chain.ledger import Ledger
from fbfl.chain.networks import EMBEDDED, connect
from fbfl.chain.participant import Participant
from fbfl.chain.remote import Node, RemoteNode, accounts_of
from fbfl.chain.transactions import Sender


def start_nodes(network: str, consensus: str, accounts: int, ethash_nodes: int) -> Sequence[Node]:
    """Return the nodes of a network; embedded ones start anew, with so many funded accounts.

    `ethash_nodes` is the number of full nodes of an embedded ethash network.
    """
    if network != EMBEDDED:
        return [RemoteNode(connect(network))]
    if consensus != "ethash":
        return [start_chain(accounts)]
    return EthashNetwork(nodes=ethash_nodes, accounts=accounts).nodes


def nodes_of(chain: EmbeddedChain, ethash_nodes: int) -> Sequence[Node]:
    """Return nodes in this process that go on with a chain; so many full nodes if its blocks have seals."""
    return [chain] if chain.genesis.seal == "none" else EthashNetwork.of(chain, ethash_nodes).nodes


@dataclass(frozen=True)
class Devnet:
    """Nodes with deployed contracts, and perhaps registered servers."""

    nodes: Sequence[Node]
    addresses: Mapping[str, str]
    """Addresses of the contracts, by name."""
    start_block: int = 0
    """Block of the first contract: there are no events before it."""

    @classmethod
    def deployed(cls, nodes: Sequence[Node], deployment: Path | None = None) -> "Devnet":
        """Deploy the contracts on these nodes; `deployment` is a file that remembers them, so that it is done once."""
        w3 = nodes[0].w3
        (owner,) = accounts_of(nodes, 1)
        addresses = deploy(w3, Sender(w3, owner), deployment)
        return cls(nodes, addresses, first_block(w3, deployment) if deployment else 0)

    def copy(self) -> "Devnet":
        """Return a copy with nodes of its own. They have to be in this process: an embedded chain or network."""
        nodes = cast(Sequence[EmbeddedChain], self.nodes)
        chain = nodes[0].chain
        copied = chain.network.copy().nodes if isinstance(chain, NodeChain) else [node.copy() for node in nodes]
        return Devnet(copied, self.addresses, self.start_block)

    @contextmanager
    def one_block(self, participants: Sequence[Participant] = ()) -> Iterator[None]:
        """Put what is sent inside into one block, where these nodes decide on that, or more if it does not fit.

        What these participants send is waited for afterwards; the first refusal raises `ContractRevertError`.
        """
        with ExitStack() as waits:
            sent = [(each, waits.enter_context(each.without_waiting())) for each in participants]
            with ExitStack() as blocks:
                for node in self.nodes:
                    blocks.enter_context(node.one_block())
                yield
        for participant, transactions in sent:
            for transaction in transactions:
                participant.wait(transaction)

    def register(self, owner: Participant, servers: Sequence[Participant], stake: int) -> None:
        """Admit and register servers with a stake in wei, unless they are active in another task already."""
        known = set(owner.ledger.servers())
        new = [each for each in servers if each.address not in known or not owner.ledger.is_active(each.address)]
        with self.one_block([owner]):
            for server in new:
                owner.admit(server.address)
        with self.one_block(new):
            for server in new:
                server.register(f"mec://{server.address}", stake)

    def accounts(self, servers: int) -> list[LocalAccount]:
        """Return the account of the owner, and those of so many servers."""
        return accounts_of(self.nodes, servers + 1)

    def participants(self, accounts: Sequence[LocalAccount]) -> list[Participant]:
        """Return what acts for each account; after the first, which is the owner, they use the nodes in turn."""
        ledgers = [Ledger(node.w3, self.addresses, self.start_block, head=node.head) for node in self.nodes]
        owner, *servers = accounts
        turns = itertools.cycle(zip(self.nodes, ledgers, strict=True))
        return [
            Participant(ledgers[0], Sender(self.nodes[0].w3, owner)),
            *(Participant(ledger, Sender(node.w3, each)) for each, (node, ledger) in zip(servers, turns, strict=False)),
        ]
