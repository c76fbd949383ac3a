"""A device as it runs: it uploads each sample to one server, whatever fails, and goes on where it was."""

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.applications import Starlette

from fbfl.mec import device_agent, ingest
from fbfl.mec.batches import SampleForm
from fbfl.mec.device import Journey
from fbfl.mec.device_agent import DeviceAgent
from fbfl.mec.device_database import DeviceDatabase
from fbfl.mec.endpoint import serving
from fbfl.mec.ingest import ingest_routes
from fbfl.mec.mobility import resolve
from fbfl.mec.sample_database import SampleDatabase
from fbfl.mec.samples import Batch
from fbfl.mec.tokens import DeviceTokens, give_tokens
from fbfl.mec.uploads import UploadError, Uploads
from tests.support.ports import free_ports

FORM = SampleForm((2, 2), classes=10)
SAMPLES = 25
DEVICE = 4


class Servers:
    """Two MEC servers' endpoints, each with its own database, started and stopped at will."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (token,) = give_tokens(folder / "devices", [DEVICE], folder)
        self.token = token.read_text().strip()
        port = free_ports()
        self.ports = [port, port + 1]
        self.urls = [f"http://127.0.0.1:{port}" for port in self.ports]

    @contextmanager
    def running(self, *numbers: int, form: SampleForm = FORM) -> Iterator[None]:
        with ExitStack() as stack:
            for number in numbers:
                store = stack.enter_context(closing(self.store(number, form)))
                routes = ingest_routes(store, DeviceTokens(self.folder / "devices"), form)
                stack.enter_context(serving(Starlette(routes=routes), self.ports[number]))
            yield

    def store(self, number: int, form: SampleForm = FORM) -> SampleDatabase:
        return SampleDatabase(self.folder / f"server-{number}.sqlite", form.shape, label_type=form.label_type)

    def held(self) -> list[list[tuple[int, int]]]:
        found = []
        for number in range(2):
            with closing(self.store(number)) as store:
                found.append(store.held(DEVICE))
        return found


@pytest.fixture
def servers(tmp_path: Path) -> Servers:
    return Servers(tmp_path)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[DeviceDatabase]:
    with closing(DeviceDatabase(tmp_path / "device.sqlite")) as found:
        x = np.random.default_rng(0).random((SAMPLES, 2, 2), np.float32)
        found.fill(x, np.arange(SAMPLES) % 10, "these", started=1000.0)
        yield found


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses as short as the tests."""
    monkeypatch.setattr(device_agent, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(device_agent, "LONGEST_PAUSE", 0.05)


def agent_of(servers: Servers, database: DeviceDatabase, *, token: str | None = None, **options: Any) -> DeviceAgent:
    journey = options.pop("journey", None) or Journey(DEVICE, servers.urls[:1])
    uploads = Uploads(DEVICE, token or servers.token, timeout=5)
    settings = {"batch": 4, "once": True, "poll": 0.01, "clock": lambda: 1000.0, **options}
    return DeviceAgent(database, journey, uploads, **settings)


def moving(servers: Servers, tmp_path: Path) -> Journey:
    """From the first server to the second after 100 s, with half of the samples until then."""
    trace = tmp_path / "trace.csv"
    trace.write_text("seconds,cell\n0,0\n100,1\n")
    settings = {"file": str(trace), "round_seconds": 100.0, "collect_rounds": 2}
    return Journey(DEVICE, servers.urls, resolve("trace", 2, settings))


def test_all_samples_arrive_as_they_are_and_a_second_start_sends_none(
    servers: Servers, database: DeviceDatabase
) -> None:
    with servers.running(0):
        agent_of(servers, database).run()
        agent_of(servers, database).run()
    with closing(servers.store(0)) as store:
        x, y = store.training_set(1)
        assert (len(database), database.confirmed, store.count) == (SAMPLES,) * 3
    assert y.tolist() == [number % 10 for number in range(SAMPLES)]
    assert x.tobytes() == np.random.default_rng(0).random((SAMPLES, 2, 2), np.float32).tobytes()


def test_labels_that_are_numbers_arrive_as_they_are(servers: Servers, tmp_path: Path) -> None:
    form = SampleForm((2, 2), 0, label_range=(-1e30, 1e30))
    y = np.array([0.1, -2, 3, 1e30, np.float32(2**24), 1e-40] * 3, np.float32)
    with closing(DeviceDatabase(tmp_path / "numbers.sqlite")) as database, servers.running(0, form=form):
        database.fill(np.zeros((len(y), 2, 2), np.float32), y, "these", started=1000.0)
        agent_of(servers, database).run()
    with closing(servers.store(0, form)) as store:
        found = store.training_set(1)[1]
    assert (found.dtype, found.tobytes()) == (np.float32, y.tobytes())


def test_what_is_collected_goes_to_the_server_of_that_time(
    servers: Servers, database: DeviceDatabase, tmp_path: Path
) -> None:
    now = [900.0]  # a clock that was set back is no reason to go backwards
    agent = agent_of(servers, database, journey=moving(servers, tmp_path), clock=lambda: now[0])
    with servers.running(0, 1):
        running = threading.Thread(target=agent.run)
        running.start()
        until(lambda: database.confirmed == 12)
        time.sleep(0.05)
        assert servers.held() == [[(0, 12)], []]
        now[0] = 1100.0
        running.join(10)
        assert not running.is_alive()
    assert servers.held() == [[(0, 12)], [(12, 25)]]


def test_a_server_that_is_away_is_waited_for_and_left_behind(
    servers: Servers, database: DeviceDatabase, tmp_path: Path
) -> None:
    now = [1000.0]
    agent = agent_of(servers, database, journey=moving(servers, tmp_path), clock=lambda: now[0])
    running = threading.Thread(target=agent.run)
    running.start()
    time.sleep(0.2)
    with servers.running(0):
        until(lambda: database.confirmed == 12)
    now[0] = 1100.0
    time.sleep(0.2)
    with servers.running(1):
        running.join(10)
    assert servers.held() == [[(0, 12)], [(12, 25)]]


@pytest.mark.parametrize("arrived", [True, False])
def test_what_a_server_did_not_answer_for_counts_once_after_a_move(
    servers: Servers, database: DeviceDatabase, tmp_path: Path, arrived: bool
) -> None:
    """Killed with a batch on its way, the device moves: where that batch is, only the first server can tell."""
    batch = database.unsent(DEVICE, end=SAMPLES, most=10)
    assert batch is not None
    database.sending(servers.urls[0], batch)
    if arrived:
        with closing(servers.store(0)) as store:
            store.receive(batch)
    now = 1000.0 + 200.0
    agent = agent_of(servers, database, journey=moving(servers, tmp_path), clock=lambda: now)
    running = threading.Thread(target=agent.run)
    with servers.running(1):
        running.start()
        until(lambda: database.confirmed == SAMPLES - 10)  # the others need not wait
        assert running.is_alive()
        assert servers.held() == [[(0, 10)] if arrived else [], [(10, 25)]]
        with servers.running(0):
            running.join(10)
        assert not running.is_alive()
    assert servers.held() == ([[(0, 10)], [(10, 25)]] if arrived else [[], [(0, 25)]])


def test_what_a_server_has_lost_is_sent_again(
    servers: Servers, database: DeviceDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    with servers.running(0):
        agent_of(servers, database).run()
    for file in servers.folder.glob("server-0.sqlite*"):
        file.unlink()
    with servers.running(0):
        agent_of(servers, database).run()
    assert servers.held() == [[(0, 25)], []]
    # A server that is there all the time is asked now and then.
    monkeypatch.setattr(device_agent, "ASK_AGAIN", 0.05)
    agent = agent_of(servers, database, once=False)
    running = threading.Thread(target=agent.run)
    with servers.running(0):
        running.start()
        time.sleep(0.1)
        with closing(servers.store(0)) as store, store.transaction() as connection:
            connection.execute("delete from samples where sequence >= 5 and sequence < 8")
        until(lambda: servers.held()[0] == [(0, 25)])
        agent.stop()
        running.join(10)
    assert not running.is_alive()


def test_a_device_that_lost_its_disk_sends_nothing_twice(
    servers: Servers, database: DeviceDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    with servers.running(0):
        with closing(servers.store(0)) as store:
            for first, count in ((0, 7), (9, 3)):
                batch = Batch(DEVICE, first, *(array[first : first + count] for array in everything(database)))
                store.receive(batch)
        sent: list[tuple[int, int]] = []
        send = Uploads.send

        def noted(self: Uploads, server: str, batch: Batch) -> None:
            sent.append((batch.first, batch.first + len(batch.y)))
            send(self, server, batch)

        monkeypatch.setattr(Uploads, "send", noted)
        agent_of(servers, database, batch=10).run()
    assert sent == [(7, 9), (12, 22), (22, 25)]
    assert servers.held()[0] == [(0, 25)]


def everything(database: DeviceDatabase) -> tuple[np.ndarray, np.ndarray]:
    batch = database.unsent(DEVICE, end=SAMPLES, most=SAMPLES)
    assert batch is not None
    return batch.x, batch.y


@pytest.mark.parametrize(
    ("token", "form", "said"),
    [("wrong", FORM, "answers 401: no token"), (None, SampleForm((4,), 10), "answers 422: samples have the shape")],
)
def test_a_refusal_for_good_ends_a_device_that_runs_once_and_no_other(
    servers: Servers, database: DeviceDatabase, token: str | None, form: SampleForm, said: str
) -> None:
    with servers.running(0, form=form):
        with pytest.raises(UploadError, match=said):
            agent_of(servers, database, token=token).run()
        agent = agent_of(servers, database, token=token, once=False)
        running = threading.Thread(target=agent.run)
        running.start()
        time.sleep(0.3)
        assert running.is_alive()
        agent.stop()
        running.join(10)
    assert servers.held() == [[], []]


def test_a_disk_that_fails_for_a_while_costs_nothing_but_time(
    servers: Servers, database: DeviceDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    database._connection.execute("pragma busy_timeout = 20")
    agent = agent_of(servers, database)
    running = threading.Thread(target=agent.run)
    with servers.running(0):
        with closing(sqlite3.connect(database.path, isolation_level=None)) as other:
            other.execute("begin immediate")
            running.start()
            until(lambda: f"{database.path} cannot be used: database is locked" in caplog.text)
        running.join(10)
    assert not running.is_alive()
    assert servers.held()[0] == [(0, 25)]


def test_batches_are_not_larger_than_servers_take(
    servers: Servers, database: DeviceDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (device_agent, ingest):
        monkeypatch.setattr(module, "MAX_BODY", 1_100)
    with servers.running(0):
        agent_of(servers, database, batch=1000).run()
    assert servers.held()[0] == [(0, 25)]


def until(holds: object) -> None:
    deadline = time.monotonic() + 10
    while not holds():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.01)
