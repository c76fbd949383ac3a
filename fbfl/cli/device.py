"""`fbfl device`: one local device as a process of its own; `fbfl token`: the tokens that identify devices."""

import argparse
import functools
import os
import signal
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fbfl.cli.parser import Commands
from fbfl.cli.samples import add_samples, own_samples, share_of
from fbfl.cli.settings import add_option, taken
from fbfl.errors import InvalidInputError
from fbfl.learning.plugins import parse_settings
from fbfl.system.textfile import read_text
from fbfl.values import checks

if TYPE_CHECKING:
    from fbfl.learning.datasets import Dataset
    from fbfl.learning.partition import Indices
    from fbfl.mec.device import Journey
    from fbfl.mec.samples import Array

TOKEN_VARIABLE = "FBFL_DEVICE_TOKEN"


def add_parser(commands: Commands) -> None:
    """Add both commands."""
    _add_device(commands)
    _add_token(commands)


def _add_device(commands: Commands) -> None:
    command = commands.add_parser(
        "device",
        help="one local device, until it is stopped",
        description="One local device: it collects samples, moves, and uploads to the MEC server it is attached to.",
    )
    add = command.add_argument
    add(
        "--mec",
        action="append",
        required=True,
        metavar="URL",
        help="a server's endpoint; again for each cell, in order",
    )
    add("--device", type=int, metavar="D", help="its number (default: I of --share)")
    add("--token-file", type=Path, metavar="FILE", help="its token (default: the one in FBFL_DEVICE_TOKEN)")
    add_samples(command)
    add("--share", metavar="I/N", help="the share: that of device I, from 0, of N")
    add("--servers", type=int, metavar="S", help="servers that the data set is split among first (default: the --mec)")
    add_option(command, "dataset_args")
    add_option(command, "num_classes", "of the task; 0: labels are numbers (default: as the labels are)")
    add_option(command, "partition")
    add_option(command, "partition_args")
    way = command.add_mutually_exclusive_group()
    way.add_argument("--trace", type=Path, metavar="FILE", help="its way: CSV with the columns seconds, cell")
    way.add_argument("--mobility", help="or a model: random_waypoint, or package.module:function (default: it stays)")
    add("--mobility-arg", action="append", default=[], metavar="KEY=VALUE", help="a parameter of trace or model")
    add_option(command, "seed", "of partition and mobility (default: 0)")
    add("--batch", type=int, default=1000, metavar="N", help="most samples of an upload (default 1000)")
    add("--once", action="store_true", help="end when servers have all its samples")
    add("--poll", type=float, default=0.5, metavar="S", help="seconds between looks while it is idle (default 0.5)")
    add("--state", type=Path, metavar="DIR", help="folder for its samples (default .fbfl/devices/D)")
    command.set_defaults(command=device)


def _add_token(commands: Commands) -> None:
    command = commands.add_parser(
        "token", help="give devices tokens", description="Make tokens that let devices upload to servers."
    )
    command.add_argument("numbers", nargs="+", type=int, metavar="D", help="the number of a device, from 0")
    command.add_argument(
        "--devices", type=Path, required=True, metavar="FILE", help="the servers' file of devices, with hashes only"
    )
    command.add_argument(
        "--folder", type=Path, metavar="DIR", help="folder for the device-D.token files (default: beside FILE)"
    )
    command.set_defaults(command=token)


def device(options: argparse.Namespace) -> int:
    """Run a device until it is told to end, or with --once until all is uploaded."""
    from fbfl.mec.device_agent import DeviceAgent
    from fbfl.mec.device_database import DeviceDatabase
    from fbfl.mec.uploads import Uploads
    from fbfl.nodes.processes import STATE
    from fbfl.system.jsonlog import log_as_json
    from fbfl.system.locks import only_process

    if options.batch < 1:
        raise InvalidInputError(f"--batch {options.batch}; allowed: 1 or more")
    options.seed = taken(options, "seed")
    checks.seconds("--poll", options.poll)
    number = _number(options)
    journey = _journey(options, number)
    uploads = Uploads(number, _token(options))
    folder = options.state or STATE / "devices" / str(number)
    file = folder / "samples.sqlite"
    samples = None if file.exists() else _samples(options)  # checked before anything is made
    with only_process(folder, f"a device of {folder}"), closing(DeviceDatabase(file)) as database:
        source = _source(options, number)
        if database.source is None:
            database.fill(*(samples or _samples(options)), source, started=time.time())
        elif database.source != source:
            raise InvalidInputError(
                f"{file} holds those of {database.source}, not of {source}; allowed: the same, or another --state"
            )
        agent = DeviceAgent(database, journey, uploads, batch=options.batch, once=options.once, poll=options.poll)
        log_as_json(device=number)
        for order in (signal.SIGTERM, signal.SIGINT):
            signal.signal(order, lambda *_: agent.stop())
        agent.run()
    return 0


def token(options: argparse.Namespace) -> int:
    """Make tokens for devices; prints the files."""
    from fbfl.mec.tokens import give_tokens

    for number in options.numbers:
        _check_number(number, str(number))
    if len(set(options.numbers)) < len(options.numbers):
        raise InvalidInputError("a device is named twice")
    folder = options.folder or options.devices.parent
    for file in give_tokens(options.devices, options.numbers, folder):
        print(file)
    return 0


def _number(options: argparse.Namespace) -> int:
    number: int | None = options.device
    if number is None:
        if options.share is None:
            raise InvalidInputError("no device is named; allowed: --device D, or --share I/N")
        number, _ = share_of(options.share)
    _check_number(number, f"--device {number}")
    return number


def _check_number(number: int, where: str) -> None:
    from fbfl.mec.tokens import MAX_DEVICE

    if not 0 <= number <= MAX_DEVICE:
        raise InvalidInputError(f"{where}; allowed: 0 to {MAX_DEVICE}")


def _journey(options: argparse.Namespace, number: int) -> "Journey":
    from fbfl.mec.courier import check_url
    from fbfl.mec.device import Journey
    from fbfl.mec.mobility import resolve as resolve_mobility

    servers = [check_url(url, "--mec").rstrip("/") for url in options.mec]
    if len(set(servers)) < len(servers):
        raise InvalidInputError(f"--mec {' '.join(servers)}; allowed: each server once")
    settings: dict[str, Any] = parse_settings("--mobility-arg", options.mobility_arg)
    if options.trace is not None:
        name, settings = "trace", {**settings, "file": str(options.trace), "names": servers}
    elif options.mobility is not None:
        name = options.mobility
    elif len(servers) > 1 or settings:
        raise InvalidInputError("several --mec, or a --mobility-arg: allowed with --trace FILE or --mobility NAME")
    else:
        return Journey(number, servers)
    journey = Journey(number, servers, resolve_mobility(name, len(servers), settings), options.seed)
    journey.server(0.0)  # fails now if the trace has no such device
    return journey


def _token(options: argparse.Namespace) -> str:
    if options.token_file is not None:
        where = f"--token-file {options.token_file}"
        found = read_text(options.token_file, where).strip()
    else:
        found, where = os.environ.get(TOKEN_VARIABLE, "").strip(), TOKEN_VARIABLE
    if not found:
        raise InvalidInputError(f"no token in {where}; allowed: --token-file FILE, or {TOKEN_VARIABLE}")
    if not (found.isascii() and found.isprintable() and " " not in found):
        raise InvalidInputError(f"{where} holds no token; allowed: one word of ASCII characters")
    return found


def _samples(options: argparse.Namespace) -> "tuple[Array, Array]":
    from fbfl.mec.batches import MAX_BODY, most_samples, problem_of_values

    x, y = own_samples(options, functools.partial(_part, options), taken(options, "num_classes"))
    problem = problem_of_values(x)
    if problem is None and not most_samples(MAX_BODY, x[:1].nbytes):
        problem = f"a sample has {x[:1].nbytes} bytes; allowed: less than {MAX_BODY}"
    if problem is not None:
        raise InvalidInputError(f"{options.data or options.dataset}: {problem}")
    return x, y


def _source(options: argparse.Namespace, number: int) -> str:
    """Return a text that identifies the samples: equal texts mean equal samples."""
    if options.data is not None:
        words = [f"--data {Path(options.data).resolve()}"]
    else:
        pairs = sorted(options.partition_args or [])
        partition = [taken(options, "partition"), *pairs, f"seed {options.seed}"]
        words = [
            f"--dataset {options.dataset}",
            *sorted(options.dataset_args or []),
            *([] if options.num_classes is None else [f"{options.num_classes} classes"]),
            f"--share {options.share}",
            f"{_servers(options)} servers",
            *partition,
        ]
    return ", ".join([*words, f"device {number}"])


def _servers(options: argparse.Namespace) -> int:
    return len(options.mec) if options.servers is None else int(options.servers)


def _part(options: argparse.Namespace, dataset: "Dataset", place: int, devices: int) -> "Indices":
    from fbfl.learning.partition import resolve as resolve_partition
    from fbfl.mec.device import device_shares

    servers = _servers(options)
    if not 1 <= servers <= devices:
        raise InvalidInputError(f"--servers {servers}; allowed: 1 to {devices}, as many as there are devices")
    partition = resolve_partition(taken(options, "partition"), **taken(options, "partition_args"))
    labels, device_of = dataset.y_train, dataset.device_of
    return device_shares(labels, partition, servers, devices, options.seed, device_of)[place]
