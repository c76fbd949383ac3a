"""`fbfl deploy` in this process, on a chain in this process."""

from pathlib import Path

import pytest

from fbfl.chain import networks
from fbfl.chain.embedded.chain import EmbeddedChain, start_chain
from fbfl.cli import deploy as deploy_command
from fbfl.cli import main
from fbfl.cli.keys import KEY_VARIABLE


@pytest.fixture
def chain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> EmbeddedChain:
    """A chain that stands for a network which lasts, beside an empty folder."""
    chain = start_chain(2)
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(networks, "connect", lambda network: chain.w3)
    monkeypatch.setattr(deploy_command, "deployment_on", lambda network, file: file)
    return chain


def addresses_in(text: str) -> dict[str, str]:
    lines = [line.split() for line in text.splitlines() if line.startswith("0x")]
    return {name: address for address, name in lines}


def test_addresses_are_printed_and_kept_and_a_second_time_is_the_same(
    chain: EmbeddedChain, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["deploy", "--network", "anvil", "--deployment", "its.json"]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert set(addresses_in(said)) >= {"MECRegistry", "FederatedTasks", "RewardPool", "PowPuzzle", "PbftCommittee"}
    assert "this chain has no proof of work: EthashElection is not deployed (--mock-ethash deploys it" in said
    assert said.endswith("kept in its.json\n")
    block = chain.w3.eth.block_number
    assert main([*command, "--mock-ethash"]) == 0
    again = capsys.readouterr().out
    assert addresses_in(again) == {**addresses_in(said), "EthashElection": addresses_in(again)["EthashElection"]}
    assert "EthashElection is a mock here" in again
    assert chain.w3.eth.block_number > block


@pytest.mark.parametrize("of_key", [True, False])
def test_who_pays_owns_the_contracts(
    chain: EmbeddedChain, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], of_key: bool
) -> None:
    """The account of the key in the environment, else the node's first one."""
    account = chain.accounts[1 if of_key else 0]
    if of_key:
        monkeypatch.setenv(KEY_VARIABLE, list(chain.keys.values())[1].to_hex())
    before = chain.w3.eth.get_transaction_count(account)
    assert main(["deploy"]) == 0
    assert "eth-tester lives in this process and ends with it" in capsys.readouterr().out
    assert chain.w3.eth.get_transaction_count(account) > before


def test_a_consensus_contract_of_ones_own_may_slash(chain: EmbeddedChain, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["deploy", "--deployment", "its.json"]) == 0
    own = addresses_in(capsys.readouterr().out)["PbftCommittee"]
    assert main(["deploy", "--deployment", "its.json", "--consensus", f"own={own.lower()}"]) == 0
    assert addresses_in(capsys.readouterr().out)["own"] == own


def test_where_nobody_can_pay_a_line_says_what_to_set(
    chain: EmbeddedChain, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(type(chain.w3.eth), "accounts", property(lambda eth: ()))
    assert main(["deploy"]) == 2
    assert capsys.readouterr().err == (
        f"fbfl: the node holds no account; set {KEY_VARIABLE} to a private key that may pay for gas\n"
    )
