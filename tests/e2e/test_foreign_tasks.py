"""Tasks and URLs that somebody else published, with other bytes than fbfl would."""

from pathlib import Path

import pytest
from hexbytes import HexBytes

from fbfl.chain.ledger import Ledger
from fbfl.chain.queries import registered_url, task_terms
from fbfl.errors import InvalidInputError
from fbfl.mec.courier import is_endpoint
from fbfl.simulation import Simulation
from tests.support.federations import federation
from tests.support.tasks import task_settings


@pytest.fixture(scope="module")
def fed(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    return federation(tmp_path_factory.mktemp("payloads"), consensus="pbft", simulation={"lanes": 1})


@pytest.mark.parametrize("definition", [b"", b"{", b"\xff", b"[1]", b"null", b"[" * 20_000])
def test_a_definition_that_is_no_json_object_is_said_in_one_line(fed: Simulation, definition: bytes) -> None:
    task = fed.owner.create_task(
        task_settings(definition=definition, model=fed.task.model, max_payload=fed.task.model.size)
    )
    with pytest.raises(InvalidInputError, match=f"the definition of task {task} .*; allowed: a JSON object") as caught:
        fed.ledger.task(task)
    assert "\n" not in str(caught.value)
    assert fed.ledger.task(fed.task.id) == fed.task


def test_a_creating_call_that_contracts_take_and_decoders_refuse_stops_no_query(tmp_path: Path) -> None:
    fed = federation(tmp_path, simulation={"lanes": 1})
    ledger, w3 = fed.ledger, fed.ledger.w3
    (created,) = ledger.events("TaskCreated")
    data = bytes(w3.eth.get_transaction(HexBytes(created.transaction))["input"])
    dirty = data.replace(b"{}\0", b"{}\1", 1)  # behind the settings of its rule, where nobody reads
    w3.eth.send_transaction({"from": fed.owner.address, "to": ledger.tasks.address, "data": dirty, "gas": 3_000_000})
    own, foreign = (task_terms(ledger, number) for number in (1, 2))
    assert own["pow_hashes"] > 0
    assert foreign["min_updates"] == own["min_updates"]
    assert "pow_hashes" not in foreign


def test_who_reads_one_task_reads_no_event_of_another(fed: Simulation) -> None:
    """Anybody can make a task, and fill it with events."""
    ledger = fed.ledger
    narrow = Ledger(ledger.w3, ledger.addresses, task=fed.task.id)
    assert {event.args["task"] for event in ledger.events() if "task" in event.args} > {fed.task.id}
    assert list(narrow.events()) == [e for e in ledger.events() if e.args.get("task", fed.task.id) == fed.task.id]
    assert any(event.name == "ServerJoined" for event in narrow.events())
    assert (narrow.task(fed.task.id), narrow.confirm(fed.task.id)) == (fed.task, ledger.confirm(fed.task.id))
    for number in (-1, 10**6, 2**256):
        with pytest.raises(InvalidInputError, match=f"task {number} does not exist"):
            Ledger(ledger.w3, ledger.addresses, task=number).task(number)


def test_a_url_that_is_no_text_stops_no_reader(fed: Simulation) -> None:
    ledger, liar = fed.ledger, fed.servers[-1]
    liar.participant.retire()
    data = ledger.registry.encode_abi("join", ["http://a"]).replace(b"http://a".hex(), b"http://\xff".hex())
    w3 = ledger.w3
    sent = w3.eth.send_transaction({"from": liar.address, "to": ledger.registry.address, "data": data})
    assert w3.eth.get_transaction_receipt(sent)["status"] == 1
    assert registered_url(ledger, liar.address) == "http://\\xff"
    assert not is_endpoint("http://\\xff")
    assert ledger.task(fed.task.id) == fed.task
