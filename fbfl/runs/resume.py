"""A run that was stopped goes on after its last finished round, to the bytes of one that never was."""

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from fbfl import simulation
from fbfl.chain.devnet import Devnet, nodes_of
from fbfl.chain.embedded.chain import EmbeddedChain
from fbfl.chain.embedded.export import import_chain
from fbfl.chain.ledger import Ledger
from fbfl.chain.networks import EMBEDDED, connect
from fbfl.chain.queries import num_rounds
from fbfl.chain.remote import RemoteNode
from fbfl.errors import ChainImportError, InvalidInputError
from fbfl.mec.tasks import dataset_of, trainer_of
from fbfl.runs import plots
from fbfl.runs.files import read_json, read_metrics
from fbfl.runs.folder import RunFolder, of_this_chain, open_stored, read_deployment
from fbfl.runs.identity import code_in
from fbfl.runs.play import Played, finish, origin_of
from fbfl.settings import RunSettings, read_stored
from fbfl.system.printable import counted


def has_ended(path: Path) -> bool:
    """Return True if the run in a folder has all its rounds; what is no run raises `InvalidInputError`."""
    read_json(path / "settings.json")
    return (path / "summary.json").exists()


def draw_missing(path: Path) -> list[Path]:
    """Draw the pictures of a run that has ended which a full disk, for example, kept from being drawn."""
    summary = read_json(path / "summary.json")
    try:
        title = plots.title_of(summary)
    except (KeyError, TypeError, ValueError) as error:
        raise ChainImportError(f"{path / 'summary.json'} is damaged: it lacks settings") from error
    return plots.plot_rounds(path, read_metrics(path), title, only_missing=True)


def resume(
    path: Path,
    *,
    say: Callable[[str], None],
    on_round: Callable[[dict[str, Any]], None],
    plugins: Collection[str] = (),
) -> Played:
    """Go on with the run in a folder; `say` and `on_round` as for `fbfl.runs.play.play`.

    The folder may be somebody else's: code that its settings name is run only if it is in `plugins`.

    A round that was under way is played anew; on a network that lasts it is gone on with. Another version of fbfl,
    other data, files or code than the run began with raise `InvalidInputError`, and so does a run that never began or
    that another process plays.
    """
    started = time.perf_counter()
    settings = read_stored(path / "settings.json")
    for name in code_in(settings):
        if name not in plugins:
            raise InvalidInputError(
                f"--resume {path}: its settings name the code {name!r}; allowed: what --plugin names"
            )
    if not (path / "deployment.json").exists():
        raise InvalidInputError(f"--resume {path}: its task was not made yet; allowed: a run with one; start it anew")
    deployment = read_deployment(path)
    with RunFolder.reopened(path) as folder:
        dataset = dataset_of(settings)
        _require_same(path, deployment.get("origin"), origin_of(settings, dataset))
        done = len(folder.lines)
        federation = simulation.Simulation(
            settings,
            dataset,
            folder.payloads(settings.store),
            devnet=_devnet(path, settings, deployment, done),
            trainer=trainer_of(settings, dataset),
            task=deployment["task"],
        )
        folder.go_on(federation)
        say(f"{path} goes on after {counted(done, 'round')} of {settings.rounds}")
        before = sum(float(line["seconds"] or 0) for line in folder.lines)
        return finish(folder, federation, _rounds(federation, done), started - before, say, on_round)


def _rounds(federation: simulation.Simulation, done: int) -> Iterator[simulation.RoundResult]:
    """Yield the rounds of which the folder has no line: those that are over on the chain, then those left to play."""
    over = num_rounds(federation.ledger, federation.task.id)
    if over and not federation.ledger.state(federation.task.id).phase.is_over:
        over -= 1
    for number in range(done + 1, over + 1):
        yield federation.past_round(number)
    yield from federation.rounds(after=over)


def _devnet(path: Path, settings: RunSettings, deployment: Mapping[str, Any], done: int) -> Devnet:
    """Return the nodes of the run, with its chain as it was after so many rounds if it is in this process."""
    addresses = deployment["addresses"]
    if settings.network != EMBEDDED:
        open_stored(path)  # raises if the network's chain is not that of the run
        return Devnet([RemoteNode(connect(settings.network))], addresses, deployment["start_block"])
    chain = import_chain(path / "chain")
    with of_this_chain(path):
        ledger = Ledger(chain.w3, addresses, head=chain.head)
        _go_back(chain, ledger, ledger.task(deployment["task"]).id, done)
    return Devnet(nodes_of(chain, settings.nodes), addresses)


def _go_back(chain: EmbeddedChain, ledger: Ledger, task: int, done: int) -> None:
    """Forget what was mined after so many rounds: from the block that opened the next one on."""
    opened = sorted(event.block for event in ledger.events("RoundOpened", task=task))
    if len(opened) < done:
        raise ChainImportError(f"the chain has {counted(len(opened), 'round')}, metrics.jsonl {done}")
    if len(opened) > done:
        chain.revert(bytes(chain.w3.eth.get_block(opened[done] - 1)["hash"]))


def _require_same(path: Path, recorded: object, now: Mapping[str, Any]) -> None:
    """Raise `InvalidInputError` unless what the run comes from is what there is now."""
    if not isinstance(recorded, dict):
        raise InvalidInputError(f"--resume {path}: a run of a version that could not resume; start it anew")
    for name in {**recorded, **now}:
        if recorded.get(name) != now.get(name):
            version = ", which the version of fbfl has that it began with" if name == "contracts" else ""
            raise InvalidInputError(
                f"--resume {path}: {name} is {now.get(name)!r}, it began with {recorded.get(name)!r}; allowed: the "
                f"same{version}"
            )
