"""`fbfl run` and `fbfl experiment` as strangers type them, in this process: what has to hold of each."""

import contextlib
import io
import json
import shutil
import sys
import warnings
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fbfl.cli import main
from tests.fuzz import faults
from tests.fuzz.faults import FaultFoundError, require

_TIMES = ("seconds", "train_seconds", "consensus_seconds", "cpu_seconds")
_NO_NUMBERS = {"nan", "inf", "-inf", "none"}


def run_holds(settings: Mapping[str, Any], output: str, *, file: bool) -> None:
    """It ends well, with figures that mean something, or with a line and nothing left behind; twice the same, and the
    audit agrees. The settings come from a `file`, or as options.
    """
    arguments = _options(settings)
    if file:
        Path("settings.toml").write_text(toml(settings), encoding="utf-8")
        arguments = ["--config", "settings.toml"]
    folder, played = Path("out", output), []
    for _ in range(2):
        shutil.rmtree("out", ignore_errors=True)
        ended = _command("run", *arguments, "--quiet", f"--output={folder}")
        played.append((ended.status, ended.complained, _figures(folder) if ended.status == 0 else None))
    faults.same(*played)
    if ended.status == 0:
        plugins = [f"--plugin={settings[name]}" for name in ("model", "aggregator") if ":" in settings.get(name, "")]
        # Liars that outvote the others make a wrong model final, and the audit says so.
        _command("audit", *plugins, f"--run={folder}", allowed=(0, 1) if settings.get("liars") else (0,))
    elif ended.status == 2 and "strangers" not in ended.complained:  # whose function may raise in a later round
        require(not folder.exists(), f"refused, but {folder} is there: {ended.complained}")


def experiment_holds(name: str, definition: Mapping[str, Any]) -> None:
    """It ends well, without a cell that is no number, or with a line; twice the same, and again from what is stored."""
    shutil.rmtree("experiments", ignore_errors=True)
    Path("experiments").mkdir()
    Path("experiments", f"{name}.toml").write_text(toml(definition), encoding="utf-8")
    played = []
    for folder in ("first-output", "second-output"):
        shutil.rmtree(folder, ignore_errors=True)
        ended = _command("experiment", "--jobs=1", "--quiet", f"--output={folder}", "--", name)
        tables = _tables(Path(folder)) if ended.status == 0 else None
        played.append((ended.status, ended.complained.replace(folder, "folder"), tables))
    faults.same(*played)
    if ended.status == 0:
        ended = _command("experiment", "--jobs=1", "--quiet", "--resume", f"--output={folder}", "--", name)
        faults.same(played[-1], (ended.status, ended.complained, _tables(Path(folder))))


@dataclass(frozen=True)
class _Ended:
    status: Any
    said: str
    complained: str


def _command(*arguments: str, allowed: Collection[int] = (0, 2, 3)) -> _Ended:
    said, complained = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(complained), _warnings_as_users_see_them():
        try:
            status: Any = main(list(arguments))
        except SystemExit as ending:  # how argparse says it
            status = ending.code
    ended = _Ended(status, said.getvalue(), complained.getvalue())
    require(status in allowed, f"{ended}")
    lines = ended.complained.splitlines()
    require((status in (2, 3)) == bool(lines), f"{ended}")
    if " raised " in ended.complained and "strangers" in ended.complained:
        return ended  # a user's function, whose frames are shown
    require(len(lines) <= faults.MOST_LINES and "Traceback" not in ended.complained, f"{len(lines)} lines: {ended}")
    return ended


@contextlib.contextmanager
def _warnings_as_users_see_them() -> Iterator[None]:
    """pytest would keep them to itself."""

    def show(message: Warning | str, category: type[Warning], file: str, line: int, *_: Any, **__: Any) -> None:
        print(warnings.formatwarning(message, category, file, line), end="", file=sys.stderr)

    with warnings.catch_warnings(action="default"):
        for ignored in (DeprecationWarning, PendingDeprecationWarning):
            warnings.simplefilter("ignore", ignored)
        vars(warnings).update(showwarning=show)
        yield


def _figures(folder: Path) -> tuple[Any, ...]:
    """Return what another run with the settings has in common with the one in a folder."""
    lines = [_strict(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    summary = _strict((folder / "summary.json").read_text(encoding="utf-8"))
    _strict((folder / "settings.json").read_text(encoding="utf-8"))
    require(len(lines) == summary["rounds"], f"{len(lines)} lines for {summary['rounds']} rounds")
    for line in lines:
        require(faults.is_share(line["accuracy"]), f"accuracy {line['accuracy']}")
        rate = line.get("attack_success_rate")
        require(rate is None or faults.is_share(rate), f"attack success rate {rate}")
        said = faults.NOT_FINITE in line.get("warnings", ())
        require((line["loss"] is None) == said, f"loss {line['loss']} with the warnings {line.get('warnings')}")
    last = {name: lines[-1][name] for name in ("accuracy", "loss")}
    final = {name: summary[f"final_{name}"] for name in last}
    require(final == last, f"the summary says {final}, the last line {last}")
    for name in ("accuracy.png", "loss.png"):
        require((folder / name).read_bytes().startswith(b"\x89PNG"), f"{name} is no picture")
    shared = [{key: value for key, value in line.items() if key not in _TIMES} for line in lines]
    return summary["model_sha256"], summary["warnings"], shared


def _tables(folder: Path) -> dict[str, str]:
    """The report and the tables that do not hold times, by name."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix not in (".csv", ".md", ".json", ".jsonl"):
            continue
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".csv":
            cells = {cell.lower() for line in text.splitlines()[1:] for cell in line.split(",")[3:]}
            require(not cells & _NO_NUMBERS, f"{path}: {cells & _NO_NUMBERS}")
        for part in {".json": [text], ".jsonl": text.splitlines()}.get(path.suffix, []):
            _strict(part)
        if path.suffix in (".csv", ".md") and not path.name.endswith("-costs.csv"):
            found[path.name] = text
    require("RESULTS.md" in found, f"no report: {found.keys()}")
    return found


def _strict(text: str) -> Any:
    """JSON, which has neither NaN nor Infinity."""

    def refuse(word: str) -> Any:
        raise FaultFoundError(f"{word} in JSON: {text[:300]}")

    return json.loads(text, parse_constant=refuse)


def _options(settings: Mapping[str, Any]) -> list[str]:
    """Settings as a command line has them."""
    words: list[str] = []
    for name, value in settings.items():
        option = "--" + name.replace("_", "-")
        if isinstance(value, Mapping):
            for key, setting in value.items():
                words += [option[:-1], f"{key}={setting if isinstance(setting, str) else repr(setting)}"]
        elif isinstance(value, bool):
            words += [option] if value else []
        else:
            words.append(f"{option}={value}")
    return words


def toml(content: Mapping[str, Any]) -> str:
    """A TOML file, with all tables within their lines."""
    return "".join(f"{_toml(key)} = {_toml(value)}\n" for key, value in content.items())


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        pairs = (f"{_toml(key)} = {_toml(entry)}" for key, entry in value.items() if entry is not None)
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return repr(value).lower()
