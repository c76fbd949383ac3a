"""`fbfl run` on a running network: the contracts and rounds are there, and nowhere else."""

import contextlib
import io
import json
from pathlib import Path
from typing import Any

import pytest

from fbfl.chain.deployment.deploy import DEPLOYMENTS, file_of
from fbfl.chain.networks import connect
from fbfl.cli.main import main
from fbfl.nodes import chains
from fbfl.runs.play import play
from fbfl.settings import RunSettings
from tests.integration.machine import require
from tests.support.ports import free_ports

pytestmark = pytest.mark.integration

RUN = ("run", "--dataset", "digits", "--servers", "4", "--devices", "8", "--rounds", "2", "--quiet")


def test_a_run_on_a_network_can_be_queried_there_until_its_chain_begins_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    require("anvil")
    monkeypatch.chdir(tmp_path)
    state = tmp_path / "nodes"
    (node,) = chains.up("anvil", port=free_ports(), state=state)
    try:
        assert main([*RUN, "--output", "embedded"]) == 0
        assert main([*RUN, "--network", node.address, "--output", "first"]) == 0
        assert main([*RUN, "--network", node.address, "--output", "second", "--consensus", "pbft", "--signatures"]) == 0
        models = {name: json.loads(Path(name, "summary.json").read_text()) for name in ("embedded", "first", "second")}
        assert len({summary["model_sha256"] for summary in models.values()}) == 1
        assert models["first"]["chain"] is None

        # The contracts are deployed once, and every run is a task of its own.
        deployed = [json.loads(Path(name, "deployment.json").read_text()) for name in ("first", "second")]
        assert deployed[0] == {**deployed[1], "task": deployed[0]["task"], "origin": deployed[0]["origin"]}
        assert [deployment["task"] for deployment in deployed] == [1, 2]
        for run in ("first", "second"):
            assert main(["audit", "--run", run]) == 0
        assert said(["rounds", "--run", "second", "--json"]) == said(["rounds", "--network", node.address, "--json"])
        capsys.readouterr()
        for options, named in (
            (("--consensus", "ethash"), "consensus is ethash; deployed on this network: pow, pbft"),
            (("--servers", "100", "--devices", "100"), "servers is 100; allowed on a local network: up to 99"),
        ):
            assert main([*RUN, "--network", node.address, "--output", "refused", *options]) == 2
            error = capsys.readouterr().err
            assert named in error
            assert len(error.splitlines()) == 1

        chains.ask(node.address, "anvil_reset")
        assert main([*RUN, "--network", node.address, "--output", "third"]) == 0
        assert main(["rounds", "--run", "first"]) == 1
        error = capsys.readouterr().err
        assert f"first: the chain at {node.address} is not the one of this run" in error
        assert len(error.splitlines()) == 1
    finally:
        chains.down("anvil", state=state)


def test_a_run_that_was_stopped_goes_on_from_the_networks_chain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require("anvil")
    monkeypatch.chdir(tmp_path)
    state = tmp_path / "nodes"
    (node,) = chains.up("anvil", port=free_ports(), state=state)

    def stop(line: dict[str, Any]) -> None:
        raise KeyboardInterrupt

    try:
        assert main([*RUN, "--output", "embedded"]) == 0
        settings = RunSettings(dataset="digits", servers=4, devices=8, rounds=2, network=node.address)
        with pytest.raises(KeyboardInterrupt):
            play(settings, Path("stopped"), deployment=file_of(connect(node.address), DEPLOYMENTS), on_round=stop)
        Path("stopped/metrics.jsonl").write_text("")  # killed before the line of a round that is final
        assert main(["run", "--resume", "stopped", "--quiet"]) == 0
        first, second = (json.loads(line) for line in Path("stopped/metrics.jsonl").read_text().splitlines())
        assert first["seconds"] == 0 < second["seconds"]
        stopped, whole = (json.loads(Path(name, "summary.json").read_text()) for name in ("stopped", "embedded"))
        assert stopped["model_sha256"] == whole["model_sha256"]
        assert main(["audit", "--run", "stopped"]) == 0
    finally:
        chains.down("anvil", state=state)


def said(command: list[str]) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as output:
        assert main(command) == 0
    return output.getvalue()
