"""The `fbfl` command as a user types it."""

import contextlib
import hashlib
import io
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fbfl import open_run
from fbfl.cli import main
from tests.support.paths import REPOSITORY

SUMMARY_KEYS = {
    "dataset",
    "servers",
    "rounds",
    "aggregator",
    "attack",
    "malicious",
    "consensus",
    "network",
    "seed",
    "final_accuracy",
    "final_loss",
    "model_sha256",
    "seconds",
    "versions",
    "warnings",
}
METRICS_KEYS = {"round", "accuracy", "loss", "leader", "consensus", "updates", "gas_used", "seconds"}
SMALL = ("--dataset", "digits", "--servers", "4", "--devices", "8", "--rounds", "2")


def fbfl(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The command in this process, which has TensorFlow already."""
    command = list(map(str, arguments))
    said, complained = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(complained):
        try:
            status = main(command)
        except SystemExit as ending:  # how argparse says it
            status = int(str(ending.code))
    return subprocess.CompletedProcess(command, status, said.getvalue(), complained.getvalue())


def fbfl_alone(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    command = [sys.executable, "-m", "fbfl", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment(), check=False)


def environment() -> dict[str, str]:
    root = str(REPOSITORY)
    return {**os.environ, "PYTHONPATH": root}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("runs") / "run[lr=0.1] [/a] of $mine$"
    done = fbfl_alone("run", *SMALL, "--output", folder)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


@pytest.fixture
def run(finished: Any, tmp_path: Path) -> Any:
    """A copy of the finished run, to be damaged."""
    return Path(shutil.copytree(finished[0], tmp_path / "run"))


def test_a_run_says_what_happens_and_leaves_everything_in_its_folder(finished: Any) -> None:
    folder, said = finished
    assert sum(line.startswith("round") for line in said.splitlines()) == 2
    assert str(folder / "accuracy.png") in said
    assert said.endswith(f"; next: {sys.executable} -m fbfl audit --run {shlex.quote(str(folder))}\n")
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["round"] for line in lines] == [1, 2]
    assert all(line.keys() >= METRICS_KEYS for line in lines)
    summary = json.loads((folder / "summary.json").read_text())
    assert summary.keys() >= SUMMARY_KEYS
    assert summary["final_accuracy"] == lines[-1]["accuracy"]
    assert summary["warnings"] == []
    assert not any("warnings" in line for line in lines)
    assert (folder / "accuracy.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "loss.png").read_bytes().startswith(b"\x89PNG")


def _number(address: str, rounds: Any) -> int:
    """The registry number of a server: seats are taken in its order here."""
    (seat,) = {update["seat"] for entry in rounds for update in entry["updates"] if update["server"] == address}
    return int(seat)


def test_queries_answer_from_the_stored_chain(finished: Any) -> None:
    folder, _ = finished
    rounds = json.loads(fbfl("rounds", "--run", folder, "--json").stdout)
    assert [entry["round"] for entry in rounds] == [1, 2]
    one = json.loads(fbfl("round", 2, "--run", folder, "--json").stdout)
    terms = one.pop("terms")
    assert (terms["quorum"], terms["pow_hashes"], terms["min_updates"]) == ("majority", 4096, 3)
    assert one == rounds[1]
    assert len(one["updates"]) == len({update["server"] for update in one["updates"]}) == 4
    header, *rows = (line.split() for line in fbfl("rounds", "--run", folder).stdout.splitlines())
    assert header[:5] == ["round", "status", "leader", "model", "updates"]
    leaders = [f"server-{_number(entry['leader'], rounds)}" for entry in rounds]
    assert [row[:3] for row in rows] == [["1", "final", leaders[0]], ["2", "final", leaders[1]]]
    said = fbfl("round", 2, "--run", folder).stdout
    assert one["model_cid"] in said
    for title in ("updates", "proposals", "votes", "rewards"):
        assert f"\n\n{title}\n" in said
    assert "\n\nslashed\n" not in said
    follow = fbfl("rounds", "--run", folder, "--follow")
    assert (follow.returncode, follow.stderr.partition(";")[0]) == (2, "fbfl: --follow")
    for number in (3, -1):
        absent = fbfl("round", number, "--run", folder)
        assert (absent.returncode, absent.stderr) == (2, f"fbfl: round {number} does not exist; allowed: 1 to 2\n")


def test_a_run_that_failed_in_its_first_round_has_nothing_to_audit(
    finished: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path("failing.py").write_text(
        "def rule(updates):\n    return updates[0, :8] if updates.shape[1] == 8 else 1 / 0\n\nrule.canonical = True\n"
    )  # made-up updates are short
    assert fbfl("run", *SMALL, "--aggregator", "failing:rule", "--output", "runs/failed").returncode == 2
    only = "no run in runs/ has a finished round; this is runs/failed, the newest\n"
    asked = [fbfl("rounds"), fbfl("rounds", "--json"), fbfl("audit", "--plugin", "failing:rule")]
    assert [(done.returncode, done.stdout) for done in asked] == [(0, "no round is over\n"), (0, "[]\n"), (3, "")]
    from_index = f"{only}not re-executed: from the index in runs/failed; to check it: fbfl audit --run runs/failed\n"
    nothing = f"{only}fbfl: no round is over: there is nothing to audit\n"
    assert [done.stderr for done in asked] == [only, from_index, nothing]
    assert fbfl("round", 1).stderr.endswith("fbfl: round 1 does not exist; there is none\n")

    shutil.copytree(finished[0], "runs/before")
    os.utime("runs/before/deployment.json", (0, 0))
    done = fbfl("rounds")
    assert len(done.stdout.splitlines()) == 1 + 2
    note = "runs/failed has no finished round; this is runs/before, the newest run that has one"
    assert done.stderr.splitlines()[0] == note


def test_blocks_list_every_update_and_the_new_global_model(finished: Any) -> None:
    folder, _ = finished
    listing = json.loads(fbfl("blocks", "--run", folder).stdout)
    assert listing["length"] == len(listing["chain"]) == 2
    for index, block in enumerate(listing["chain"], start=1):
        assert block.keys() == {"index", "transactions", "timestamp", "previous_hash", "nonce", "hash"}
        assert block["index"] == index
        assert [entry["type"] for entry in block["transactions"]] == ["update"] * 4 + ["global_model"]

    with_tensors = json.loads(fbfl("blocks", "--run", folder, "--tensors").stdout)
    first, *others, model = (entry["tensors"] for entry in with_tensors["chain"][1]["transactions"])
    parent = with_tensors["chain"][0]["transactions"][-1]["tensors"]
    for name, tensor in model.items():
        # Equal shares of samples but for one: close to the plain mean, and exact where the audit looks.
        mean = np.mean([entry[name] for entry in (first, *others)], axis=0)
        np.testing.assert_allclose(np.array(parent[name]) + mean, tensor, atol=2e-4)


def test_an_honest_run_passes_the_audit(finished: Any) -> None:
    done = fbfl_alone("audit", "--run", finished[0])
    assert (done.returncode, done.stderr) == (0, "")
    assert "2 rounds, 2 final, 8 updates" in done.stdout


def test_code_that_a_run_names_is_the_owners_and_an_auditor_allows_it_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path("mylab.py").write_text("def last(updates):\n    return updates[-1]\n\n\nlast.canonical = True\n")
    done = fbfl("run", *SMALL, "--aggregator", "mylab:last", "--output", "run")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("audit --run run --plugin mylab:last\n")
    for command in (("audit", "--run", "run"), ("blocks", "--tensors", "--run", "run")):
        refused = fbfl(*command)
        assert refused.returncode == 2
        assert "the aggregator of task 1 is 'mylab:last'; allowed: fedavg, " in refused.stderr
        allowed = fbfl(*command, "--plugin", "mylab:last")
        assert (allowed.returncode, allowed.stderr) == (0, "")
    assert fbfl("blocks", "--run", "run").returncode == 0


def test_a_rule_that_raises_ends_the_run_and_leaves_what_was_played(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    source = "def late(updates, round_number):\n    return updates[0] if round_number < 2 else updates['all']\n"
    source += "late.canonical = True\n"
    Path("latelab.py").write_text(source)
    done = fbfl("run", *SMALL, "--aggregator", "latelab:late", "--output", "run")
    assert done.returncode == 2
    said = done.stderr.splitlines()
    assert said[0].startswith("fbfl: aggregator latelab:late raised IndexError: only integers, slices")
    assert said[1:] == [f"  {tmp_path}/latelab.py:2 in late: {source.splitlines()[1].strip()}"]
    assert [json.loads(line)["round"] for line in Path("run/metrics.jsonl").read_text().splitlines()] == [1]
    assert fbfl("audit", "--run", "run", "--plugin", "latelab:late").returncode == 0


@pytest.mark.parametrize("damage", ["flip a byte", "remove"])
def test_the_audit_names_round_and_server_of_a_damaged_payload(run: Any, damage: Any) -> None:
    update = json.loads(fbfl("round", 2, "--run", run, "--json").stdout)["updates"][1]
    (path,) = (run / "payloads").rglob(update["cid"] + "*")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    if damage == "remove":
        path.unlink()
    else:
        path.chmod(0o644)
        path.write_bytes(data)
    done = fbfl("audit", "--run", run)
    assert done.returncode == 1
    assert done.stdout.startswith(f"round 2, server {update['server']}: ")


def test_a_replaced_aggregate_in_the_chain_export_is_refused(run: Any) -> None:
    digest = json.loads(fbfl("round", 2, "--run", run, "--json").stdout)["model_digest"]
    chain = run / "chain" / "chain.rlp"
    data = chain.read_bytes()
    wanted = bytes.fromhex(digest[2:])
    assert wanted in data
    chain.write_bytes(data.replace(wanted, bytes(32)))
    done = fbfl("audit", "--run", run)
    assert done.returncode == 1
    assert "block" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--dataset", "cifar"], ["cifar", "mnist-5k"]),
        (["--aggregator", "average"], ["average", "fedavg"]),
        (["--aggregator", "krum", "--aggregator-arg", "num_byzantine=4"], ["n >= 2f+3", "needs 11"]),
        (["--aggregator", "fltrust"], ["root_server is None", "the number of that server"]),
        (["--aggregator", "fltrust", "--aggregator-arg", "root_server=10"], ["root_server is 10", "10 servers"]),
        (["--aggregator-arg", "weights=abc"], ["weights follows from the round"]),
        (
            ["--aggregator", "norm_clipping", "--aggregator-arg", "max_norm=1e999"],
            ["aggregator_args: max_norm is inf", "finite numbers"],
        ),
        (["--attack", "alie", "--malicious", "2", "--attack-arg", "z={1}"], ["attack_args: z is {1}", "texts, true"]),
        (["--learning-rate", "nan"], ["learning_rate is nan", "more than 0"]),
        (["--attack", "alie", "--malicious", "2"], ["attack alie: vacuous at n=10, f=2"]),
        (["--aggregator-arg", "f=1"], ["'f'", "allowed: mixing, mixing_byzantine, bucket_size"]),
        (["--partition", "random"], ["random", "dirichlet"]),
        (["--attack", "magic", "--malicious", "1"], ["magic", "label_flipping"]),
        (["--malicious", "2"], ["malicious is 2"]),
        (["--attack", "backdoor"], ["attack is 'backdoor' but malicious is 0", "1 or more"]),
        (["--attack-arg", "target=1"], ["attack_args is {'target': 1} but no attack is named"]),
        (["--mobility-arg", "max_speed=9"], ["mobility_args is {'max_speed': 9} but no mobility is named"]),
        (["--network", "solana"], ["solana", "anvil"]),
        (["--consensus", "poa"], ["poa", "pbft"]),
        (["--servers", "0"], ["servers is 0", "1 to 240"]),
        (["--servers", "241"], ["servers is 241", "240"]),
        (["--rounds", "many"], ["--rounds", "many"]),
        (["--seed", "-1"], ["seed is -1"]),
    ],
)
def test_bad_input_is_named_with_what_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: Any, named: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    done = fbfl("run", *arguments)
    said = done.stderr
    assert done.returncode == 2, said
    assert all(word in said for word in named), said
    assert len(said.splitlines()) <= 2
    assert not list(tmp_path.iterdir()), "a refused run leaves nothing behind"


def test_a_configuration_file_is_read_and_its_mistakes_are_named(tmp_path: Path) -> None:
    config = tmp_path / "run.toml"
    config.write_text('dataset = "digits"\nclients = 5\n')
    done = fbfl("run", "--config", config)
    assert (done.returncode, "clients" in done.stderr, "servers" in done.stderr) == (2, True, True)
    config.write_text('dataset = "digits"\nservers = "many"\n')
    done = fbfl("run", "--config", config)
    assert (done.returncode, "'many'" in done.stderr) == (2, True)
    config.write_text('dataset = "digits"\nservers = 3\ndevices = 3\nrounds = 5\n')
    done = fbfl("run", "--config", config, "--rounds", 1, "--quiet", "--output", tmp_path / "out")
    assert (done.returncode, done.stdout) == (0, "")
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert (summary["servers"], summary["rounds"]) == (3, 1)


def test_a_run_without_a_final_round_says_why_also_when_it_is_quiet(tmp_path: Path) -> None:
    done = fbfl("run", *SMALL, "--rounds", 1, "--proximal", "1e30", "--quiet", "--output", tmp_path / "run")
    assert (done.returncode, done.stdout) == (3, "")
    why = "none of 1 round became final; 4 servers without an update: training diverged; see fbfl rounds"
    assert done.stderr.startswith(f"fbfl: {why}")


def test_a_loss_that_is_not_finite_is_null_with_a_warning(tmp_path: Path) -> None:
    attack = ("--attack", "same_value", "--attack-arg", "value=1e30", "--malicious", 1)
    done = fbfl("run", *SMALL, *attack, "--output", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert "loss -" in done.stdout
    assert done.stdout.count("  loss is not finite") == 1, "what is wrong in each round is said once"
    metrics, summary = ((tmp_path / "run" / name).read_text() for name in ("metrics.jsonl", "summary.json"))
    texts = [*metrics.splitlines(), summary]
    first, second, summary = (json.loads(text, parse_constant=lambda name: pytest.fail(name)) for text in texts)
    assert [line["loss"] for line in (first, second)] == [summary["final_loss"], None] == [None, None]
    assert first["warnings"] == ["loss is not finite"]
    assert second["warnings"] == summary["warnings"]
    assert second["warnings"] == ["loss is not finite", "3 servers without an update: training diverged"]


def test_samples_of_any_range_are_played_and_what_is_odd_gets_a_line_each(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for part, size in (("train", 80), ("test", 20)):
        labels = rng.integers(1, 7, size)
        parts: dict[str, Any] = {f"x_{part}": rng.normal(10 * labels[:, None], 1, (size, 6)), f"y_{part}": labels}
        np.savez(tmp_path / f"{part}.npz", **parts)
    np.savez(tmp_path / "own.npz", **np.load(tmp_path / "train.npz"), **np.load(tmp_path / "test.npz"))
    attack = ("--attack", "targeted_label_flipping", "--attack-arg", "source=15", "--attack-arg", "target=1")
    done = fbfl(
        "run",
        *SMALL,
        "--dataset",
        tmp_path / "own.npz",
        *attack,
        "--malicious",
        1,
        "--output",
        tmp_path / "run",
    )
    assert done.returncode == 0, done.stderr
    warnings = json.loads((tmp_path / "run" / "summary.json").read_text())["warnings"]
    assert [done.stdout.count(text + "\n") for text in warnings] == [1, 1]
    assert "no sample has the label 0, yet there are 7 classes" in warnings[0]
    assert "attack targeted_label_flipping (source=15, target=1) has no effect" in warnings[1]


def test_folders_and_files_that_cannot_be_used_are_refused(finished: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    done = fbfl("run", *SMALL, "--output", tmp_path / "file" / "run")
    assert (done.returncode, "cannot be written" in done.stderr) == (2, True)
    done = fbfl("run", *SMALL, "--output", finished[0])
    assert (done.returncode, "holds a run already" in done.stderr) == (2, True)
    (tmp_path / "bad.npz").write_bytes(b"not a zip")
    done = fbfl("run", "--dataset", tmp_path / "bad.npz")
    assert (done.returncode, "bad.npz" in done.stderr) == (2, True)
    done = fbfl("audit", "--run", tmp_path)
    assert (done.returncode, "not the folder of a run" in done.stderr) == (2, True)


def test_an_interrupted_run_can_be_read_up_to_its_last_round(tmp_path: Path) -> None:
    """Killed at any moment, which leaves what is there while it is stopped, or ended by Ctrl-C."""
    folder, killed = tmp_path / "run", tmp_path / "killed"
    command = [sys.executable, "-m", "fbfl", "run", *SMALL, "--rounds", "200", "--output", str(folder)]
    process = subprocess.Popen(
        command,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # What a shell starts in the background ignores Ctrl-C, and so would all that it starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline and len(finished_rounds(folder)) < 2:
            time.sleep(0.1)
        process.send_signal(signal.SIGSTOP)
        shutil.copytree(folder, killed)
        process.send_signal(signal.SIGCONT)
        process.send_signal(signal.SIGINT)
        _, complaints = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "Traceback" not in complaints
    for left in (folder, killed):
        done = finished_rounds(left)
        assert len(done) >= 2
        rounds = json.loads(fbfl("rounds", "--run", left, "--json").stdout)
        assert sum(entry["status"] == "final" for entry in rounds) >= len(done)
        assert fbfl("audit", "--run", left).returncode == 0


def finished_rounds(folder: Path) -> list[str]:
    metrics = folder / "metrics.jsonl"
    return metrics.read_text().splitlines() if metrics.exists() else []


def test_a_model_is_exported_for_keras_and_as_safetensors(run: Any, tmp_path: Path) -> None:
    summary = json.loads((run / "summary.json").read_text())
    plain, keras_file = tmp_path / "model.safetensors", tmp_path / "model.keras"
    done = fbfl("export", "--run", run, plain)
    assert done.stdout == f"{plain}: the global model after round 2, 9,610 weights\n"
    assert hashlib.sha256(plain.read_bytes()).hexdigest() == summary["model_sha256"]
    assert fbfl("export", "--run", run, "--round", 1, keras_file).returncode == 0
    assert b"fbfl" not in zipfile.ZipFile(keras_file).read("config.json"), "it opens where fbfl is not"

    import keras

    loaded = keras.models.load_model(keras_file)
    wanted = open_run(run).weights(1)
    assert all(np.array_equal(*pair) for pair in zip(loaded.get_weights(), wanted, strict=True))
    for arguments, said in (
        ((plain,), "is there already; allowed: a new file"),
        ((tmp_path / "model.h5",), "allowed: a name that ends in .keras or .safetensors"),
        ((tmp_path / "none" / "a.keras",), "its folder is not there"),
        ((tmp_path / "a.keras", "--round", 3), "round is 3; allowed: 0 to 2"),
        ((tmp_path / "a.keras", "--task", 1), "--task 1; allowed: only with --network"),
    ):
        refused = fbfl("export", "--run", run, *arguments)
        assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
        assert said in refused.stderr


@pytest.mark.slow
def test_a_table_of_a_users_devices_from_its_file_to_an_audit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    rows = [
        f"phone-{rng.integers(5)},{rng.normal() + 3 * walks:.3f},{('sit', 'walk')[walks]}" for walks in (0, 1) * 150
    ]
    Path("sensors.csv").write_text("phone,speed,activity\n" + "\n".join(rows))
    table = ("--dataset", "sensors.csv", "--dataset-arg", "label=activity", "--dataset-arg", "device=phone")
    done = fbfl("run", *table, "--partition", "by_device", "--servers", 3, "--rounds", 2, "--output", "run")
    assert done.returncode == 0, done.stderr
    assert "3 MEC servers, 5 devices, sensors" in done.stdout
    summary = json.loads(Path("run/summary.json").read_text())
    assert (summary["devices"], summary["dataset"]) == (5, "sensors")
    assert fbfl("audit", "--run", "run").returncode == 0
    again = fbfl("run", "--config", "run/settings.json", "--output", "again")
    assert again.returncode == 0, again.stderr
    assert json.loads(Path("again/summary.json").read_text())["model_sha256"] == summary["model_sha256"]
