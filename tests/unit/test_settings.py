"""Settings from a file: TOML, or what a run has written."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fbfl.errors import InvalidInputError
from fbfl.settings import CONSENSUS, SETTINGS, RunSettings, as_dict, read, refuse_elsewhere
from fbfl.system import strictjson
from fbfl.values import money
from fbfl.values.fields import Place

OTHERS = {
    "rounds": 3,
    "dataset": "digits",
    "attack": "backdoor",
    "attack_args": {"target": 3, "fraction": 0.5},
    "malicious": 2,
    "signatures": True,
    "learning_rate": 0.1,
}


@pytest.mark.parametrize("values", [{}, OTHERS])
def test_the_settings_of_a_run_are_a_configuration(tmp_path: Path, values: dict[str, Any]) -> None:
    path = tmp_path / "settings.json"
    path.write_text(strictjson.dumps(as_dict(RunSettings(**values)), indent=1))
    assert read(path, {}) == RunSettings(**values)
    assert read(path, {"seed": 7}) == RunSettings(**values, seed=7)


def test_there_are_as_many_devices_as_servers_and_twenty_at_least() -> None:
    assert [RunSettings(servers=servers).devices for servers in (1, 20, 21, 240)] == [20, 20, 21, 240]
    by_default: Any = None
    assert RunSettings(servers=30, devices=by_default) == RunSettings(servers=30, devices=30)
    with pytest.raises(InvalidInputError, match=r"devices is 20; allowed: at least one per server \(30\)"):
        RunSettings(servers=30, devices=20)


def test_messages_are_signed_by_default_with_pbft_in_this_process_and_nowhere_else(tmp_path: Path) -> None:
    by_default = {
        (consensus, network): RunSettings(consensus=consensus, network=network).signatures
        for consensus in CONSENSUS
        for network in ("eth-tester", "anvil", "http://10.0.0.1:8545")
    }
    assert {key for key, signed in by_default.items() if signed} == {("pbft", "eth-tester")}
    assert RunSettings(consensus="pbft").signatures is True  # settings.json says what held, not null
    (tmp_path / "settings.json").write_text('{"consensus": "pbft", "signatures": false}')  # of a former run
    assert read(tmp_path / "settings.json", {}).signatures is False
    assert read(tmp_path / "settings.json", {"signatures": True}).signatures is True


def test_what_means_nothing_is_refused_unless_it_is_the_default() -> None:
    assert RunSettings(consensus="ethash", nodes=5).nodes == 5
    meaningless: tuple[dict[str, Any], ...] = {"consensus": "pow"}, {"consensus": "ethash", "network": "geth"}
    for others in meaningless:
        assert RunSettings(**others, nodes=3).nodes == 3
        with pytest.raises(
            InvalidInputError, match=r"^nodes is 5; allowed: only with consensus = ethash and network = "
        ):
            RunSettings(**others, nodes=5)


@pytest.mark.parametrize("name", ["dataset", "mobility", "radio", "server_optimizer", "schedule", "app", "attack"])
def test_an_empty_name_is_not_the_default(name: str) -> None:
    empty: dict[str, Any] = {name: "", "malicious": int(name == "attack")}
    with pytest.raises(InvalidInputError, match=f"^{name} is ''; allowed: a name; without it the default holds"):
        RunSettings(**empty)


@pytest.mark.parametrize("place", [Place.FEDERATION, Place.NETWORK])
def test_what_means_nothing_in_a_place_is_refused_there(place: Place) -> None:
    odd = {
        "stake": "2 ether",
        "devices": 30,
        "attack": "alie",
        "liars": 1,
        "payload": "int8",
        "radio": "shannon",
    }
    for name, value in odd.items():
        if place in SETTINGS[name].places:
            refuse_elsewhere({name: value}, place, "", "nowhere")
            continue
        with pytest.raises(InvalidInputError, match=f"^here: {name} is .*; allowed elsewhere$"):
            refuse_elsewhere({name: value}, place, "here: ", "elsewhere")
    refuse_elsewhere(as_dict(RunSettings(servers=40)) | {"stake": "1 ether"}, place, "", "nowhere")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"quorum": "majority", "consensus": "pbft"}, "quorum is 'majority'; allowed with pbft: byzantine"),
        ({"solve_time": 3}, "solve_time is 3; allowed on eth-tester: 0, as time is logical"),
        (
            {"solve_time": 3, "network": "anvil", "consensus": "pbft"},
            "solve_time is 3; allowed: only with consensus = pow",
        ),
        ({"pow_hashes": 1, "consensus": "ethash"}, "pow_hashes is 1; allowed: only with consensus = pow"),
        ({"min_updates": 11}, "min_updates is 11; allowed: 1 to 10 (servers)"),
        ({"leader_share": 0.5, "reward": 0}, "leader_share is 0.5 but reward is 0; allowed: reward = 1 or more"),
        ({"leader_share": 1.1}, "leader_share is 1.1; allowed: 0 to 1, in steps of 0.0001"),
        ({"rejection_penalty": 0.2501}, "rejection_penalty is 0.2501; allowed: 0 to 0.25, in steps of 0.0001"),
        ({"withheld_penalty": 0.00005}, "withheld_penalty is 5e-05; allowed: 0 to 0.25, in steps of 0.0001"),
    ],
)
def test_what_no_task_can_fix_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError) as raised:
        RunSettings(**values)
    assert str(raised.value) == message


@given(st.integers(0, 2**128 - 1))
@example(5 * 10**12)
@example(1_234_567 * 10**18)
def test_money_is_read_as_it_is_written(amount: int) -> None:
    whole, part = divmod(amount, 10**18)
    stake: Any = f"{whole}.{part:018d} ether"
    reward: Any = f"{amount}wei"
    assert RunSettings(stake=stake).stake == amount
    assert RunSettings(reward=reward).reward == amount
    assert money.wei(money.text(amount)) == amount


@pytest.mark.parametrize("text", ["", "1 eth", "0.5 wei", "1e18", "-1 ether", "1,5 ether", "0.0000000001 gwei"])
def test_what_is_no_amount_is_refused(text: Any) -> None:
    with pytest.raises(InvalidInputError, match=r"^stake is .*; allowed: (a whole number of wei|0 or more)"):
        RunSettings(stake=text)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_configuration_may_come_from_an_editor_of_windows(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "run.toml"
    path.write_text('rounds = 3\ndataset = "Zählen.npz"\n', encoding=encoding, newline="\r\n")
    assert read(path, {}) == RunSettings(rounds=3, dataset="Zählen.npz")
    path.write_text(json.dumps({"rounds": 3}), encoding=encoding)
    assert read(path, {}) == RunSettings(rounds=3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rounds = ", "run: not TOML"),
        ('{"rounds": 3', "run cannot be read"),
        ('{"rounds": "3"}', "run: rounds is '3'; allowed: a whole number"),
        ('{"final_loss": 3}', "run: unknown key 'final_loss'"),
        ("[1]\n", "run: unknown key '1'"),
    ],
)
def test_another_text_is_refused_by_the_name_of_its_file(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "run").write_text(text)
    with pytest.raises(InvalidInputError) as raised:
        read(tmp_path / "run", {})
    assert message in str(raised.value)


@pytest.mark.parametrize("text", ["[]", '"a"', "3", "", "rounds = 3"])
def test_a_file_that_is_called_json_is_refused_as_such(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(InvalidInputError, match=r"run\.json .*; allowed: a JSON object"):
        read(tmp_path / "run.json", {})


@pytest.mark.parametrize("value", [float("nan"), float("-inf"), {1, 2}, b"x", [1, {"a": float("inf")}], 1j])
@pytest.mark.parametrize("kind", ["attack", "aggregator", "partition", "mobility", "radio"])
def test_arguments_that_a_file_of_the_run_could_not_say_are_refused(kind: str, value: Any) -> None:
    given: dict[str, Any] = {"attack": "x", "malicious": 1, "mobility": "x", "radio": "x", f"{kind}_args": {"a": value}}
    with pytest.raises(InvalidInputError, match=f"^{kind}_args: a is "):
        RunSettings(**given)
