"""A run that was stopped, at any moment, goes on to the bytes of one that never was."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fbfl.chain.embedded.export import ChainWriter
from fbfl.cli import main
from fbfl.errors import ChainImportError, InvalidInputError, StorageError
from fbfl.mec.server import MECServer
from fbfl.runs import play as playing
from fbfl.runs import resume as resuming
from fbfl.runs.folder import RunFolder
from fbfl.settings import RunSettings, as_dict

TIMES = ("seconds", "train_seconds", "consensus_seconds", "cpu_seconds")
ROUNDS = 3
LINE = '{"round": 1, "status": "final", "accuracy": 0.5, "loss": null, "seconds": 1.5}'
"""A line of metrics.jsonl with what the end of a run needs of it."""
KINDS: dict[str, dict[str, Any]] = {
    "pow": {"consensus": "pow", "attack": "backdoor", "malicious": 1, "mobility": "random_waypoint"},
    "pbft": {"consensus": "pbft", "signatures": True, "liars": 1},
}


def settings_of(kind: str) -> RunSettings:
    return RunSettings(dataset="digits", servers=4, rounds=ROUNDS, **KINDS[kind])


def lines_of(folder: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in TIMES} for line in lines]


class Whole:
    """A run that was not stopped, with a copy of its folder at some moments: what kill -9 leaves there."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.settings = settings_of(kind)
        self.path = folder / "whole"
        self.copies = folder
        self.copied = 0
        playing.play(self.settings, self.path, deployment=None, say=self._say, on_round=self._round)

    def _say(self, text: str) -> None:
        if "set up in" in text:
            self._copy("begun")

    def _round(self, line: dict[str, Any]) -> None:
        self._copy(f"after {line['round']}")

    def _copy(self, name: str) -> None:
        shutil.copytree(self.path, self.copies / name)

    def stopped(self, moment: str) -> Path:
        """A new copy of the folder as it was at a moment."""
        self.copied += 1
        return Path(shutil.copytree(self.copies / moment, self.copies / f"stopped-{self.copied}"))

    def interrupted(self, monkeypatch: pytest.MonkeyPatch, step: int) -> Path:
        """The folder of a run that Ctrl-C stops at a step of a server."""
        steps = 0
        act = MECServer.send_step

        def send_step(server: MECServer) -> bool:
            nonlocal steps
            steps += 1
            if steps == step:
                raise KeyboardInterrupt
            return act(server)

        self.copied += 1
        folder = self.copies / f"stopped-{self.copied}"
        with monkeypatch.context() as patch:
            patch.setattr(MECServer, "send_step", send_step)
            with pytest.raises(KeyboardInterrupt):
                playing.play(self.settings, folder, deployment=None)
        return folder


@pytest.fixture(scope="module", params=KINDS)
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    return Whole(request.param, tmp_path_factory.mktemp(request.param))


def cut_line(folder: Path) -> None:
    path = folder / "metrics.jsonl"
    path.write_text(path.read_text()[:-40])


def drop_line(folder: Path) -> None:
    path = folder / "metrics.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))


def half_a_block(folder: Path) -> None:
    path = folder / "chain" / "chain.rlp"
    path.write_bytes(path.read_bytes() + path.read_bytes()[:700])


def nothing(_: Path) -> None:
    """Leave the folder as it was."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("moment", "damage", "left"),
    [
        pytest.param("begun", nothing, 0, id="before the first round"),
        pytest.param("after 1", nothing, 1, id="between rounds"),
        pytest.param("after 2", drop_line, 1, id="between final and metrics"),
        pytest.param("after 2", cut_line, 1, id="while writing metrics"),
        pytest.param("after 1", half_a_block, 1, id="while writing the chain"),
    ],
)
def test_a_killed_run_goes_on(whole: Whole, moment: str, damage: Callable[[Path], None], left: int) -> None:
    folder = whole.stopped(moment)
    damage(folder)
    assert_goes_on(whole, folder, left)


@pytest.mark.slow
@pytest.mark.parametrize("step", [2, 18, 30])
def test_an_interrupted_run_goes_on(whole: Whole, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """In the submissions of a round, in its decision, and later: the blocks of the round are mined again."""
    folder = whole.interrupted(monkeypatch, step)
    assert_goes_on(whole, folder, len(lines_of(folder)))


def assert_goes_on(whole: Whole, folder: Path, left: int) -> None:
    shown: list[int] = []
    said: list[str] = []
    resuming.resume(folder, say=said.append, on_round=lambda line: shown.append(line["round"]))
    assert said[0] == f"{folder} goes on after {left} round{'s' * (left != 1)} of {ROUNDS}"
    assert shown == [*range(left + 1, ROUNDS + 1)]
    assert lines_of(folder) == lines_of(whole.path)
    ours, theirs = (json.loads((path / "summary.json").read_text()) for path in (folder, whole.path))
    assert ours["chain"] == theirs["chain"]
    assert ours["model_sha256"] == theirs["model_sha256"]
    assert (folder / "accuracy.png").exists()
    assert resuming.has_ended(folder)


@pytest.mark.slow
def test_an_ethash_run_goes_on_to_the_same_model(tmp_path: Path) -> None:
    settings = RunSettings(dataset="digits", servers=3, rounds=2, consensus="ethash")

    def copy_after_the_first(line: dict[str, Any]) -> None:
        if line["round"] == 1:
            shutil.copytree(tmp_path / "whole", tmp_path / "killed")

    whole = playing.play(settings, tmp_path / "whole", deployment=None, on_round=copy_after_the_first)
    resumed = resuming.resume(tmp_path / "killed", say=print, on_round=print)
    assert resumed.summary["model_sha256"] == whole.summary["model_sha256"]
    assert main(["audit", "--run", str(tmp_path / "killed")]) == 0


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that was stopped before its first round."""
    folder = tmp_path_factory.mktemp("begun") / "run"

    def stop(text: str) -> None:
        if "set up in" in text:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        playing.play(settings_of("pow"), folder, deployment=None, say=stop)
    return folder


@pytest.fixture
def stopped(begun: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(begun, tmp_path / "run"))


def changed(folder: Path, name: str, value: object) -> None:
    path = folder / "deployment.json"
    deployment = json.loads(path.read_text())
    deployment["origin"][name] = value
    path.write_text(json.dumps(deployment))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("fbfl", "0.0.1"),
        ("contracts", "00"),
        ("dataset", "00"),
        ("files", {"aggregator": "00"}),
        ("versions", {"attack": 9}),
        ("settings", "00"),
    ],
)
def test_another_version_data_or_code_is_refused_by_name(stopped: Path, name: str, value: object) -> None:
    changed(stopped, name, value)
    with pytest.raises(InvalidInputError, match=rf"--resume .*: {name} is .*, it began with .*; allowed: the same"):
        resuming.resume(stopped, say=print, on_round=print)


@pytest.mark.parametrize(
    "changes",
    [
        {"dataset": "subprocess:run", "dataset_args": {"args": ["touch", "taken"]}},
        {"radio": "subprocess:run", "radio_args": {"args": ["touch", "taken"]}},
        {"trainer": "os:abort"},
        {"trainer_args": {"loss": "os:abort"}},
        *({name: "os:abort"} for name in ("mobility", "partition", "model", "optimizer", "aggregator", "attack")),
        *({name: "os:abort"} for name in ("schedule", "server_optimizer", "metric")),
        {"attack": ["backdoor", "os:abort"]},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_folder_from_somebody_else_runs_no_code_that_it_names(
    stopped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, object]
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = json.loads((stopped / "settings.json").read_text())
    (stopped / "settings.json").write_text(json.dumps({**settings, **changes}))
    with pytest.raises(InvalidInputError, match=r"its settings name the code '.*:.*'; allowed: what --plugin"):
        resuming.resume(stopped, say=print, on_round=print)
    assert not (tmp_path / "taken").exists()


def test_a_folder_from_somebody_else_starts_no_app_that_it_names(stopped: Path, tmp_path: Path) -> None:
    app = tmp_path / "app"
    app.mkdir()
    components = 'components = { serverapp = "os:abort", clientapp = "os:abort" }'
    (app / "pyproject.toml").write_text(f'[project]\nname = "evil"\n[tool.flwr.app]\n{components}\n')
    settings = RunSettings(trainer="flower", app=str(app))
    (stopped / "settings.json").write_text(json.dumps(as_dict(settings)))
    with pytest.raises(InvalidInputError, match=f"its settings name the code '{app}'; allowed: what --plugin"):
        resuming.resume(stopped, say=print, on_round=print)


def test_other_settings_than_it_began_with_are_refused(stopped: Path) -> None:
    settings = json.loads((stopped / "settings.json").read_text())
    (stopped / "settings.json").write_text(json.dumps({**settings, "attack": None, "malicious": 0}))
    with pytest.raises(InvalidInputError, match=r"--resume .*: settings is .*, it began with .*; allowed: the same"):
        resuming.resume(stopped, say=print, on_round=print)


def test_what_cannot_go_on_is_one_line(stopped: Path, tmp_path: Path) -> None:
    RunFolder.create(tmp_path / "new", settings_of("pow"))
    with pytest.raises(InvalidInputError, match="its task was not made yet"):
        resuming.resume(tmp_path / "new", say=print, on_round=print)
    with RunFolder.reopened(stopped), pytest.raises(InvalidInputError, match="runs already: it holds"):
        resuming.resume(stopped, say=print, on_round=print)
    (stopped / "metrics.jsonl").write_text(f"{LINE}\n")
    with pytest.raises(ChainImportError, match=r"the chain has 0 rounds, metrics\.jsonl 1"):
        resuming.resume(stopped, say=print, on_round=print)
    changed(stopped, "fbfl", None)
    deployment = json.loads((stopped / "deployment.json").read_text())
    (stopped / "deployment.json").write_text(json.dumps({**deployment, "origin": None}))
    with pytest.raises(InvalidInputError, match="a run of a version that could not resume"):
        resuming.resume(stopped, say=print, on_round=print)


@pytest.mark.parametrize(
    "changes",
    [
        {"task": None},
        {"task": 7},
        {"addresses": None},
        {"addresses": {"FederatedTasks": "0x12", "MECRegistry": "x", "RewardPool": 5}},
        {"addresses": {}},
        {"addresses": dict.fromkeys(("FederatedTasks", "MECRegistry", "RewardPool"), "0x" + "12" * 20)},
        {"start_block": "0"},
    ],
)
def test_a_damaged_deployment_is_one_line_and_starts_no_other_task(
    stopped: Path, changes: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    path = stopped / "deployment.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    assert main(["run", "--resume", str(stopped)]) == 1
    assert re.fullmatch(rf"fbfl: {path}.*\n", capsys.readouterr().err)


@pytest.mark.parametrize(
    "changes",
    [
        {"round": 2},
        {"status": None},
        {"accuracy": "0.9"},
        {"loss": []},
        {"seconds": True},
        {"warnings": [5]},
        {"warnings": "text"},
    ],
)
def test_a_damaged_line_is_told_before_anything_is_played(
    stopped: Path, changes: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    (stopped / "metrics.jsonl").write_text(json.dumps({**json.loads(LINE), **changes}) + "\n")
    assert main(["run", "--resume", str(stopped)]) == 1
    assert re.fullmatch(rf"fbfl: {stopped}/metrics\.jsonl is damaged: line 1 .*\n", capsys.readouterr().err)


def test_a_run_whose_chain_could_not_be_kept_never_began_and_leaves_the_folder_to_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: ChainWriter) -> None:
        raise StorageError("the disk is full")

    monkeypatch.setattr(ChainWriter, "flush", fail)
    settings = settings_of("pow").replace(rounds=1, mobility=None)
    with pytest.raises(StorageError):
        playing.play(settings, tmp_path, deployment=None)
    monkeypatch.undo()
    assert playing.play(settings, tmp_path, deployment=None).summary["final_rounds"] == 1


@pytest.mark.parametrize("option", [["--rounds", "4"], ["--output", "x"], ["--seeds", "2"], ["--config", "a.toml"]])
def test_resume_takes_no_other_setting(stopped: Path, option: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--resume", str(stopped), *option]) == 2
    said = capsys.readouterr().err
    assert said == f"fbfl: {' '.join(option)}; allowed with --resume: no setting, since the run has its own\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"rounds": 2.5}', "rounds is 2.5; allowed: a whole number"),
        ('{"malicious": 2}', "malicious is 2 but no attack is named; allowed: attack = NAME"),
        ("[]", "is b'[]'; allowed: a JSON object"),
    ],
)
def test_settings_that_cannot_be_are_told_with_their_file(
    tmp_path: Path, text: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "settings.json"
    file.write_text(text)
    assert main(["run", "--resume", str(tmp_path)]) == (1 if text == "[]" else 2)
    error = capsys.readouterr().err
    assert error.startswith(f"fbfl: {file}")
    assert text == "[]" or error == f"fbfl: {file}: {said}\n"


def test_a_run_that_has_ended_gets_the_pictures_that_it_lacks_and_is_left_as_it_is(
    stopped: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (stopped / "metrics.jsonl").write_text('{"round": 1, "accuracy": 0.5, "loss": 1.0}\n')
    (stopped / "summary.json").write_text('{"dataset": "digits", "servers": 4, "aggregator": "fedavg"}')
    (stopped / "loss.png").write_bytes(b"there")
    ended = f"{stopped}: the run has ended, all its rounds are there\n"
    assert main(["run", "--resume", str(stopped)]) == 0
    assert capsys.readouterr().out == f"{ended}plots: {stopped / 'accuracy.png'}\n"
    assert (stopped / "accuracy.png").read_bytes().startswith(b"\x89PNG")
    assert main(["run", "--resume", str(stopped)]) == 0
    assert capsys.readouterr().out == ended
    assert (stopped / "loss.png").read_bytes() == b"there"
    (stopped / "summary.json").write_text("{}")
    assert main(["run", "--resume", str(stopped)]) == 1
    assert capsys.readouterr().err == f"fbfl: {stopped / 'summary.json'} is damaged: it lacks settings\n"
