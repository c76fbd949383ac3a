"""What a round costs on the embedded chain, beside an earlier version's and beside the same training without a chain.

    python -m benchmarks.chain [--old COMMIT] [--python PATH] [--output DIR] [--servers N ...]

Plays rounds with proof of work, with PBFT by transactions and by signatures, and with ethash, with and without liars,
and some on Anvil; each case in a process of its own, those that are compared one after the other. `--old` is checked
out into a Git worktree in DIR and played by `--python` (default: an environment made there of its own
requirements.txt), where it does not take too long. What is measured already, DIR/cases.jsonl, is not measured again:
the command may be stopped at any moment. Prints a table in Markdown, which DIR/chain.md gets, too.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from fbfl.mec.tasks import tolerated

REPOSITORY = Path(__file__).resolve().parents[1]
CASE = Path(__file__).with_name("chain_case.py")
KINDS: dict[str, dict[str, Any]] = {
    "pow": {"consensus": "pow", "signatures": False},
    "pbft": {"consensus": "pbft", "signatures": False},
    "pbft, signatures": {"consensus": "pbft", "signatures": True},
    "ethash": {"consensus": "ethash", "signatures": False},
}
SERVERS = (4, 10, 20, 50, 100, 240)
"""Servers of the cases."""

OLD_SERVERS = {"pow": 100, "pbft": 100, "pbft, signatures": 100, "ethash": 10}
"""Most servers with which the old code plays; with liars 10: it takes minutes for a round otherwise."""

COLUMNS = (
    *("data", "consensus", "servers", "liars", "transactions", "blocks", "cpu s", "wall s"),
    *("execution alone", "payloads alone", "without a chain", "MiB", "old", "old / new"),
)
"""All but the wall time are processor seconds."""

ETHASH_SERVERS = 20
"""Most servers with ethash: a block takes a tenth of a second of hashing, whatever is in it."""


ON_A_NODE = (4, 10)
"""Servers of the cases on Anvil, which takes the transactions of a sweep one by one."""


def main() -> int:
    """Measure what is missing and print the table."""
    parser = argparse.ArgumentParser(prog="chain", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--old", metavar="COMMIT", help="commit to compare with")
    parser.add_argument("--python", metavar="PATH", help="Python that has what the old code needs (default: made)")
    parser.add_argument("--output", type=Path, default=Path("runs/chain"), metavar="DIR", help="default runs/chain")
    parser.add_argument("--servers", type=int, nargs="+", default=SERVERS, metavar="N", help="default: %(default)s")
    options = parser.parse_args()
    folder = options.output.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    old = _old_code(folder, options.old, options.python) if options.old else None
    done = folder / "cases.jsonl"
    known = [json.loads(line) for line in done.read_text().splitlines()] if done.exists() else []
    results = {_key(each["code"], each["case"]): each["result"] for each in known}
    for code, case in cases(options.servers, old is not None):
        if _key(code, case) in results:
            continue
        tree, python = (REPOSITORY, sys.executable) if code == "new" or old is None else old
        print(f"{code}: {case}", file=sys.stderr, flush=True)
        result = play(tree, python, case)
        results[_key(code, case)] = result
        with done.open("a") as file:
            file.write(json.dumps({"code": code, "case": case, "result": result}) + "\n")
    table = "\n".join([*heading(options.old), *rows(results)]) + "\n"
    (folder / "chain.md").write_text(table)
    print(table, end="")
    return 0


def cases(numbers: Sequence[int], with_old: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the cases in the order of measuring: (new or old, settings)."""
    for servers in numbers:
        common = {"dataset": "digits", "servers": servers, "devices": max(20, servers)}
        yield "new", {**common, "alone": True, "rounds": 3}
        for kind, settings in KINDS.items():
            if settings["consensus"] == "ethash" and servers > ETHASH_SERVERS:
                continue
            few = settings["consensus"] == "ethash" or (servers > 100 and not settings["signatures"])
            for liars in (0,) if few else (0, tolerated(servers)):  # who lies makes a view, which takes as long again
                rounds = 9 if settings["consensus"] == "ethash" else 3 if servers <= (20 if liars else 100) else 1
                case = {**common, **settings, "liars": liars, "rounds": rounds}
                yield "new", case
                if with_old and servers <= (OLD_SERVERS[kind] if not liars else 10):
                    yield "old", case
    for servers in ON_A_NODE:
        on_a_node = {"dataset": "digits", "servers": servers, "devices": 20, "network": "anvil", "rounds": 3}
        yield "new", {**on_a_node, **KINDS["pow"], "liars": 0}
    mnist = {"dataset": "mnist", "servers": 10, "devices": 20, "rounds": 3}
    yield "new", {**mnist, "alone": True}
    for settings in KINDS.values():
        if settings["consensus"] != "ethash":
            yield "new", {**mnist, **settings, "liars": 0}
            if with_old:
                yield "old", {**mnist, **settings, "liars": 0}


def play(tree: Path, python: str, case: dict[str, Any]) -> dict[str, Any]:
    """Play a case by the code in a folder."""
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    measured = {} if "alone" in case else {"execution": tree == REPOSITORY}
    command = [python, str(CASE), json.dumps({**case, **measured})]
    answer = subprocess.run(command, cwd=tree, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    result: dict[str, Any] = json.loads(answer.stdout.splitlines()[-1])
    return result


def heading(old: str | None) -> Iterator[str]:
    """Yield what the report says above its table."""
    yield "# A round on the embedded chain"
    yield ""
    compared = f" --old {old}" if old else ""
    yield f"`python -m benchmarks.chain{compared}` at commit {_commit()}."
    yield ""
    yield (
        f"{platform.machine()}, {os.cpu_count()} cores. "
        "Medians of three rounds after the first (nine with ethash, where the luck of hashes decides; one with more "
        "than 100 servers, or 20 if some lie) of one process that plays all servers. All but the wall time are "
        "processor seconds: of the round; of executing its blocks again by py-evm as it comes, and nothing else; of "
        "hashing and decoding its updates once, and nothing else; of the same training and aggregation without a "
        "chain" + (f"; of the round with the code of commit {old}." if old else ".")
    )
    yield ""


def rows(results: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Yield the lines of the table."""
    yield "| " + " | ".join(COLUMNS) + " |"
    yield "|---|---|" + "--:|" * (len(COLUMNS) - 2)
    played = {key: json.loads(key) for key in results}
    shown = {key: case for key, (code, case) in played.items() if code == "new" and not case.get("alone")}
    for key, case in sorted(shown.items(), key=lambda each: _place(each[1])):
        result = results[key]
        alone = {"dataset": case["dataset"], "servers": case["servers"], "devices": case["devices"]}
        plain = results.get(_key("new", {**alone, "alone": True, "rounds": 3}))
        old = results.get(_key("old", case))
        kind = case["consensus"] + (", signatures" if case["signatures"] else "")
        kind += f", on {case['network']}" if "network" in case else ""
        cells = [
            *(case["dataset"], kind, case["servers"], case["liars"]),
            *(f"{result['transactions']:.0f}", f"{result['blocks']:.0f}"),
            *(f"{result['cpu']:.2f}", f"{result['seconds']:.2f}"),
            *(f"{result[name]:.2f}" if result.get(name) else "" for name in ("execution_cpu", "payloads_cpu")),
            "" if plain is None else f"{plain['cpu']:.2f}",
            result["mib"],
            "" if old is None else f"{old['cpu']:.2f}",
            "" if old is None else f"{old['cpu'] / result['cpu']:.1f}",
        ]
        yield "| " + " | ".join(map(str, cells)) + " |"


def _place(case: dict[str, Any]) -> tuple[Any, ...]:
    """Return the place of a case in the table."""
    return case["dataset"], "network" in case, case["servers"], case["consensus"], case["signatures"], case["liars"]


def _commit() -> str:
    """Return the commit of this code, with `-dirty` if it was changed since."""
    command = ["git", "-C", str(REPOSITORY), "describe", "--always", "--dirty", "--abbrev=7"]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def _key(code: str, case: dict[str, Any]) -> str:
    return json.dumps([code, case], sort_keys=True)


def _old_code(folder: Path, commit: str, python: str | None) -> tuple[Path, str]:
    """Return a worktree of a commit in the folder, and the Python that plays it."""
    tree = folder / f"old-{commit}"
    if not tree.exists():
        subprocess.run(["git", "-C", str(REPOSITORY), "worktree", "add", "--detach", str(tree), commit], check=True)
    if python is None:
        environment = folder / f"environment-{commit}"
        python = str(environment / "bin" / "python")
        if not (environment / "ready").exists():
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(environment)], check=True)
            requirements = str(tree / "requirements.txt")
            subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", requirements], check=True)
            (environment / "ready").touch()
    return tree, python


if __name__ == "__main__":
    sys.exit(main())
