"""What the dashboard has computed from payloads and data, against what the run itself knows."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import fbfl
from fbfl import RunSettings
from fbfl.dashboard.analysis import audit_of, recall_of, updates_of
from fbfl.dashboard.where import Where
from fbfl.errors import InvalidInputError
from fbfl.runs import index


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "run"
    settings = RunSettings(
        dataset="digits",
        servers=7,
        devices=7,
        rounds=2,
        attack="sign_flipping",
        malicious=1,
        aggregator="multi_krum",
        aggregator_args={"num_byzantine": 1, "num_selected": 4},
    )
    fbfl.run(settings, path)
    index.recorded_in(path)
    return path


def ignore(text: str) -> None:
    """Of progress nobody wants to know here."""


def test_updates_lie_as_the_models_say(played: Path) -> None:
    run = fbfl.open_run(played)
    attacker, *honest = (update.server for update in run.rounds[1].updates)
    found = updates_of(Where(run=played), 2, ignore)
    assert found["servers"] == [attacker, *honest]
    before, after = (np.concatenate([each.ravel() for each in run.weights(number)]) for number in (1, 2))
    step = (after - before).astype(np.float64)
    assert found["aggregate_norm"] == pytest.approx(float(np.linalg.norm(step)), rel=1e-5)
    first, *others = found["cosines"]
    assert first < 0 < min(others)
    assert len(found["selected"]) == 4
    assert attacker not in found["selected"]
    assert found["refused"] == {}
    distances = np.array(found["distances"])
    assert np.allclose(distances, distances.T)
    assert not distances.diagonal().any()
    assert distances[0, 1:].min() > distances[1:, 1:].max(), "the attacker is far from all"


def test_an_update_that_is_gone_is_named_and_the_others_are_compared(played: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(played, tmp_path / "run"))
    gone = index.recorded_in(run).records.round(2).updates[3]
    (run / "payloads" / gone.cid).unlink()
    found = updates_of(Where(run=run), 2, ignore)
    assert list(found["refused"]) == [gone.server]
    assert len(found["servers"]) == 6
    assert found["selected"] is None
    audited = audit_of(Where(run=run), ignore)
    assert [(each["round"], each["server"]) for each in audited["findings"]] == [(2, gone.server)]


def test_recall_is_that_of_the_model_after_the_round(played: Path) -> None:
    metrics = fbfl.open_run(played).metrics
    for number in (1, 2):
        found = recall_of(Where(run=played), number, ignore)
        measured = metrics[number - 1]
        assert found["figures"] == pytest.approx({name: measured[name] for name in ("accuracy", "loss")})
        assert found["recall"] == pytest.approx(measured["recall"])


def test_an_audit_tells_how_far_it_is(played: Path) -> None:
    told: list[str] = []
    found = audit_of(Where(run=played), told.append)
    assert (found["rounds"], found["final"], found["updates"], found["findings"]) == (2, 2, 14, [])
    executed = "executes every block of the chain again"
    assert told == [executed, "round 1 of 2 recomputed", "round 2 of 2 recomputed"]


def test_rounds_and_code_that_are_not_there_are_refused(played: Path, tmp_path: Path) -> None:
    where = Where(run=played)
    for ask in (updates_of, recall_of):
        with pytest.raises(InvalidInputError, match="round 3 does not exist; allowed: 1 to 2"):
            ask(where, 3, ignore)
    with pytest.raises(InvalidInputError, match="a network has no test set"):
        recall_of(Where(network="http://127.0.0.1:1"), 1, ignore)
    run = Path(shutil.copytree(played, tmp_path / "run"))
    settings = json.loads((run / "settings.json").read_text())
    (run / "settings.json").write_text(json.dumps({**settings, "optimizer": "nobody:optimizer"}))
    with pytest.raises(InvalidInputError, match="name the code 'nobody:optimizer'; allowed: what --plugin names"):
        recall_of(Where(run=run), 1, ignore)
