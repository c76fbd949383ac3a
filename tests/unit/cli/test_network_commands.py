from pathlib import Path

import pytest

from fbfl.cli import main

MEC = ("mec", "--network", "http://127.0.0.1:9", "--account", "1", "--dataset", "digits")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["task", "create", "--liars", "1"], ["liars is 1", "fbfl run"]),
        (["task", "create", "--window", "0"], ["--window 0", "1 or more"]),
        (["task", "create", "--retention", "0"], ["--retention 0", "1 or more rounds"]),
        (["task", "create"], ["eth-tester", "as long as a run"]),
        (["task", "admit", "--network", "anvil", "0x12"], ["'0x12'", "20 bytes"]),
        (["task", "drive", "--network", "anvil", "--rounds", "0"], ["--rounds 0", "1 or more"]),
        ([*MEC, "--port", "0"], ["--port 0", "65535"]),
        ([*MEC, "--poll", "0"], ["--poll 0", "more than 0"]),
        ([*MEC, "--patience", "-1"], ["--patience -1", "more than 0"]),
        ([*MEC, "--peer", "127.0.0.1:8601"], ["--peer 127.0.0.1:8601", "http(s) URLs"]),
        ([*MEC, "--data", "samples.npz"], ["--data", "--dataset"]),
        ([*MEC, "--devices", "devices"], ["--devices", "--dataset"]),
        (["rounds", "--task", "3"], ["--task 3", "--network"]),
        (["audit", "--network", "eth-tester"], ["eth-tester", "--run DIR"]),
    ],
)
def test_bad_input_is_named_with_what_is_allowed(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    named: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        status = main(arguments)
    except SystemExit as ending:  # how argparse says it
        status = int(str(ending.code))
    said = capsys.readouterr().err
    assert status == 2, said
    assert all(word in said for word in named), said
    assert not list(tmp_path.iterdir()), "a refused command leaves nothing behind"


def test_a_node_that_does_not_answer_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*MEC, "--share", "0/4"]) == 3
    assert "no node answers at http://127.0.0.1:9" in capsys.readouterr().err
