"""The files of a run's folder, read without its chain (see `fbfl.runs.folder`), and without slow imports."""

from pathlib import Path
from typing import Any

from fbfl.chain.embedded.pin import ChainHead, read_head
from fbfl.errors import ChainImportError, InvalidInputError
from fbfl.system import strictjson

DEFAULT_PARENT = Path("runs")


def read_json(path: Path) -> dict[str, Any]:
    """Return a file of a run: `InvalidInputError` if it is not there, `ChainImportError` if it is damaged."""
    if not path.exists() and (runs := sorted(path.parent.glob("seed-*"))):
        raise InvalidInputError(f"{path.parent}: holds a run per seed; allowed: one of them, as {runs[0]}")
    return object_in(path, text_of(path))


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """Return the lines of metrics.jsonl so far, without one that is being written or was cut off; as `read_json`.

    Each names a round. Nothing is said of its other values: see `fbfl.runs.measures`.
    """
    path = folder / "metrics.jsonl"
    lines = [object_in(path, line) for line in whole_lines(text_of(path)).splitlines()]
    for place, line in enumerate(lines, 1):
        if type(line.get("round")) is not int or not 0 < line["round"] < 2**32:
            raise ChainImportError(f"{path} is damaged: line {place} names no round")
    return lines


def whole_lines(text: str) -> str:
    """Return a text up to the end of its last whole line."""
    return text[: text.rfind("\n") + 1]


def pin_of(path: Path) -> ChainHead:
    """Return the head of the chain that a run's folder keeps: that of summary.json, or of chain/head.json before it."""
    if (path / "summary.json").exists():
        return ChainHead.from_json(read_json(path / "summary.json").get("chain", {}))
    return read_head(path / "chain")


def newest_run(parent: Path = DEFAULT_PARENT) -> tuple[Path, str | None]:
    """Return the last started run with a finished round, else the last of all; and a note on the choice.

    No run at all raises `InvalidInputError`.
    """
    found = sorted(parent.glob("*/deployment.json"), key=lambda path: path.stat().st_mtime_ns)
    if not found:
        raise InvalidInputError(f"no run in {parent}/; name one with --run DIR, or start one with fbfl run")
    newest = found[-1].parent
    for path in reversed(found):
        if _has_finished_round(path.parent):
            passed_over = f"{newest} has no finished round; this is {path.parent}, the newest run that has one"
            return path.parent, None if path.parent == newest else passed_over
    return newest, f"no run in {parent}/ has a finished round; this is {newest}, the newest"


def _has_finished_round(path: Path) -> bool:
    try:
        return (path / "metrics.jsonl").stat().st_size > 0
    except OSError:
        return False


def text_of(path: Path) -> str:
    """Return the text of a file of a run; raise as `read_json`."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidInputError(f"{path.parent}: not the folder of a run: {path.name}: {error.strerror}") from error
    except ValueError as error:
        raise ChainImportError(f"{path} is damaged: {error}") from error


def object_in(path: Path, text: str) -> dict[str, Any]:
    """Return the JSON object in a text of a file; `ChainImportError` if there is none."""
    try:
        content = strictjson.loads(text)
    except ValueError as error:
        raise ChainImportError(f"{path} is damaged: {error}") from error
    if not isinstance(content, dict):
        raise ChainImportError(f"{path} is damaged: not a JSON object")
    return content
