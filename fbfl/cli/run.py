"""`fbfl run`: one federation end to end, shown as it goes and kept in a folder."""

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fbfl.cli import hint
from fbfl.cli.network import add_deployment, add_plugin, deployment_on, plugins_of
from fbfl.cli.parser import Commands
from fbfl.cli.settings import add_options, given, option_of, settings_of
from fbfl.errors import InvalidInputError, NoFinalRoundError
from fbfl.settings import RunSettings
from fbfl.system.printable import counted
from fbfl.values.fields import Place

if TYPE_CHECKING:
    from rich.console import Console

    from fbfl.runs.play import Played
    from fbfl.runs.series import Series


def add_parser(commands: Commands) -> None:
    """Add the command."""
    command = commands.add_parser("run", help="one federation end to end", description="One federation end to end.")
    add_options(command, Place.SIMULATION)
    command.add_argument("--output", type=Path, metavar="DIR", help="new folder for the results (default runs/<time>)")
    command.add_argument(
        "--seeds",
        type=int,
        metavar="N",
        help="play N runs, with seeds from --seed on, and their means (default: one run)",
    )
    command.add_argument("--quiet", action="store_true", help="print nothing but errors")
    command.add_argument(
        "--resume", type=Path, metavar="DIR", help="go on with a run that was stopped; takes no setting"
    )
    command.add_argument(
        "--tensorboard",
        type=Path,
        metavar="DIR",
        help="keep the figures of every round there for TensorBoard, of --seeds in a folder per seed",
    )
    add_plugin(command)
    add_deployment(command)
    command.set_defaults(command=run)


def run(options: argparse.Namespace) -> int:
    """Run a federation as the options say."""
    if options.resume is not None:
        return _resume(options)
    if options.plugin:
        raise InvalidInputError(
            f"--plugin {options.plugin[0]}; allowed: only with --resume, for what its settings name"
        )
    settings = settings_of(options)
    deployment = deployment_on(settings.network, options.deployment)  # says now if no node answers

    from fbfl.cli.console import plain_console
    from fbfl.runs.play import play
    from fbfl.runs.series import play_seeds

    console = plain_console(quiet=options.quiet)
    with _rounds_on(console, settings.rounds * (options.seeds or 1)) as show, ExitStack() as recorded:
        events: Path | None = options.tensorboard
        if options.seeds is not None:
            kept = (options.seeds, options.output)

            def on_round(seed: int) -> Callable[[dict[str, Any]], None]:
                return recorded.enter_context(_recorded(show, events and events / f"seed-{seed}"))

            series = play_seeds(settings, *kept, deployment=deployment, say=console.print, on_round=on_round)
            return _show_series(series, console)
        show = recorded.enter_context(_recorded(show, events))
        played = play(settings, options.output, deployment=deployment, say=console.print, on_round=show)
    return _show_end(played, settings, console)


def _resume(options: argparse.Namespace) -> int:
    """Go on with a run."""
    others = {"--config": options.config, "--output": options.output, "--seeds": options.seeds}
    others |= {option_of(name): value for name, value in given(options).items()} | {"--deployment": options.deployment}
    for name, value in others.items():
        if value is not None:
            raise InvalidInputError(f"{name} {value}; allowed with --resume: no setting, since the run has its own")

    from fbfl.cli.console import plain_console
    from fbfl.runs import resume
    from fbfl.settings import read_stored

    path: Path = options.resume
    console = plain_console(quiet=options.quiet)
    if resume.has_ended(path):
        console.print(f"{path}: the run has ended, all its rounds are there")
        if drawn := resume.draw_missing(path):
            console.print(f"plots: {', '.join(map(str, drawn))}")
        return 0
    settings = read_stored(path / "settings.json")
    with (
        _rounds_on(console, settings.rounds) as shown,
        _recorded(shown, options.tensorboard, go_on=True) as show,
    ):
        played = resume.resume(path, say=console.print, on_round=show, plugins=plugins_of(options))
    return _show_end(played, settings, console)


def _show_end(played: "Played", settings: RunSettings, console: "Console") -> int:
    """Print how a run has ended; fail if it has no final round."""
    summary = played.summary
    _require_final(f"none of {counted(settings.rounds, 'round')}", played)
    final = {name: summary[f"final_{name}"] for name in ("accuracy", "loss")}
    if final["accuracy"] is None:  # of labels that are numbers
        final = {"loss": final["loss"], **summary.get("final_metrics", {})}
    console.print(
        f"{', '.join(f'{name} {_figure(value)}' for name, value in final.items())} "
        f"after {counted(settings.rounds, 'round')} in {summary['seconds']:.1f} s; model {summary['model_sha256'][:16]}"
    )
    console.print(f"plots: {', '.join(str(picture) for picture in played.pictures)}")

    from fbfl.runs.play import own_functions

    plugins = [word for name in own_functions(settings) for word in ("--plugin", name)]
    console.print(f"all of it: {played.path}; next: {hint.command('audit', '--run', played.path, *plugins)}")
    return 0


def _require_final(none: str, played: "Played") -> None:
    """Raise `NoFinalRoundError` unless a round became final; it begins with `none` and has the first warnings."""
    if played.summary["final_rounds"] == 0:
        why = "".join(f"; {text}" for text in played.summary["warnings"][:5])
        raise NoFinalRoundError(f"{none} became final{why}; see {hint.command('rounds', '--run', played.path)}")


def _show_series(series: "Series", console: "Console") -> int:
    """Print the means of runs with several seeds; fail if one of them has no final round."""
    from fbfl.runs.measures import CURVES, RATES, text_of

    for seed, played in series.runs.items():
        _require_final(f"no round of seed {seed}", played)
    further = series.summary.get("final_metrics", {})
    for name in (*CURVES, *further):
        found = further.get(name) or series.summary.get(f"final_{name}")
        if found and (name != "accuracy" or found["mean"] is not None or not further):
            mean, half = found["mean"], found["half_width"]
            text = _figure(mean) if half is None else text_of(mean, half, ".4f", is_rate=name in RATES)
            console.print(f"{name.replace('_', ' ')} {text} (n = {found['n']})")
    console.print(f"plots: {', '.join(str(picture) for picture in series.pictures)}")
    console.print(f"all of it: {series.path}")
    return 0


def _round_text(line: dict[str, Any]) -> str:
    aborted = f"aborted ({line.get('reason', 'see fbfl rounds')}): the parent model stays"
    outcome = f"leader {line['leader'][:10]}" if line["leader"] else aborted
    simulated = ""
    if "simulated_seconds" in line:
        simulated = f"  simulated {line['simulated_seconds']:.1f} s, {line['simulated_energy_joules']:.3g} J"
        late = [f"{line[f'late_{kind}']} {kind}" for kind in ("devices", "servers") if line[f"late_{kind}"]]
        simulated += f", late: {', '.join(late)}" if late else ""
    further = "".join(f"  {name} {_figure(value)}" for name, value in line.get("metrics", {}).items())
    attack = f"  attack success {_figure(line['attack_success_rate'])}" if "attack_success_rate" in line else ""
    accuracy = "" if line["accuracy"] is None and further else f"accuracy {_figure(line['accuracy'])}  "
    figures = f"{accuracy}loss {_figure(line['loss'])}{further}{attack}"
    return (
        f"round {line['round']:>3}  {figures}  {outcome}  {counted(line['updates'], 'update')}  "
        f"gas {line['gas_used']:,}  {line['seconds']:.2f} s{simulated}"
        + "".join(f"  {text}" for text in line.get("warnings", ()))
    )


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


@contextmanager
def _recorded(
    show: Callable[[dict[str, Any]], None], events: Path | None, *, go_on: bool = False
) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Yield what shows a round and, if there is a folder for TensorBoard's events, keeps it there."""
    if events is None:
        yield show
        return
    from fbfl import tracking

    with tracking.tensorboard(events, go_on=go_on) as keep:

        def both(line: dict[str, Any]) -> None:
            show(line)
            keep(line)

        yield both


@contextmanager
def _rounds_on(console: "Console", rounds: int) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Yield what prints the line of a round; on a terminal there is a bar below the lines."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("rounds"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    hidden = console.quiet or not sys.stdout.isatty()
    with Progress(*columns, console=console, transient=True, disable=hidden) as bar:
        job = bar.add_task("rounds", total=rounds)
        told: list[str] = []

        def show(line: dict[str, Any]) -> None:
            nonlocal told
            bar.advance(job)
            now = line.get("warnings", [])
            console.print(_round_text({**line, "warnings": [text for text in now if text not in told]}))
            told = now

        yield show
