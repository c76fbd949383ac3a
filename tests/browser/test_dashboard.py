"""Every page of the dashboard in a browser: of a run, of a damaged one, and with names that contain HTML."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from fbfl.runs import index
from tests.browser.starting import dashboard
from tests.support.browser import Browser
from tests.support.indexes import forge

pytestmark = [pytest.mark.integration, pytest.mark.browser]

PAGES = ("/", "/rounds", "/round/2", "/servers", "/updates/2", "/map", "/audit", "/compare")
WITHOUT_RECORDS = ("/audit", "/compare")
"""They show nothing of the records."""

HTML = '<img src=x onerror="window.harmed=1"><script>window.harmed=1</script>\'"&lt;'


def settled(window: Browser, url: str) -> None:
    """Open a page and wait until the chain has been read."""
    window.open(url)
    window.wait(lambda: "the chain is read" not in window.text())


def test_every_page_of_a_run_shows_it_and_loads_nothing_from_elsewhere(window: Browser, played: Path) -> None:
    with dashboard("--run", played) as url:
        settled(window, url + "/")
        assert "3 of 3" in window.text()
        assert window.count("figure.chart polyline") >= 5
        for page in PAGES:
            window.open(url + page)
            window.wait(lambda: window.count(".working") == 0)
            assert page in WITHOUT_RECORDS or "not re-executed" in window.text()
            assert window.count(".trouble") == 0
            assert all(each.startswith(url + "/") for each in window.loaded())
        window.open(url + "/round/2")
        assert "Round 2: final" in window.text("h1")
        assert window.count("#track circle") >= 4
        window.follow("a[rel=next]")
        assert "Round 3" in window.text("h1")
        window.follow("#updates + p + .scroll td a")
        assert window.run("return location.pathname + location.hash").startswith("/servers#server-")
        assert window.count("#servers tr") == 1 + 4
        assert window.texts("#servers td:has(.tag)") == ["server-0 malicious"]
        assert window.complaints() == []


def test_rounds_are_sorted_and_filtered(window: Browser, played: Path) -> None:
    def shown() -> list[str]:
        return window.texts("#rounds tr td:first-child")

    with dashboard("--run", played) as url:
        settled(window, url + "/rounds")
        assert shown() == ["1", "2", "3"]
        window.follow("#rounds th:first-child a")
        assert shown() == ["3", "2", "1"]
        leader = window.texts("#rounds tr td:nth-child(3)")[0]
        window.run("document.querySelector('[name=leader]').value = arguments[0]", leader)
        window.follow(".controls button")
        window.wait(lambda: {*window.texts("#rounds tr td:nth-child(3)")} == {leader})
        assert shown()[0] == "3"
        window.open(url + "/rounds?status=aborted")
        assert shown() == []
        for wrong in ("/rounds?sort=<b>", "/rounds?page=0", "/round/99", "/?run=1"):
            window.open(url + wrong)
            assert window.count(".trouble") == 1, wrong


@pytest.mark.parametrize("damage", ["chain", "metrics", "genesis"])
def test_every_page_of_a_damaged_run_says_what_is_wrong(
    window: Browser, played: Path, tmp_path: Path, damage: str
) -> None:
    run = Path(shutil.copytree(played, tmp_path / "run"))
    (run / index.INDEX).unlink(missing_ok=True)
    if damage == "metrics":
        with (run / "metrics.jsonl").open("a") as file:
            file.write("[1]\n")
    else:
        damaged = run / "chain" / {"chain": "chain.rlp", "genesis": "genesis.json"}[damage]
        data = bytearray(damaged.read_bytes())
        data[len(data) // 2] ^= 1
        damaged.write_bytes(data)
    with dashboard("--run", run) as url:
        for page in PAGES:
            settled(window, url + page)
            if page in (("/servers", "/updates/2", "/audit") if damage == "metrics" else WITHOUT_RECORDS):
                continue  # needs no metrics, or no records
            assert window.count(".trouble") == 1, page
            assert window.text(".trouble")
        window.open(url + "/audit")
        window.follow("main button")
        window.wait(lambda: window.count("#verdict, .trouble") == 1)
        assert window.count(".trouble") == (0 if damage == "metrics" else 1)
        assert not [each for each in window.complaints() if "500" not in each]


def test_names_and_urls_with_html_are_text(window: Browser, played: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(played, tmp_path / "<b>run&amp;<script>harmed"))
    index.recorded_in(run)

    def change(lines: list[Any]) -> None:
        for server in lines[0]["servers"]:
            server |= {"url": HTML, "standing": HTML}
        for record in lines[1:]:
            record |= {"reason": HTML, "leader": HTML, "model_cid": HTML}
            record["slashes"] = [[HTML, 1, HTML]]
            for update in record["updates"]:
                update |= {"cid": HTML, "transaction": HTML}

    forge(run, change)
    settings = json.loads((run / "settings.json").read_text())
    (run / "settings.json").write_text(json.dumps({**settings, "dataset": HTML}))
    with dashboard("--run", run) as url:
        for page in PAGES:
            settled(window, url + page)
            assert window.run("return window.harmed ?? 0") == 0
            assert window.count("main img, main script, main b > script") == 0
        window.open(url + "/servers")
        assert HTML in window.text()
        window.open(url + "/")
        assert "<b>run&amp;<script>harmed" in window.text("h1")
        assert window.complaints() == []


def test_updates_are_told_apart_and_the_model_is_evaluated_on_request(window: Browser, played: Path) -> None:
    with dashboard("--run", played) as url:
        settled(window, url + "/updates/2")
        window.wait(lambda: window.count("#distances") == 1)
        count = window.count("#updates tr") - 1
        assert 2 <= count <= 4
        assert window.count("#distances rect[fill-opacity]") == count**2
        assert "combines all" in window.text()
        window.follow("#recall")
        window.wait(lambda: window.count("#classes") == 1, 60)
        assert window.count("#classes tr") == 1 + 10
        assert window.complaints() == []


def test_devices_move_over_the_map_with_the_rounds(window: Browser, played: Path) -> None:
    def where() -> list[str]:
        script = "return Array.from(document.querySelectorAll('#map circle'), each => each.getAttribute('cx'))"
        return list(window.run(script))

    with dashboard("--run", played) as url:
        settled(window, url + "/map?round=1")
        first = where()
        assert (len(first), window.count("#map .cell")) == (6, 4)
        window.follow("a[rel=next]")
        assert where() != first
        window.open(url + "/map?round=1")
        window.click("#play")
        window.wait(lambda: "round 3" in window.text("h1"))
        window.wait(lambda: window.text("#play") == "play")
        assert window.complaints() == []


def test_an_audit_runs_behind_the_page_and_its_findings_lead_to_their_round(
    window: Browser, played: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(played, tmp_path / "run"))
    with dashboard("--run", run) as url:
        window.open(url + "/audit")
        window.follow("main button")
        window.wait(lambda: window.count("#verdict") == 1)
        assert "everything recomputed is as recorded" in window.text("#verdict")
        (update, *_) = index.recorded_in(run).records.round(2).updates
        (run / "payloads" / update.cid).unlink()
        window.follow("main button")
        window.wait(lambda: window.count("#findings") == 1)
        assert "1 finding" in window.text("#verdict")
        window.follow("#findings a")
        assert "Round 2" in window.text("h1")
        window.open(url + "/updates/2")
        window.wait(lambda: "Not to be read" in window.text())
        assert window.complaints() == []


def test_runs_are_seen_beside_each_other(window: Browser, played: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(played, tmp_path / "other"))
    settings = json.loads((other / "settings.json").read_text())
    (other / "settings.json").write_text(json.dumps({**settings, "aggregator": "median"}))
    with dashboard("--run", played, "--run", other) as url:
        window.open(url + "/compare")
        assert window.texts("#compare th:not(:first-child)") == [str(played), str(other)]
        assert window.texts("#compare tr:nth-child(2) > *") == ["aggregator", "fedavg", "median"]
        assert window.count("figure.chart:first-child polyline") == 2
        window.follow("#compare th:nth-child(3) a")
        assert window.text("h1") == str(other)
        window.follow(".runs a")
        assert window.text("h1") == str(played)
        assert window.complaints() == []


def test_a_run_under_way_is_followed_without_a_reload(window: Browser, played: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(played, tmp_path / "run"))
    (run / "summary.json").unlink()
    metrics = run / "metrics.jsonl"
    first, *later = metrics.read_text().splitlines(keepends=True)
    metrics.write_text(first)
    with dashboard("--run", run) as url:
        window.open(url + "/")
        window.run("window.same = true")
        window.wait(lambda: "1 of 3" in window.text(".tile"))
        with metrics.open("a") as file:
            file.write(later[0][:20])
            file.flush()
            window.wait(lambda: window.count("figure.chart") > 0)
            assert "1 of 3" in window.text(".tile"), "a line that is being written is none yet"
            file.write(later[0][20:])
            file.flush()
            window.wait(lambda: "2 of 3" in window.text(".tile"))
        assert window.text("#accuracy") == f"{json.loads(later[0])['accuracy']:.4f}"
        assert window.run("return window.same")
        assert window.complaints() == []
