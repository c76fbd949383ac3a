"""Settings from a file: TOML, or what a run has written."""

import json

import pytest

from fbfl import strictjson
from fbfl.errors import InvalidInputError
from fbfl.settings import RunSettings, as_dict, read

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
def test_the_settings_of_a_run_are_a_configuration(tmp_path, values):
    path = tmp_path / "settings.json"
    path.write_text(strictjson.dumps(as_dict(RunSettings(**values)), indent=1))
    assert read(path, {}) == RunSettings(**values)
    assert read(path, {"seed": 7}) == RunSettings(**values, seed=7)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_configuration_may_come_from_an_editor_of_windows(tmp_path, encoding):
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
def test_another_text_is_refused_by_the_name_of_its_file(tmp_path, text, message):
    (tmp_path / "run").write_text(text)
    with pytest.raises(InvalidInputError) as raised:
        read(tmp_path / "run", {})
    assert message in str(raised.value)


@pytest.mark.parametrize("value", [float("nan"), float("-inf"), {1, 2}, b"x", [1, {"a": float("inf")}], 1j])
@pytest.mark.parametrize("kind", ["attack", "aggregator", "partition", "mobility", "radio"])
def test_arguments_that_a_file_of_the_run_could_not_say_are_refused(kind, value):
    named = {"attack": "x", "malicious": 1, "mobility": "x", "radio": "x"}
    with pytest.raises(InvalidInputError, match=f"^{kind}_args: a is "):
        RunSettings(**named, **{f"{kind}_args": {"a": value}})
