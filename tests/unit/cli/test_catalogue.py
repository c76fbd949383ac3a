"""The names that settings take, as `fbfl list` prints them."""

import json

import pytest

from fbfl.cli import main
from fbfl.cli.catalogue import catalogue
from fbfl.learning import aggregation, attacks
from fbfl.settings import SETTINGS


def test_every_kind_is_a_setting_and_every_function_says_what_it_is() -> None:
    kinds = catalogue()
    assert set(kinds) <= set(SETTINGS)
    assert {name for name, setting in SETTINGS.items() if setting.allowed} <= set(kinds)
    for kind, entries in kinds.items():
        assert entries
        for entry in entries:
            assert entry.about or SETTINGS[kind].allowed, entry
            assert not set("`\n") & set(entry.about), entry


def test_settings_are_those_that_the_functions_take() -> None:
    kinds = catalogue()
    (krum,) = (entry for entry in kinds["aggregator"] if entry.name == "krum")
    assert krum.settings == ("num_byzantine",)
    given = {"num_byzantine": 1, "num_selected": 1, "trim": 1, "max_norm": 1.0, "source": 1, "target": 2}
    for kind, resolve in (("aggregator", aggregation.resolve), ("attack", attacks.resolve)):
        for entry in kinds[kind]:
            needed = [name for name in entry.settings if name in given]
            resolve(entry.name, **{name: given[name] for name in needed})
            with pytest.raises(Exception, match="does not take 'nothing'"):
                resolve(entry.name, nothing=1, **{name: given[name] for name in needed})


def test_the_list_of_one_kind_and_of_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "partition"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "--partition"
    assert lines[1].split()[:3] == ["iid", "Shuffle", "all"]
    assert all(line.startswith("  ") for line in lines[1:])
    assert main(["list", "--json"]) == 0
    assert [*json.loads(capsys.readouterr().out)] == [name.replace("_", "-") for name in catalogue()]
    assert main(["list", "attak"]) == 2
    assert "'attak' is no kind of names; allowed: aggregator, attack" in capsys.readouterr().err
