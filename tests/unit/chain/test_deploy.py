import json
from dataclasses import replace
from pathlib import Path

import pytest
from eth_hash.auto import keccak
from web3 import Web3
from web3.exceptions import MismatchedABI

from fbfl.chain.artifacts import load_artifact
from fbfl.chain.deployment.deploy import deploy, open_ledger, read_addresses, set_aside_beside
from fbfl.chain.elections import election_of
from fbfl.chain.embedded.chain import EmbeddedChain
from fbfl.chain.embedded.ethash import EthashNetwork
from fbfl.chain.embedded.rules import CHAIN_ID
from fbfl.chain.ledger import Ledger
from fbfl.chain.participant import Participant
from fbfl.chain.transactions import Sender
from fbfl.errors import ChainError, ContractRevertError, InvalidInputError, StorageError
from tests.support.tasks import task_settings

NAMES = {"MECRegistry", "FederatedTasks", "RewardPool", "PowPuzzle", "PbftCommittee"}


@pytest.fixture
def sender(chain: EmbeddedChain) -> Sender:
    return Sender(chain.w3, chain.accounts[0])


def test_the_contracts_are_deployed_and_wired(chain: EmbeddedChain, sender: Sender) -> None:
    addresses = deploy(chain.w3, sender)
    assert set(addresses) == NAMES
    registry = chain.w3.eth.contract(
        Web3.to_checksum_address(addresses["MECRegistry"]), abi=load_artifact("MECRegistry").abi
    )
    for name in NAMES - {"MECRegistry", "RewardPool"}:
        assert registry.functions.hasRole(keccak(b"SLASHER_ROLE"), addresses[name]).call()
    assert registry.functions.hasRole(bytes(32), sender.address).call()
    assert not registry.functions.hasRole(keccak(b"SLASHER_ROLE"), addresses["RewardPool"]).call()
    assert registry.functions.hasRole(keccak(b"LEDGER_ROLE"), addresses["FederatedTasks"]).call()


def test_deploying_again_does_nothing(chain: EmbeddedChain, sender: Sender, tmp_path: Path) -> None:
    first = deploy(chain.w3, sender, tmp_path / "it.json")
    number = chain.w3.eth.block_number
    assert (
        deploy(chain.w3, sender, tmp_path / "it.json")
        == first
        == read_addresses(tmp_path / "it.json", chain.w3.eth.chain_id)
    )
    assert chain.w3.eth.block_number == number
    record = json.loads((tmp_path / "it.json").read_text())
    assert record["contracts"]["MECRegistry"]["block"] <= number


def test_an_interrupted_deployment_goes_on(chain: EmbeddedChain, sender: Sender, tmp_path: Path) -> None:
    steps = tmp_path / "steps"
    steps.mkdir()
    (steps / "1_a.py").write_text("def run(d): d.contract('MECRegistry', d.owner, 0, 0)")
    (steps / "2_b.py").write_text("def run(d): d.call('MECRegistry', 'admit', d.owner, 5)")
    (steps / "10_c.py").write_text("def run(d): d.contract('FederatedTasks', d.addresses['MECRegistry'])")
    with pytest.raises(MismatchedABI):
        deploy(chain.w3, sender, tmp_path / "it.json", steps)
    first = read_addresses(tmp_path / "it.json", chain.w3.eth.chain_id)
    assert set(first) == {"MECRegistry"}
    (steps / "2_b.py").write_text("def run(d): pass")
    assert deploy(chain.w3, sender, tmp_path / "it.json", steps)["MECRegistry"] == first["MECRegistry"]


def test_a_chain_that_was_started_anew_gets_new_contracts(chain: EmbeddedChain, sender: Sender, tmp_path: Path) -> None:
    before = chain.snapshot()
    deploy(chain.w3, sender, tmp_path / "it.json")
    chain.revert(before)
    chain.mine()
    deploy(chain.w3, sender, tmp_path / "it.json")
    assert [path.name for path in tmp_path.iterdir()] == ["it.json"], "nothing is left of the former ones"
    for address in read_addresses(tmp_path / "it.json", chain.w3.eth.chain_id).values():
        assert chain.w3.eth.get_code(Web3.to_checksum_address(address)) != b""


def test_another_account_deploys_anew_and_leaves_the_record_of_the_former_contracts(
    chain: EmbeddedChain, sender: Sender, tmp_path: Path
) -> None:
    file = tmp_path / "it.json"
    first = deploy(chain.w3, sender, file)
    assert set_aside_beside(file) == set()
    second = deploy(chain.w3, Sender(chain.w3, chain.accounts[1]), file)
    assert set(first.values()).isdisjoint(second.values())
    (former,) = set_aside_beside(file)
    assert read_addresses(former, CHAIN_ID) == first
    assert read_addresses(file, CHAIN_ID) == second
    assert open_ledger(chain.w3, former).tasks.address == first["FederatedTasks"]


def test_a_contract_that_has_changed_gets_all_others_anew(
    chain: EmbeddedChain, sender: Sender, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = deploy(chain.w3, sender, tmp_path / "it.json")
    original = load_artifact("RewardPool")
    # The compiler's version in the metadata: nothing else changes.
    changed = replace(original, bytecode=original.bytecode.replace(b"solcC\x00\x08\x25", b"solcC\x00\x08\x26"))
    assert changed != original
    monkeypatch.setattr(
        "fbfl.chain.deployment.deploy.load_artifact",
        lambda name: changed if name == "RewardPool" else load_artifact(name),
    )
    second = deploy(chain.w3, sender, tmp_path / "it.json")
    assert set(second) == NAMES
    assert set(first.values()).isdisjoint(second.values())
    # All of them know each other: a ledger's registry stays the same.
    ledger = chain.w3.eth.contract(
        Web3.to_checksum_address(second["FederatedTasks"]), abi=load_artifact("FederatedTasks").abi
    )
    assert ledger.functions.registry().call() == second["MECRegistry"]
    number = chain.w3.eth.block_number
    assert (
        deploy(chain.w3, sender, tmp_path / "it.json")
        == second
        == read_addresses(tmp_path / "it.json", chain.w3.eth.chain_id)
    )
    assert chain.w3.eth.block_number == number


def council(chain: EmbeddedChain, sender: Sender, ledger: str) -> str:
    """A consensus contract that somebody else deploys."""
    artifact = load_artifact("PbftCommittee")
    factory = chain.w3.eth.contract(abi=artifact.abi, bytecode=artifact.bytecode)
    return str(sender.transact(factory.constructor(ledger), gas=5_000_000)["contractAddress"])


def test_a_consensus_of_somebody_else_judges_only_once_it_is_named(
    chain: EmbeddedChain, sender: Sender, tmp_path: Path
) -> None:
    addresses = deploy(chain.w3, sender, tmp_path / "it.json")
    address = council(chain, sender, addresses["FederatedTasks"])
    settings = task_settings(consensus="council")
    strange = Participant(Ledger(chain.w3, {**addresses, "council": address}), sender)
    with pytest.raises(ContractRevertError, match="TasksBadSettings"):
        strange.create_task(settings)
    before = Participant(open_ledger(chain.w3, tmp_path / "it.json"), sender)
    with pytest.raises(InvalidInputError, match="consensus is council; deployed on this network: pow, pbft"):
        before.create_task(settings)
    for _ in range(2):  # once more changes nothing
        found = deploy(chain.w3, sender, tmp_path / "it.json", consensus={"council": address})
        assert found == {**addresses, "council": address} == read_addresses(tmp_path / "it.json", CHAIN_ID)
    named = Participant(open_ledger(chain.w3, tmp_path / "it.json"), sender)
    task = named.ledger.task(named.create_task(settings))
    assert (task.consensus, task.consensus_address) == ("council", address)
    assert named.ledger.state(task.id).round == 0
    assert election_of(named.ledger, task, sender.address)(named.ledger.state(task.id)) is None


def test_what_is_no_consensus_of_this_ledger_may_not_slash(
    chain: EmbeddedChain, sender: Sender, tmp_path: Path
) -> None:
    addresses = deploy(chain.w3, sender, tmp_path / "it.json")
    ours = council(chain, sender, addresses["FederatedTasks"])
    deploy(chain.w3, sender, tmp_path / "it.json", consensus={"council": ours})
    record = (tmp_path / "it.json").read_bytes()
    another = council(chain, sender, addresses["RewardPool"])
    for name, address, said in (
        ("own", sender.address, "that answer as IConsensus says"),  # no contract
        ("own", addresses["MECRegistry"], "that answer as IConsensus says"),
        ("own", another, f"the ledger {addresses['RewardPool']}; allowed: .*{addresses['FederatedTasks']}"),
        ("pbft", ours, "but pow, pbft, ethash, council"),
        ("council", another, "but pow, pbft, ethash, council"),
        ("MECRegistry", ours, "names of small letters"),
    ):
        with pytest.raises(InvalidInputError, match=f"--consensus {name}={address}[:;] .*{said}"):
            deploy(chain.w3, sender, tmp_path / "it.json", consensus={name: address})
    assert (tmp_path / "it.json").read_bytes() == record
    registry = open_ledger(chain.w3, tmp_path / "it.json").registry.functions
    assert not registry.isSlasher(another).call()


def test_other_arguments_give_another_contract(chain: EmbeddedChain, sender: Sender, tmp_path: Path) -> None:
    step = tmp_path / "1_a.py"
    step.write_text("def run(d): d.contract('MECRegistry', d.owner, 0, 0)")
    first = deploy(chain.w3, sender, tmp_path / "it.json", tmp_path)
    step.write_text("def run(d): d.contract('MECRegistry', d.owner, 1, 0)")
    assert deploy(chain.w3, sender, tmp_path / "it.json", tmp_path) != first


def test_a_refused_step_names_the_contracts_error(chain: EmbeddedChain, sender: Sender, tmp_path: Path) -> None:
    (tmp_path / "1_a.py").write_text(
        "def run(d):\n"
        " d.contract('MECRegistry', d.w3.eth.accounts[1], 0, 0)\n"
        " d.grant('MECRegistry', 'SLASHER_ROLE', d.owner)"
    )
    with pytest.raises(ContractRevertError, match="AccessControlUnauthorizedAccount"):
        deploy(chain.w3, sender, None, tmp_path)


def test_a_record_that_cannot_be_written_costs_no_transaction(
    chain: EmbeddedChain, sender: Sender, tmp_path: Path
) -> None:
    (tmp_path / "disk").symlink_to("away")
    before = chain.w3.eth.block_number
    with pytest.raises(StorageError, match=r"disk/5\.json cannot be written"):
        deploy(chain.w3, sender, tmp_path / "disk" / "5.json")
    assert chain.w3.eth.block_number == before


def test_a_folder_without_steps_or_records_is_said(chain: EmbeddedChain, sender: Sender, tmp_path: Path) -> None:
    with pytest.raises(ChainError, match="no deployment steps"):
        deploy(chain.w3, sender, None, tmp_path)
    with pytest.raises(
        InvalidInputError,
        match=r"on chain 5 .*5\.json: .* copy that file .* --deployment FILE; if not, run fbfl deploy",
    ):
        read_addresses(tmp_path / "5.json", 5)


RECORD = {"address": "0x" + "12" * 20, "block": 3, "transaction": "0x", "creation_hash": "0x", "code_hash": "0x"}


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '{"chain_id": 5, "contracts": {"A": {"address": "0x"}}}',
        '{"chain_id": 5, "contracts": 5}',
        json.dumps({"chain_id": 5, "contracts": {"A": {**RECORD, "address": "0x12<4"}}}),
        json.dumps({"chain_id": 5, "contracts": {"A": {**RECORD, "address": None}}}),
        json.dumps({"chain_id": 5, "contracts": {"A": {**RECORD, "block": "three"}}}),
        json.dumps({"chain_id": 5, "contracts": {"A": {**RECORD, "block": -1}}}),
    ],
)
def test_a_damaged_record_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "5.json").write_text(content)
    with pytest.raises(InvalidInputError, match=r"5\.json is not a record of a deployment"):
        read_addresses(tmp_path / "5.json", 5)


def test_a_record_of_another_chain_is_neither_read_nor_written(
    chain: EmbeddedChain, sender: Sender, tmp_path: Path
) -> None:
    file = tmp_path / "5.json"
    file.write_text('{"chain_id": 5, "contracts": {}}')
    for use in (lambda: deploy(chain.w3, sender, file), lambda: open_ledger(chain.w3, file)):
        with pytest.raises(InvalidInputError, match=rf"5\.json is of chain 5, and the network is chain {CHAIN_ID}"):
            use()
    assert file.read_text() == '{"chain_id": 5, "contracts": {}}'


def test_a_deployment_that_is_not_complete_is_no_ledger(chain: EmbeddedChain, sender: Sender, tmp_path: Path) -> None:
    (tmp_path / "1_a.py").write_text("def run(d): d.contract('MECRegistry', d.owner, 0, 0)")
    deploy(chain.w3, sender, tmp_path / "it.json", tmp_path)
    with pytest.raises(InvalidInputError, match="the deployment has no FederatedTasks"):
        open_ledger(chain.w3, tmp_path / "it.json")


def test_a_folder_that_cannot_be_written_is_said(chain: EmbeddedChain, sender: Sender, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"file/.*\.json cannot be (read|written): Not a directory"):
        deploy(chain.w3, sender, tmp_path / "file" / "it.json")


def test_the_election_by_miners_is_deployed_only_with_proof_of_work_or_as_a_mock(
    chain: EmbeddedChain, sender: Sender
) -> None:
    assert "EthashElection" not in deploy(chain.w3, sender)
    assert "EthashElection" in deploy(chain.w3, sender, mock_ethash=True)
    network = EthashNetwork(nodes=1, accounts=2, difficulty=2)
    node = network.nodes[0]
    assert "EthashElection" in deploy(node.w3, Sender(node.w3, node.accounts[0]))
