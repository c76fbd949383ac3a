"""`fbfl device`: one local device as a process of its own; `fbfl token`: the tokens that identify devices."""

import argparse
import functools
import logging
import os
import signal
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from fbfl.cli.samples import own_samples, share_of
from fbfl.cli.settings import taken
from fbfl.errors import InvalidInputError
from fbfl.learning.datasets import Dataset
from fbfl.learning.partition import Indices
from fbfl.learning.partition import resolve as resolve_partition
from fbfl.learning.plugins import parse_settings
from fbfl.mec import tokens
from fbfl.mec.batches import MAX_BODY, most_samples, problem_of_values
from fbfl.mec.courier import check_url
from fbfl.mec.device import Journey, device_shares
from fbfl.mec.device_agent import DeviceAgent
from fbfl.mec.device_database import DeviceDatabase
from fbfl.mec.mobility import resolve as resolve_mobility
from fbfl.mec.samples import Array
from fbfl.mec.uploads import Uploads
from fbfl.nodes.processes import STATE
from fbfl.system.jsonlog import JsonFormatter
from fbfl.system.locks import only_process
from fbfl.system.textfile import read_text

TOKEN_VARIABLE = "FBFL_DEVICE_TOKEN"


def device(options: argparse.Namespace) -> int:
    """Run a device until it is told to end, or with --once until all is uploaded."""
    if options.batch < 1:
        raise InvalidInputError(f"--batch {options.batch}; allowed: 1 or more")
    options.seed = taken(options, "seed")
    if not options.poll > 0:
        raise InvalidInputError(f"--poll {options.poll:g}; allowed: more than 0 seconds")
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
        handler = logging.StreamHandler()
        handler.setFormatter(JsonFormatter(device=number))
        logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
        logging.getLogger("fbfl").setLevel(logging.INFO)
        for order in (signal.SIGTERM, signal.SIGINT):
            signal.signal(order, lambda *_: agent.stop())
        agent.run()
    return 0


def token(options: argparse.Namespace) -> int:
    """Make tokens for devices; prints the files."""
    for number in options.numbers:
        _check_number(number, str(number))
    if len(set(options.numbers)) < len(options.numbers):
        raise InvalidInputError("a device is named twice")
    folder = options.folder or options.devices.parent
    for file in tokens.give_tokens(options.devices, options.numbers, folder):
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
    if not 0 <= number <= tokens.MAX_DEVICE:
        raise InvalidInputError(f"{where}; allowed: 0 to {tokens.MAX_DEVICE}")


def _journey(options: argparse.Namespace, number: int) -> Journey:
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


def _samples(options: argparse.Namespace) -> tuple[Array, Array]:
    x, y = own_samples(options, functools.partial(_part, options))
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
            f"--share {options.share}",
            f"{_servers(options)} servers",
            *partition,
        ]
    return ", ".join([*words, f"device {number}"])


def _servers(options: argparse.Namespace) -> int:
    return len(options.mec) if options.servers is None else int(options.servers)


def _part(options: argparse.Namespace, dataset: Dataset, place: int, devices: int) -> Indices:
    servers = _servers(options)
    if not 1 <= servers <= devices:
        raise InvalidInputError(f"--servers {servers}; allowed: 1 to {devices}, as many as there are devices")
    partition = resolve_partition(taken(options, "partition"), **taken(options, "partition_args"))
    labels, device_of = dataset.y_train, dataset.device_of
    return device_shares(labels, partition, servers, devices, options.seed, device_of)[place]
