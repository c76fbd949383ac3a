"""What an account is told of its own transactions."""

from pathlib import Path

from web3.types import TxReceipt

from fbfl.chain.deployment.deploy import deploy
from fbfl.chain.embedded.chain import EmbeddedChain
from fbfl.chain.ledger import Ledger
from fbfl.chain.participant import Participant
from fbfl.chain.transactions import Sender, Sent
from tests.support.tasks import task_settings


def test_the_number_of_a_task_is_told_though_its_block_has_left_the_chain(chain: EmbeddedChain, tmp_path: Path) -> None:
    """On a chain with proof of work a block may be replaced between its receipt and the next question."""

    class Replaced(Sender):
        def wait(self, sent: Sent) -> TxReceipt:
            receipt = super().wait(sent)
            chain.revert(before)
            return receipt

    addresses = deploy(chain.w3, Sender(chain.w3, chain.accounts[0]), tmp_path / "it.json")
    ledger = Ledger(chain.w3, addresses)
    before = chain.snapshot()
    assert Participant(ledger, Replaced(chain.w3, chain.accounts[0])).create_task(task_settings()) == 1
    assert not any(ledger.events("TaskCreated"))
