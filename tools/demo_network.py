"""A federation of processes on real nodes of this machine, shown as it goes: `make demo-network`.

    python tools/demo_network.py [--network anvil|ganache|geth] [--rounds R] [--dataset D] [--port P] [--output DIR]

Starts the Ethereum nodes, two connected Kubo daemons, four MEC servers, eight local devices and the owner of the task,
each by the command that a user would type. The devices collect samples, move from server to server and upload on their
way. Shows every round, audits all of them, and leaves no process behind, however it ends. Exit status: 0; 1 if the
audit finds something; 2 wrong use; 3 something failed; 130 on Ctrl-C.
"""

import argparse
import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

from fbfl.chain.accounts import development_account
from fbfl.chain.deployment.deploy import file_of, open_ledger
from fbfl.chain.ledger import Ledger
from fbfl.chain.networks import connect
from fbfl.chain.queries import num_rounds, round_record
from fbfl.chain.records import RoundRecord
from fbfl.chain.rounds import TaskState
from fbfl.chain.task import Task
from fbfl.cli import output
from fbfl.cli.console import plain_console
from fbfl.errors import FbflError, InvalidInputError, ProcessError
from fbfl.learning.datasets import Dataset
from fbfl.mec.courier import health_of
from fbfl.nodes import chains, kubo
from fbfl.nodes.processes import LOOPBACK, Program, log_of, recorded, running, start, stop
from fbfl.runs.files import DEFAULT_PARENT
from fbfl.runs.folder import new_folder
from fbfl.storage.ipfs import IpfsStore

SERVERS = 4
DEVICES = 8
STAY = 10
"""Seconds that a device stays with a server; it then has new samples, and is in the next server's cell."""
STAYS = 5
"""Number of servers after which a device has all its samples."""

OWNER = 10
"""The owner's development account; server i has account i, for which node i of a geth network mines."""

CONSENSUS = {"anvil": ("pbft", "--signatures"), "ganache": ("pow",), "geth": ("ethash",)}
KUBO_PORT = 300
"""From the port of the first Ethereum node to that of the first Kubo daemon."""
MEC_PORT = 500
"""From the port of the first Ethereum node to that of the first MEC server."""

START_SECONDS = 180.0
INTERRUPTED = 130

_TOKENS = "devices"
_TRACE = "trace.csv"
_FBFL = (sys.executable, "-m", "fbfl")


@dataclass(frozen=True)
class Demo:
    """Settings of the demonstration, and its folders."""

    folder: Path
    network: str
    rounds: int
    dataset: str
    port: int

    @property
    def state(self) -> Path:
        """The folder of the nodes."""
        return self.folder / ".fbfl"

    def mec_url(self, server: int) -> str:
        """The endpoint of a MEC server."""
        return f"http://{LOOPBACK}:{self.port + MEC_PORT + server}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demonstration; returns the exit status."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    console = plain_console()
    try:
        return run(_demo(arguments), console)
    except FbflError as error:
        print(f"demo-network: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print("demo-network: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        if not output.reader_is_gone():
            raise
        output.discard()
        return output.READER_GONE


def run(demo: Demo, console: Console) -> int:
    """All of it."""
    with contextlib.ExitStack() as ends:
        ends.enter_context(_ended(demo))
        console.print(f"starting {demo.network} and Kubo in {demo.folder}")
        urls, daemons = _start_nodes(demo, console)
        task = _own(demo, console, urls[0], daemons[0])
        start(demo.folder, _servers(demo, task, urls, daemons), lambda p: _answers(p.ports[0]), timeout=START_SECONDS)
        start(demo.folder, _devices(demo), lambda _: _all_servers_have_samples(demo), timeout=START_SECONDS)
        start(demo.folder, [_owner(demo, urls[0])], lambda _: True, timeout=START_SECONDS)
        console.print("while it runs, ask in another terminal:")
        console.print(f"  cd {shlex.quote(str(demo.folder))}; export FBFL_IPFS={daemons[0]}")
        for words in ("rounds", "round 3", "audit --store ipfs"):
            console.print(f"  {_fbfl()} {words} --network {urls[0]}")
        w3 = connect(urls[0])
        ledger = open_ledger(w3, file_of(w3, demo.folder / "deployments"))
        return _watch(demo, console, ledger, IpfsStore(daemons[0]))


@contextlib.contextmanager
def _ended(demo: Demo) -> Iterator[None]:
    """Whatever happens inside, no process that was started there runs afterwards."""
    try:
        yield
    finally:
        # A second Ctrl-C must not end this half-way.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        with contextlib.ExitStack() as ends:  # each, even if one before it fails
            ends.callback(kubo.down, state=demo.state)
            ends.callback(chains.down, demo.network, state=demo.state)
            ends.callback(stop, demo.folder, recorded(demo.folder))


def _start_nodes(demo: Demo, console: Console) -> tuple[list[str], list[str]]:
    """The URLs of the Ethereum nodes, and the addresses of the Kubo daemons."""
    said: set[int] = set()

    def progress(what: str, share: float) -> None:
        if int(share * 10) not in said:
            said.add(int(share * 10))
            console.print(f"{what}: {share:.0%}")

    count = SERVERS if demo.network == "geth" else 1
    chain = chains.up(demo.network, nodes=count, port=demo.port, state=demo.state, progress=progress)
    daemons = kubo.up(nodes=2, port=demo.port + KUBO_PORT, state=demo.state)
    return [node.address for node in chain], [daemon.address for daemon in daemons]


def _own(demo: Demo, console: Console, url: str, daemon: str) -> str:
    """Do the owner's part before the servers come; return the number of the task."""
    task = ""
    consensus, *options = CONSENSUS[demo.network]
    settings = ["--dataset", demo.dataset, "--servers", SERVERS, "--rounds", demo.rounds]
    addresses = [development_account(server).address for server in range(SERVERS)]
    own = ["--network", url, "--account", OWNER]
    for words in (
        ["deploy", *own],
        ["task", "create", "--consensus", consensus, *options, *settings, "--store", "ipfs", *own],
        ["task", "admit", *addresses, *own],
        ["token", "--devices", _TOKENS, *range(DEVICES)],
    ):
        command = list(map(str, words))
        console.print(f"$ fbfl {shlex.join(command)}")
        done = subprocess.run(
            [*_FBFL, *command],
            cwd=demo.folder,
            env={**os.environ, "FBFL_IPFS": daemon},
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        if done.returncode:
            raise ProcessError(f"fbfl {words[0]} failed: {done.stderr.strip()}")
        if "create" in words:
            task = done.stdout.split()[-1]
    return task


def _servers(demo: Demo, task: str, urls: Sequence[str], daemons: Sequence[str]) -> list[Program]:
    """The MEC servers, each with a node and a daemon of its own as far as there are so many."""
    return [
        Program(
            f"mec-{server}",
            [
                *_FBFL,
                *f"mec --network {urls[server % len(urls)]} --account {server} --task {task}".split(),
                *f"--devices {_TOKENS} --store ipfs --port {demo.port + MEC_PORT + server}".split(),
            ],
            (demo.port + MEC_PORT + server,),
            {"FBFL_IPFS": daemons[server % len(daemons)]},
        )
        for server in range(SERVERS)
    ]


def _devices(demo: Demo) -> list[Program]:
    """The local devices: each begins with a server of its own, and comes to the next one again and again."""
    moves = [f"{d},{stay * STAY},{(d + stay) % SERVERS}" for d in range(DEVICES) for stay in range(100)]
    (demo.folder / _TRACE).write_text("\n".join(["device,seconds,cell", *moves, ""]))
    servers = [word for server in range(SERVERS) for word in ("--mec", demo.mec_url(server))]
    return [
        Program(
            _device(number),
            [
                *_FBFL,
                *f"device --token-file device-{number}.token --share {number}/{DEVICES} --trace {_TRACE}".split(),
                *f"--mobility-arg round_seconds={STAY} --mobility-arg collect_rounds={STAYS}".split(),
                "--dataset",
                demo.dataset,
                *servers,
            ],
            (),
        )
        for number in range(DEVICES)
    ]


def _device(number: int) -> str:
    return f"device-{number}"


def _all_servers_have_samples(demo: Demo) -> bool:
    """Rounds wait for a server that has none until their window is over."""
    return all((health_of(demo.mec_url(server)) or {}).get("samples") for server in range(SERVERS))


def _owner(demo: Demo, url: str) -> Program:
    words = ("task", "drive", "--rounds", str(demo.rounds), "--servers", str(SERVERS), "--account", str(OWNER))
    return Program("owner", [*_FBFL, *words, "--network", url], ())


def _answers(port: int) -> bool:
    return health_of(f"http://{LOOPBACK}:{port}", timeout=2.0) is not None


def _watch(demo: Demo, console: Console, ledger: Ledger, store: IpfsStore) -> int:
    """Show the rounds until all are over, and audit them."""
    from fbfl import audit as auditing

    task = next(ledger.task(event.args["task"]) for event in ledger.events("TaskCreated"))
    quality = _Quality(demo, task, store)
    with Live(console=console, refresh_per_second=4, transient=not console.is_terminal) as live:
        while True:
            state = ledger.state(task.id)
            records = [round_record(ledger, task.id, number + 1) for number in range(num_rounds(ledger, task.id))]
            quality.look(records)
            if console.is_terminal:
                live.update(
                    Group(_rounds_table(demo, records, state, quality), _servers_table(demo), _devices_table(demo))
                )
            else:
                quality.print_new(console, records)
            if state.round >= demo.rounds and state.phase.is_over:
                break
            _check_processes(demo)
            time.sleep(0.5)
    report = auditing.audit(ledger, store, task)
    for finding in report.findings:
        console.print(str(finding))
    verdict = "everything recomputed is as recorded" if report.passed else f"{len(report.findings)} findings"
    console.print(f"audit: {report.rounds} rounds, {report.final} final, {report.updates} updates: {verdict}")
    return 0 if report.passed and report.final else 1


class _Quality:
    """Accuracy and loss of every global model, evaluated once."""

    def __init__(self, demo: Demo, task: Task, store: IpfsStore) -> None:
        from fbfl.learning import datasets
        from fbfl.learning.trainer import make
        from fbfl.mec.plan import TaskPlan

        plan = TaskPlan.of(task)
        self._plan = plan
        self._store = store
        self._data: Dataset = datasets.load(demo.dataset)
        self._trainer = make("keras", {}, plan.purpose, lanes=1)
        self.of: dict[int, tuple[float, float]] = {}
        self._printed: set[int] = set()

    def look(self, records: Sequence[RoundRecord]) -> None:
        """Evaluate the models that are new."""
        from fbfl.mec.global_model import weights_of

        for record in records:
            if record.round not in self.of and record.model is not None:
                weights = weights_of(self._plan, self._store.get(record.model))
                found = self._trainer.evaluate(weights, self._data.x_test, self._data.y_test)
                self.of[record.round] = found["accuracy"], found["loss"]

    def print_new(self, console: Console, records: Sequence[RoundRecord]) -> None:
        """A plain line for each round that is over since the last call."""
        for record in records:
            if record.status == "open" or record.round in self._printed:
                continue
            self._printed.add(record.round)
            quality = "accuracy {:.4f}  loss {:.4f}".format(*self.of[record.round]) if record.round in self.of else ""
            console.print(
                f"round {record.round:>3}  {record.status}  {quality}  leader {_name(record.leader)}  "
                f"{len(record.updates)} updates  {len(record.votes)} votes  gas {record.gas_used:,}"
            )


def _rounds_table(demo: Demo, records: Sequence[RoundRecord], state: TaskState, quality: _Quality) -> Table:
    table = Table(title=f"{demo.rounds} rounds on {demo.network}, block {state.block}")
    for name in ("round", "status", "leader", "updates", "votes", "views", "accuracy", "loss", "gas"):
        table.add_column(name, justify="left" if name in ("status", "leader") else "right")
    for record in records:
        evaluated = [f"{value:.4f}" for value in quality.of[record.round]] if record.round in quality.of else ["", ""]
        status = state.phase.name.lower() if record.status == "open" else record.status
        counts = (len(record.updates), len(record.votes), record.views)
        gas = f"{record.gas_used:,}"
        table.add_row(str(record.round), status, _name(record.leader), *map(str, counts), *evaluated, gas)
    return table


def _servers_table(demo: Demo) -> Table:
    table = Table(title="MEC servers")
    for name in ("server", "endpoint", "samples", "round", "phase", "last error"):
        table.add_column(name, justify="right" if name == "samples" else "left")
    for server in range(SERVERS):
        said = health_of(demo.mec_url(server), timeout=0.5) or {"phase": "does not answer"}
        words = (said.get("samples"), said.get("round"), said.get("phase"), said.get("last_error"))
        table.add_row(str(server), demo.mec_url(server), *("" if word is None else str(word) for word in words))
    return table


def _devices_table(demo: Demo) -> Table:
    """Return a table of the devices' last log lines."""
    table = Table(title="local devices")
    for name in ("device", "what it said last"):
        table.add_column(name)
    for number in range(DEVICES):
        try:
            last = log_of(demo.folder, _device(number)).read_text().splitlines()[-1]
            said = str(json.loads(last)["message"])
        except (OSError, ValueError, LookupError):
            said = ""
        table.add_row(str(number), said)
    return table


def _check_processes(demo: Demo) -> None:
    for name in recorded(demo.folder):
        # The owner ends by itself, a moment before its last round is seen here.
        if name != "owner" and running(demo.folder, name) is None:
            raise ProcessError(f"{name} ended by itself; what it said is in {log_of(demo.folder, name)}")


def _name(address: str | None) -> str:
    known: dict[str, str] = {development_account(server).address: f"server {server}" for server in range(SERVERS)}
    return "" if address is None else known.get(address, address)


def _fbfl() -> str:
    beside = Path(sys.executable).parent / "fbfl"
    return shlex.quote(str(beside)) if beside.exists() else f"{shlex.quote(sys.executable)} -m fbfl"


def _demo(arguments: Sequence[str] | None) -> Demo:
    parser = argparse.ArgumentParser(prog="demo-network", description="A federation of processes on real nodes.")
    parser.add_argument("--network", default="anvil", help="anvil (default), ganache or geth")
    parser.add_argument("--rounds", type=int, default=5, help="rounds (default 5)")
    parser.add_argument("--dataset", default="digits", help="digits (default), mnist-5k, mnist, fashion-mnist, a file")
    parser.add_argument("--port", type=int, default=18545, help="of the first node; all others follow (default 18545)")
    parser.add_argument("--output", type=Path, metavar="DIR", help="new folder (default runs/network-<time>)")
    options = parser.parse_args(arguments)
    if options.network not in CONSENSUS:
        raise InvalidInputError(f"--network {options.network}; allowed: {', '.join(CONSENSUS)}")
    if options.rounds < 1:
        raise InvalidInputError(f"--rounds {options.rounds}; allowed: 1 or more")
    folder = (options.output or new_folder(DEFAULT_PARENT, f"network-{datetime.now():%Y%m%d-%H%M%S}")).resolve()
    if folder.exists() and any(folder.iterdir()):
        raise InvalidInputError(f"--output {options.output}; allowed: a new or an empty folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInputError(f"--output {options.output}: cannot be written: {error.strerror}") from error
    return Demo(folder, options.network, options.rounds, options.dataset, options.port)


if __name__ == "__main__":
    sys.exit(main())
