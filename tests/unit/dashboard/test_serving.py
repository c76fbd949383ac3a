"""Whom the dashboard answers, and what it refuses, over real sockets."""

import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fbfl.cli.main import main
from fbfl.dashboard.jobs import Jobs
from fbfl.dashboard.serving import serving
from fbfl.system import http
from tests.unit.dashboard.made_up import Made, a_round, records


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving([Made(records(a_round()))], Jobs(), 0) as url:
        yield url


def raw(url: str, request: str) -> str:
    host, _, port = url.removeprefix("http://").rstrip("/").partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(request.replace("HERE", f"{host}:{port}").encode())
        return connection.recv(65_536).decode()


def test_pages_are_whole_without_anything_from_elsewhere(url: str) -> None:
    with http.session() as session:
        for path in ("", "rounds", "round/1", "servers"):
            answer = session.get(url + path)
            assert answer.status_code == 200
            assert answer.text.rstrip().endswith("</html>")
            assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
            addresses = {*re.findall("https?://[^ <>\"']*", answer.text)}
            assert addresses <= {server.url for server in records().servers}, path


def test_a_page_that_has_not_changed_is_not_sent_again(url: str) -> None:
    with http.session() as session:
        tag = session.get(url).headers["ETag"]
        assert session.get(url, headers={"If-None-Match": tag}).status_code == 304
        assert session.get(url + "rounds", headers={"If-None-Match": tag}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "127.0.0.1"},
        {"Host": "127.0.0.1:1"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "https://127.0.0.1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
    ids=str,
)
def test_requests_for_another_host_or_from_another_site_are_refused(url: str, headers: dict[str, str]) -> None:
    with http.session() as session:
        for path in ("", "rounds", "static/live.js"):
            answer = session.get(url + path, headers=headers)
            assert (answer.status_code, answer.text.startswith("refused: ")) == (403, True)


def test_requests_of_the_pages_themselves_are_answered(url: str) -> None:
    origin = url.rstrip("/")
    with http.session() as session:
        for host in (origin, origin.replace("127.0.0.1", "localhost")):
            headers = {"Host": host.removeprefix("http://"), "Origin": host, "Sec-Fetch-Site": "same-origin"}
            assert session.get(url, headers=headers).status_code == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "http://HERE"])
def test_a_websocket_is_refused_whoever_asks(url: str, origin: str) -> None:
    answer = raw(
        url,
        f"GET / HTTP/1.1\r\nHost: HERE\r\nOrigin: {origin}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    )
    assert answer.startswith("HTTP/1.1 403 ")


def test_two_hosts_are_refused(url: str) -> None:
    assert raw(url, "GET / HTTP/1.1\r\nHost: HERE\r\nHost: evil.example\r\n\r\n").split()[1] in ("400", "403")


def test_pages_change_nothing(url: str) -> None:
    with http.session() as session:
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            assert session.request(method, url).status_code == 405
        assert session.get(url + "static/../app.py").status_code == 404
        assert session.get(url + "static/%2e%2e/app.py").status_code == 404


def test_it_listens_on_loopback_alone(url: str) -> None:
    port = int(url.rstrip("/").rpartition(":")[2])
    with socket.socket() as other:
        other.settimeout(5)
        assert other.connect_ex(("127.0.0.2", port)) != 0


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "settings.json").write_text("{}")
    (tmp_path / "metrics.jsonl").write_text("")
    return tmp_path


def test_a_port_that_is_taken_is_told_in_a_line(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["dashboard", "--run", str(run), "--port", str(port)]) == 2
    error = capsys.readouterr().err
    assert f"--port {port}: cannot be listened on" in error
    assert len(error.splitlines()) == 1
    assert main(["dashboard", "--run", str(run), "--port", "70000"]) == 2
    assert "--port 70000" in capsys.readouterr().err


def test_a_missing_extra_is_told_in_a_line(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    assert main(["dashboard", "--run", str(run)]) == 2
    error = capsys.readouterr().err
    assert error == "fbfl: fbfl dashboard needs Jinja2; allowed: after pip install 'fbfl[dashboard]'\n"


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--run", "absent"], "absent: not the folder of a run"),
        (["--run", "RUN", "--task", "1"], "--task 1; allowed: only with --network"),
        (["--network", "eth-tester"], "--network eth-tester"),
        (["--network", "http://127.0.0.1:1"], "no node answers at http://127.0.0.1:1"),
        (["--plugin", "x"], "--plugin x; allowed: package.module:function"),
    ],
)
def test_wrong_input_is_told_in_a_line(
    run: Path, capsys: pytest.CaptureFixture[str], options: list[str], named: str
) -> None:
    status = main(["dashboard", "--port", "0", *(str(run) if each == "RUN" else each for each in options)])
    error = capsys.readouterr().err
    assert status == (3 if "no node" in named else 2)
    assert named in error
    assert len(error.splitlines()) == 1
