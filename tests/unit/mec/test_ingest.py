"""The ingest endpoint over real HTTP: only a device's own samples, only such as the task takes, each once."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save
from starlette.applications import Starlette

from fbfl.mec import ingest
from fbfl.mec.batches import MAX_BODY, SampleForm, decode_batch, encode_batch, most_samples
from fbfl.mec.endpoint import serving
from fbfl.mec.ingest import ingest_routes
from fbfl.mec.request_body import RequestRefusedError
from fbfl.mec.sample_database import SampleDatabase
from fbfl.mec.samples import Batch
from fbfl.mec.tokens import DeviceTokens, give_tokens
from tests.support.ports import free_ports

FORM = SampleForm((2, 2), classes=10)
LIMIT = 1000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SampleDatabase]:
    with closing(SampleDatabase(tmp_path / "samples.sqlite", FORM.shape, LIMIT)) as found:
        yield found


@pytest.fixture
def tokens(tmp_path: Path) -> list[str]:
    files = give_tokens(tmp_path / "devices", range(2), tmp_path)
    return [file.read_text().strip() for file in files]


@pytest.fixture
def url(tmp_path: Path, store: SampleDatabase, tokens: list[str]) -> Iterator[str]:
    port = free_ports()
    with serving(Starlette(routes=ingest_routes(store, DeviceTokens(tmp_path / "devices"), FORM)), port):
        yield f"http://127.0.0.1:{port}"


def samples(first: int, count: int) -> bytes:
    numbers = np.arange(first, first + count)
    return encode_batch(
        Batch(0, first, numbers[:, None, None].repeat(4).reshape(-1, 2, 2).astype(np.uint8), numbers % 10)
    )


def put(url: str, token: str | None, body: bytes, *, device: object = 0, first: object = 0) -> requests.Response:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return requests.put(f"{url}/devices/{device}/samples/{first}", data=body, headers=headers, timeout=10)


def held(url: str, token: str, device: int = 0) -> list[list[int]]:
    headers = {"Authorization": f"Bearer {token}"}
    answer = requests.get(f"{url}/devices/{device}/samples", headers=headers, timeout=10)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["held"])


def test_a_batch_counts_once_however_often_and_however_cut_it_arrives(
    url: str, tokens: list[str], store: SampleDatabase
) -> None:
    new = [put(url, tokens[0], samples(f, n), first=f).json()["new"] for f, n in ((0, 10), (0, 10), (5, 10), (20, 5))]
    assert new == [10, 0, 5, 5]
    assert held(url, tokens[0]) == [[0, 15], [20, 25]]
    assert held(url, tokens[1], device=1) == []
    assert store.count == 20
    answer = put(url, tokens[0], samples(1, 5), first=0)  # other samples in the same places
    assert (answer.status_code, store.count) == (409, 20)
    assert "sample 0" in answer.json()["error"]


def test_only_the_device_itself_may_upload_and_ask(url: str, tokens: list[str], store: SampleDatabase) -> None:
    for token, device, status in (
        (None, 0, 401),
        ("", 0, 401),
        ("somebody", 0, 401),
        (tokens[0], 1, 403),
        (tokens[1], 0, 403),
        (tokens[0], 2, 403),
    ):
        answer = put(url, token, samples(0, 3), device=device)
        assert answer.status_code == status
        assert answer.json()["error"]
        assert ("WWW-Authenticate" in answer.headers) == (status == 401)
    assert requests.get(f"{url}/devices/0/samples", timeout=5).status_code == 401
    assert requests.get(f"{url}/devices/0/samples", auth=("0", tokens[0]), timeout=5).status_code == 401
    assert store.count == 0


def test_garbage_is_refused_in_one_line_and_leaves_nothing(url: str, tokens: list[str], store: SampleDatabase) -> None:
    x, y = np.zeros((3, 2, 2), np.uint8), np.zeros(3, np.int64)
    floats = x.astype(np.float32)
    nan, infinite = floats.copy(), floats.copy()
    nan[1, 1, 1], infinite[0, 0, 0] = np.nan, np.inf
    nothing = {"shape": [2**63, 0], "data_offsets": [0, 0]}
    endless = json.dumps({"x": {"dtype": "F32", **nothing}, "y": {"dtype": "I64", **nothing}}).encode()
    bodies = [
        (400, b""),
        (400, b"\x80\x04\x95garbage"),
        (400, samples(0, 3)[:-1]),
        (400, save({"x": x})),
        (400, save({"x": x, "y": y, "z": y})),
        (400, save({"x": x.astype(np.float64), "y": y})),
        (400, save({"x": x, "y": y.astype(np.int32)})),
        (400, save({"x": x, "y": y[:2]})),
        (400, save({"x": x, "y": y.reshape(3, 1)})),
        (400, save({"x": x[:0], "y": y[:0]})),
        (400, len(endless).to_bytes(8, "little") + endless),
        (422, save({"x": x.reshape(3, 4), "y": y})),
        (422, save({"x": x, "y": y + 10})),
        (422, save({"x": x, "y": y - 1})),
        (422, save({"x": nan, "y": y})),
        (422, save({"x": infinite, "y": y})),
    ]
    for status, body in bodies:
        answer = put(url, tokens[0], body)
        assert answer.status_code == status, (body, answer.text)
        assert "\n" not in answer.json()["error"]
    for first in ("x", "-1", "9" * 5000):
        assert put(url, tokens[0], samples(0, 3), first=first).status_code == 404
    assert store.count == 0


@pytest.mark.parametrize(
    ("allowed", "taken", "refused"),
    [
        ((0.0, 1.0), (-1.0, 0.5, 2.0), (-1.01, 2.01, 255.0, 3e38, -3e38)),
        ((-3.0, 5.0), (-11.0, 13.0), (-11.1, 13.1, 3e38)),
        ((7.0, 7.0), (7.0,), (6.9, 7.1)),
        ((-3e38, 3e38), (3.3e38,), ()),
    ],
)
def test_no_device_blows_training_up_by_samples_far_beyond_the_tasks(
    allowed: tuple[float, float], taken: tuple[float, ...], refused: tuple[float, ...]
) -> None:
    form = SampleForm((2, 2), 10, allowed)
    y = np.zeros(2, np.int64)
    usual = np.full((2, 2, 2), allowed[0], np.float32)
    for value in taken + refused:
        x = usual.copy()
        x[1, 0, 1] = value
        if value in taken:
            assert (decode_batch(save({"x": x, "y": y}), 0, 0, form).x == x).all()
        else:
            with pytest.raises(RequestRefusedError, match=r"allowed in this task: .* to ") as answer:
                decode_batch(save({"x": x, "y": y}), 0, 0, form)
            assert answer.value.status == 422


def test_bytes_stand_for_0_to_1_also_where_the_task_has_another_range() -> None:
    batch = save({"x": np.full((1, 2, 2), 255, np.uint8), "y": np.zeros(1, np.int64)})
    assert decode_batch(batch, 0, 0, SampleForm((2, 2), 10, (2.0, 4.0))).x.dtype == np.uint8
    with pytest.raises(RequestRefusedError, match="samples hold 1 to 1; allowed in this task: 100 to 700"):
        decode_batch(batch, 0, 0, SampleForm((2, 2), 10, (300.0, 500.0)))


def test_numbers_as_labels_are_taken_as_far_as_the_task_knows_them() -> None:
    form = SampleForm((2, 2), 0, label_range=(-2.0, 4.0))
    x = np.zeros((3, 2, 2), np.float32)
    for y in (np.array([-8, 0.5, 10], np.float32), np.array([-8, 0, 10])):
        found = decode_batch(save({"x": x, "y": y}), 0, 0, form).y
        assert (found.dtype, found.tolist()) == (np.float32, y.tolist())
    for wrong, said in (
        (np.array([0, 1, 10.5], np.float32), "labels hold 0 to 10.5; allowed in this task: -8 to 10"),
        (np.array([0, np.nan, 1], np.float32), "labels hold NaN or Inf; allowed in this task: finite numbers"),
        (np.zeros(3), "y is F64; allowed: F32, I64"),
    ):
        with pytest.raises(RequestRefusedError, match=said):
            decode_batch(save({"x": x, "y": wrong}), 0, 0, form)
    with pytest.raises(RequestRefusedError, match="y is F32; allowed: I64"):
        decode_batch(save({"x": x, "y": np.zeros(3, np.float32)}), 0, 0, FORM)


def test_whole_numbers_are_taken_as_such_and_only_those_that_the_task_knows() -> None:
    form = SampleForm((3,), 2, (0.0, 50.0), sample_type="int32")
    y = np.zeros(2, np.int64)
    words = np.array([[0, 7, 50], [1, 2, 3]], np.int32)
    found = decode_batch(save({"x": words, "y": y}), 0, 0, form).x
    assert (found.dtype, found.tolist()) == (np.int32, words.tolist())
    for wrong in (words + 1, words - 1):
        with pytest.raises(RequestRefusedError, match=r"samples hold .*; allowed in this task: 0 to 50"):
            decode_batch(save({"x": wrong, "y": y}), 0, 0, form)
    with pytest.raises(RequestRefusedError, match="x is F32; allowed: I32"):
        decode_batch(save({"x": words.astype(np.float32), "y": y}), 0, 0, form)
    with pytest.raises(RequestRefusedError, match="x is I32; allowed: U8, F32"):
        decode_batch(save({"x": words, "y": y}), 0, 0, SampleForm((3,), 2))


def test_too_much_is_refused(url: str, tokens: list[str], store: SampleDatabase) -> None:
    assert put(url, tokens[0], bytes(MAX_BODY + 1)).status_code == 413
    answer = put(url, tokens[0], samples(LIMIT - 2, 3), first=LIMIT - 2)
    assert (answer.status_code, store.count) == (507, 0)
    assert f"at most {LIMIT} samples" in answer.json()["error"]
    assert put(url, tokens[0], samples(0, LIMIT)).json() == {"new": LIMIT}


def test_as_many_samples_as_fit_are_taken() -> None:
    count = most_samples(10_000, 4)
    x = np.zeros((count, 2, 2), np.uint8)
    size = len(encode_batch(Batch(0, 0, x, np.zeros(count, np.int64))))
    assert 8_000 < size <= 10_000
    assert most_samples(10_000, 20_000) == 0


def asked(url: str, token: str) -> requests.Response:
    return requests.get(f"{url}/devices/0/samples", headers={"Authorization": f"Bearer {token}"}, timeout=5)


def begin(url: str, token: str, body: bytes, length: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=10)
    head = f"PUT /devices/0/samples/0 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: {length}"
    connection.sendall(head.encode() + b"\r\n\r\n" + body)
    return connection


def test_an_upload_that_is_cut_leaves_nothing_and_goes_on_elsewhere(
    url: str, tokens: list[str], store: SampleDatabase
) -> None:
    body = samples(0, 50)
    with begin(url, tokens[0], body[: len(body) // 2], len(body)):
        deadline = time.monotonic() + 10
        while (
            asked(url, tokens[0]).status_code != 429
        ):  # until the server is in that upload, and cannot say what it has
            assert time.monotonic() < deadline
        assert put(url, tokens[0], body).status_code == 429
        assert put(url, tokens[1], body, device=1).json() == {"new": 50}
    while (answer := put(url, tokens[0], body)).status_code == 429:
        assert time.monotonic() < deadline
    assert answer.json() == {"new": 50}
    assert store.count == 100


def test_who_sends_slowly_is_not_waited_for(
    url: str, tokens: list[str], store: SampleDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest, "BODY_SECONDS", 0.2)
    with begin(url, tokens[0], b"x", 100) as connection:
        assert b" 408 " in connection.recv(1000).splitlines()[0]
    assert store.count == 0


def test_a_disk_that_fails_is_said_and_recovered_from(url: str, tokens: list[str], store: SampleDatabase) -> None:
    with store.transaction() as connection:
        (pages,) = connection.execute("pragma page_count").fetchone()
    store._connection.execute(f"pragma max_page_count = {pages}")
    answer = put(url, tokens[0], samples(0, LIMIT))
    assert (answer.status_code, store.count) == (503, 0)
    assert "disk is full" in answer.json()["error"]
    store._connection.execute("pragma max_page_count = 1000000")
    assert put(url, tokens[0], samples(0, LIMIT)).json() == {"new": LIMIT}


def test_uploads_and_training_at_once(url: str, tokens: list[str], store: SampleDatabase) -> None:
    answers: list[int] = []

    def upload(device: int) -> None:
        for first in range(0, LIMIT, 100):
            answers.append(put(url, tokens[device], samples(first, 100), device=device, first=first).json()["new"])

    threads = [threading.Thread(target=upload, args=(device,)) for device in range(2)]
    for thread in threads:
        thread.start()
    sizes = [len(store.training_set(number)[1]) for number in range(1, 20)]
    for thread in threads:
        thread.join(20)
    assert answers == [100] * 20
    assert sizes == sorted(sizes)
    assert [len(store.training_set(number)[1]) for number in range(1, 20)] == sizes
    assert len(store.training_set(20)[1]) == 2 * LIMIT


@given(body=st.binary(max_size=200))
def test_whatever_arrives_is_refused_in_words(body: bytes) -> None:
    with pytest.raises(RequestRefusedError) as refusal:
        decode_batch(body, 0, 0, FORM)
    assert refusal.value.status == 400
