"""Every page as it is sent, of the folder of a made-up run."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fbfl.dashboard.jobs import Job, Jobs
from fbfl.dashboard.serving import serving
from fbfl.dashboard.sources import RunSource
from fbfl.dashboard.where import Where
from fbfl.runs import index
from fbfl.system import http
from tests.support.long_run import write_run

SERVERS = 12


class Done(Jobs):
    """Jobs that have ended, without any process."""

    def __init__(self, results: dict[str, Any]) -> None:
        super().__init__()
        self.results = results
        self.begun: list[str] = []

    def ask(self, kind: str, where: Where, *, retry: bool = False, **about: Any) -> Job:
        return Job(kind, about, done=True, result=self.results[kind], seconds=1.5)

    def known(self, kind: str, where: Where, **about: Any) -> Job | None:
        return self.ask(kind, where) if kind in self.begun else None

    def again(self, kind: str, where: Where, **about: Any) -> Job:
        self.begun.append(kind)
        return self.ask(kind, where)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    run = write_run(tmp_path_factory.mktemp("runs") / "run", rounds=3, servers=SERVERS)
    known = index.read(run)
    assert known is not None
    one, two, *_ = known.addresses
    updates = {
        "rule": "krum",
        "servers": [one, two],
        "norms": [1.0, 2.0],
        "cosines": [None, 0.5],
        "distances": [[0.0, 3.0], [3.0, 0.0]],
        "aggregate_norm": 1.25,
        "refused": {one: "no <b>file</b>"},
        "selected": [two],
        "unselected": "",
    }
    findings = [{"round": 2, "server": one, "problem": "<i>wrong</i>"}]
    audit = {"rounds": 3, "over": 3, "final": 3, "updates": 36, "expired": 0, "findings": findings}
    recall = {"figures": {"accuracy": 0.5, "f1": 0.125}, "recall": [0.25, None]}
    jobs = Done({"updates": updates, "recall": recall, "audit": audit})
    sources = [RunSource(Where(run=run), jobs), RunSource(Where(run=run), jobs)]
    with serving(sources, jobs, 0) as url:
        yield url


@pytest.fixture
def damaged(tmp_path: Path) -> Iterator[str]:
    """Pages of a run with two attacks, a metric of its own and an odd name, and of one whose metrics are damaged."""
    whole, broken = (write_run(tmp_path / name, rounds=2, servers=3) for name in ("a\u202eb", "broken"))
    settings = json.loads((whole / "settings.json").read_text())
    (whole / "settings.json").write_text(json.dumps({**settings, "attack": ["backdoor", "scaling"]}))
    lines = [json.loads(line) for line in (whole / "metrics.jsonl").read_text().splitlines()]
    text = "".join(json.dumps({**line, "metrics": {"f1": 0.5}}) + "\n" for line in lines)
    (whole / "metrics.jsonl").write_text(text)
    (broken / "metrics.jsonl").write_text("{}\n")
    jobs = Done({})
    with serving([RunSource(Where(run=run), jobs) for run in (whole, broken)], jobs, 0) as url:
        yield url


def page(url: str, path: str, status: int = 200) -> str:
    with http.session() as session:
        answer = session.get(url.rstrip("/") + path)
    assert answer.status_code == status, answer.text
    return answer.text


def test_the_overview_has_curves_and_settings(url: str) -> None:
    shown = page(url, "/")
    assert shown.count('<figure class="chart">') == 5
    assert "3 of 3" in shown
    assert "label_flipping" in shown
    assert 'data-every="0.0"' in shown, "the run has ended"


def test_updates_show_what_was_computed(url: str) -> None:
    shown = page(url, "/updates/2")
    assert len(re.findall('fill-opacity="([0-9.]+)"', shown)) == 4
    assert "krum selected 1 of 2" in shown
    assert "no &lt;b&gt;file&lt;/b&gt;" in shown
    assert "classes" not in shown
    assert shown.count("malicious") == 3, "both and the one that cannot be read are attackers"
    recalled = page(url, "/updates/2?recall=1")
    assert "0.2500" in recalled
    assert "On the test set: accuracy 0.5000, f1 0.1250." in recalled


def test_the_map_has_a_cell_per_server_and_a_place_per_device(url: str) -> None:
    first, last = page(url, "/map?round=1"), page(url, "/map")
    assert first.count('class="cell') == SERVERS
    assert first.count('class="device"') == 2 * SERVERS
    assert "Cells and devices in round 3" in last
    assert '<meta http-equiv="refresh" content="1;url=/map?round=2&amp;play=1">' in page(url, "/map?round=1&play=1")
    assert "refresh" not in page(url, "/map?round=3&play=1")


def test_an_audit_is_begun_by_its_button_alone(url: str) -> None:
    assert "verdict" not in page(url, "/audit")
    with http.session() as session:
        assert session.post(url + "audit", headers={"Origin": "http://evil.example"}).status_code == 403
        assert "verdict" not in page(url, "/audit")
        assert session.post(url + "audit?run=7").status_code == 404
        answer = session.post(url + "audit?run=1", allow_redirects=False)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/audit?run=1")
    shown = page(url, "/audit")
    assert "3 rounds, 3 final, 36 updates" in " ".join(shown.split())
    assert "1 finding<" in shown
    assert '<a href="/round/2">2</a>' in shown
    assert "&lt;i&gt;wrong&lt;/i&gt;" in shown


def test_the_same_run_twice_is_compared_under_two_names(url: str) -> None:
    shown = page(url, "/compare")
    assert shown.count('class="curve c1"') == 5
    assert "(1)</a>" in shown


ABSENT = ("/round/4", "/updates/0", "/map?round=x", "/rounds?sort=x", "/?run=2", "/compare?run=-1")


def test_damage_of_one_run_leaves_the_comparison_of_the_others(damaged: str) -> None:
    shown = page(damaged, "/compare")
    assert "metrics.jsonl is damaged: line 1 names no round" in shown
    assert shown.count('class="curve c0"') == 6
    page(damaged, "/?run=1", 500)


def test_own_metrics_are_drawn_and_settings_are_written_as_in_files(damaged: str) -> None:
    shown = page(damaged, "/")
    assert "<span>f1</span>" in shown
    assert shown.count('class="curve c0"') == 6
    assert "[&#34;backdoor&#34;, &#34;scaling&#34;]" in shown
    assert "\u202e" not in shown
    assert r"\u202e" in shown


@pytest.mark.parametrize("path", ABSENT)
def test_what_is_not_there_is_told_with_what_is_allowed(url: str, path: str) -> None:
    assert "allowed: " in page(url, path, 404)
