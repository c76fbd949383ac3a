"""`fbfl run`: one federation end to end, shown as it goes and kept in a folder."""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from fbfl.cli import hint
from fbfl.cli.console import plain_console
from fbfl.cli.settings import settings_of
from fbfl.errors import NoFinalRoundError
from fbfl.runs import DEFAULT_PARENT, RunFolder, new_folder
from fbfl.settings import RunSettings


def run(options: argparse.Namespace) -> int:
    """Run a federation as the options say."""
    settings = settings_of(options)
    from fbfl.cli.network import deployment_on

    deployment = deployment_on(settings.network, options.deployment)  # says now if no node answers
    from fbfl import simulation, tasks

    simulation.check(settings)
    console = plain_console(quiet=options.quiet)
    started = time.perf_counter()

    from fbfl.learning import datasets

    dataset = datasets.load(settings.dataset or "mnist", fallback=settings.dataset is None)
    if dataset.note:
        console.print(dataset.note)
    with _folder(options.output, settings) as folder, _progress(console, settings.rounds) as advance:
        federation = simulation.Simulation(settings, dataset, folder.payloads(settings.store), deployment=deployment)
        folder.attach(federation)
        console.print(
            f"{settings.servers} MEC servers, {settings.devices} devices, {dataset.name}, {settings.aggregator}, "
            f"{settings.consensus} on {settings.network}; set up in {time.perf_counter() - started:.1f} s"
        )
        for text in tasks.limits(settings, federation.plan):
            console.print(text)
        known = federation.warnings
        for text in known:
            console.print(text)
        for result in federation.rounds():
            line = folder.add_round(result)
            advance()
            console.print(_round_text(line))
        summary = folder.finish(
            settings,
            dataset,
            federation.plan,
            federation.weights,
            seconds=time.perf_counter() - started,
            warnings=federation.warnings,
        )
        for text in federation.warnings:
            if text not in known:
                console.print(text)
        pictures = folder.plot(f"{dataset.name}, {settings.servers} servers, {settings.aggregator}")
    if summary["final_rounds"] == 0:
        raise NoFinalRoundError(
            f"none of {settings.rounds} rounds became final; see {hint.command('rounds', '--run', folder.path)}"
        )
    console.print(
        f"accuracy {_figure(summary['final_accuracy'])}, loss {_figure(summary['final_loss'])} "
        f"after {settings.rounds} rounds in {summary['seconds']:.1f} s; model {summary['model_sha256'][:16]}"
    )
    console.print(f"plots: {', '.join(str(picture) for picture in pictures)}")
    console.print(f"all of it: {folder.path}; next: {_audit(settings, folder)}")
    return 0


def _audit(settings: RunSettings, folder: RunFolder) -> str:
    own = [name for name in (settings.aggregator, settings.model) if ":" in name]
    plugins = [word for name in own for word in ("--plugin", name)]
    return hint.command("audit", "--run", folder.path, *plugins)


def _folder(output: Path | None, settings: RunSettings) -> RunFolder:
    if output is None:
        output = new_folder(DEFAULT_PARENT, datetime.now().strftime("%Y%m%d-%H%M%S"))
    return RunFolder.create(output, settings)


def _round_text(line: dict[str, Any]) -> str:
    outcome = f"leader {line['leader'][:10]}" if line["leader"] else "aborted: the parent model stays"
    simulated = ""
    if "simulated_seconds" in line:
        simulated = f"  simulated {line['simulated_seconds']:.1f} s, {line['simulated_energy_joules']:.3g} J"
        late = [f"{line[f'late_{kind}']} {kind}" for kind in ("devices", "servers") if line[f"late_{kind}"]]
        simulated += f", late: {', '.join(late)}" if late else ""
    return (
        f"round {line['round']:>3}  accuracy {_figure(line['accuracy'])}  loss {_figure(line['loss'])}  {outcome}  "
        f"{line['updates']} updates  gas {line['gas_used']:,}  {line['seconds']:.2f} s{simulated}"
        + "".join(f"  {text}" for text in line.get("warnings", ()))
    )


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


@contextmanager
def _progress(console: Console, rounds: int) -> Iterator[Callable[[], None]]:
    """A bar on a terminal; nothing elsewhere, where the printed lines are enough. Yields what moves it on."""
    if console.quiet or not sys.stdout.isatty():
        yield lambda: None
        return
    columns = TextColumn("rounds"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True) as bar:
        job = bar.add_task("rounds", total=rounds)
        yield lambda: bar.advance(job)
