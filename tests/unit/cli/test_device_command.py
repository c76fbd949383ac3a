"""`fbfl device` and `fbfl token` as a user types them."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from starlette.applications import Starlette

from fbfl.cli import main
from fbfl.learning import datasets, partition
from fbfl.mec.batches import SampleForm
from fbfl.mec.device import device_shares
from fbfl.mec.device_database import DeviceDatabase
from fbfl.mec.endpoint import serving
from fbfl.mec.ingest import ingest_routes
from fbfl.mec.sample_database import SampleDatabase
from fbfl.mec.tokens import DeviceTokens, read_devices
from tests.support.paths import REPOSITORY
from tests.support.ports import free_ports

MEC = ("device", "--mec", "http://127.0.0.1:9")
DIGITS = ("--dataset", "digits", "--share", "5/8", "--servers", "4")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([*MEC], ["--data", "--dataset"]),
        ([*MEC, *DIGITS, "--batch", "0"], ["--batch 0", "1 or more"]),
        ([*MEC, *DIGITS, "--poll", "0"], ["--poll 0", "more than 0"]),
        ([*MEC, *DIGITS, "--seed", "-1"], ["--seed is -1", "0 to 2**63 - 1"]),
        ([*MEC, *DIGITS, "--device", "-1"], ["--device -1", "0 to"]),
        ([*MEC, *DIGITS, "--mec", "127.0.0.1:9"], ["--mec 127.0.0.1:9", "http(s) URLs"]),
        ([*MEC, *DIGITS, "--mec", "http://127.0.0.1:9/"], ["each server once"]),
        ([*MEC, *DIGITS, "--mec", "http://127.0.0.1:8"], ["several --mec", "--trace FILE"]),
        ([*MEC, *DIGITS, "--mobility-arg", "pause=1"], ["--mobility-arg", "--mobility NAME"]),
        ([*MEC, *DIGITS, "--mobility", "teleport"], ["teleport", "random_waypoint, trace"]),
        ([*MEC, *DIGITS, "--trace", "absent.csv"], ["absent.csv", "cannot be read"]),
        ([*MEC, *DIGITS, "--token-file", "absent"], ["--token-file absent", "cannot be read"]),
        ([*MEC, "--dataset", "digits", "--device", "1"], ["--dataset digits", "--share I/N"]),
        ([*MEC, "--dataset", "digits"], ["no device", "--device D"]),
        ([*MEC, "--dataset", "digits", "--share", "8/8"], ["--share 8/8"]),
        ([*MEC, *DIGITS, "--servers", "9"], ["--servers 9", "1 to 8"]),
        ([*MEC, "--dataset", "nothing", "--share", "0/1"], ["'nothing'", "digits"]),
        ([*MEC, "--data", "absent.npz", "--device", "1"], ["absent.npz"]),
        ([*MEC, "--data", "a.npz", "--share", "0/1"], ["--share 0/1", "only with --dataset"]),
        (["token", "1", "1", "--devices", "devices"], ["named twice"]),
        (["token", "-1", "--devices", "devices"], ["-1", "0 to"]),
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
    monkeypatch.setenv("FBFL_DEVICE_TOKEN", "secret")
    try:
        status = main(arguments)
    except SystemExit as ending:  # how argparse says it
        status = int(str(ending.code))
    said = capsys.readouterr().err
    assert status == 2, said
    assert all(word in said for word in named), said
    assert not list(tmp_path.iterdir()), "a refused command leaves nothing behind"


@pytest.mark.parametrize(("token", "said"), [("", "no token in FBFL_DEVICE_TOKEN"), ("a b", "holds no token")])
def test_without_a_token_it_does_not_start(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], token: str, said: str
) -> None:
    monkeypatch.setenv("FBFL_DEVICE_TOKEN", token)
    assert main([*MEC, *DIGITS]) == 2
    assert said in capsys.readouterr().err


def test_samples_that_no_server_takes_are_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FBFL_DEVICE_TOKEN", "secret")
    labels = np.zeros(2, np.int64)
    for x, said in (
        (np.full((2, 3, 3), np.nan), "x_train holds NaN or Inf"),
        (np.zeros((2, 9_000_000), np.uint8), "a sample has 9000000 bytes"),
    ):
        np.savez("own.npz", x_train=x, y_train=labels)
        assert main([*MEC, "--data", "own.npz", "--device", "1"]) == 2
        assert said in capsys.readouterr().err


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    assert main(["token", "4", "5", "--devices", str(tmp_path / "devices")]) == 0
    port = free_ports()
    with closing(SampleDatabase(tmp_path / "server.sqlite", (8, 8))) as store:
        routes = ingest_routes(store, DeviceTokens(tmp_path / "devices"), SampleForm((8, 8), 10))
        with serving(Starlette(routes=routes), port):
            yield f"http://127.0.0.1:{port}"


def start(folder: Path, url: str, *options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "fbfl", "device", "--mec", url, *options, "--poll", "0.05"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_device_uploads_its_share_lives_through_kill_9_and_ends(tmp_path: Path, url: str) -> None:
    options = (*DIGITS, "--batch", "10", "--token-file", "device-5.token")
    first = start(tmp_path, url, *options)
    assert first.stderr is not None
    lines = [json.loads(first.stderr.readline()) for _ in range(3)]
    assert [line["message"] for line in lines[:2]] == [f"attached to {url}", f"{url} has samples 0 to 9"]
    assert {line["device"] for line in lines} == {5}
    second = start(tmp_path, url, *options)
    assert "runs already" in second.communicate(timeout=30)[1]
    assert second.returncode == 2
    first.kill()
    first.communicate(timeout=10)

    other = start(tmp_path, url, *options, "--partition", "shards")
    assert "allowed: the same, or another --state" in other.communicate(timeout=30)[1]
    assert other.returncode == 2

    last = start(tmp_path, url, *options, "--once")
    said = last.communicate(timeout=30)[1]
    assert last.returncode == 0, said
    data = datasets.load("digits")
    share = device_shares(data.y_train, partition.resolve("iid"), 4, 8, seed=0)[5]
    assert f"servers have all {len(share)} samples" in said
    with closing(SampleDatabase(tmp_path / "server.sqlite", (8, 8))) as store:
        x, y = store.training_set(1)
    assert x.tobytes() == data.x_train[share].tobytes()
    assert y.tolist() == data.y_train[share].tolist()
    with closing(DeviceDatabase(tmp_path / ".fbfl" / "devices" / "5" / "samples.sqlite")) as kept:
        assert (len(kept), kept.confirmed) == (len(share), len(share))


def test_sigterm_ends_it_and_another_devices_token_does_not_serve(tmp_path: Path, url: str) -> None:
    mobility = ("--mobility", "random_waypoint", "--mobility-arg", "round_seconds=3600")
    running = start(tmp_path, url, *DIGITS, *mobility, "--token-file", "device-5.token")
    wrong = start(tmp_path, url, *DIGITS, "--device", "4", "--token-file", "device-5.token", "--once")
    said = wrong.communicate(timeout=30)[1]
    assert wrong.returncode == 3
    assert "answers 403: this token is not that of device 4" in said.splitlines()[-1]
    assert running.stderr is not None
    while "has samples" not in running.stderr.readline():
        pass
    running.send_signal(signal.SIGTERM)
    rest = running.communicate(timeout=30)[1]
    assert running.returncode == 0
    assert json.loads(rest.splitlines()[-1])["message"] == "stopped"


def test_tokens_are_made_beside_the_file_of_devices(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["token", "7", "--devices", str(tmp_path / "devices"), "--folder", str(tmp_path / "secret")]) == 0
    assert capsys.readouterr().out == f"{tmp_path}/secret/device-7.token\n"
    assert list(read_devices(tmp_path / "devices").values()) == [7]
