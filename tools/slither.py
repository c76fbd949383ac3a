"""Run slither on the contracts, in a venv of its own: ``python tools/slither.py``.

Exit 1 when a finding of medium or high impact is not argued away in contracts/SLITHER.md, or when that file argues
against something that is not found. Needs forge (``npm ci``) to compile, and the package index the first time.
"""

import json
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

VERSION = "0.11.6"
REPOSITORY = Path(__file__).resolve().parents[1]
HOME = REPOSITORY / ".tools" / "slither"
FORGE = REPOSITORY / "node_modules" / ".bin"
ARGUMENTS = REPOSITORY / "contracts" / "SLITHER.md"


def main() -> int:
    """Compare what slither finds with what contracts/SLITHER.md argues; returns the exit status."""
    install()
    found, argued = findings(), arguments()
    for detector, where in sorted(found - argued):
        print(f"{detector} in {where}: fix it, or argue it away in contracts/SLITHER.md", file=sys.stderr)
    for detector, where in sorted(argued - found):
        print(f"{detector} in {where}: contracts/SLITHER.md argues against what is not found", file=sys.stderr)
    if found == argued:
        print(f"{len(found)} findings, all argued away in contracts/SLITHER.md")
    return int(found != argued)


def install() -> None:
    """Slither pins another web3 than fbfl, so it cannot share fbfl's environment."""
    if (HOME / "bin" / "slither").exists():
        return
    venv.create(HOME, with_pip=True, clear=True)
    pip = [str(HOME / "bin" / "python"), "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", f"slither-analyzer=={VERSION}"], check=True)


def environment() -> dict[str, str]:
    """Return the environment for slither's Python."""
    # Slither looks for both as `forge` and `crytic-compile` on the path.
    path = os.pathsep.join([str(FORGE), str(HOME / "bin"), os.environ["PATH"]])
    # It builds without the tests: in the folders of `forge test`, that would then find none.
    apart = {"FOUNDRY_OUT": str(HOME / "forge" / "out"), "FOUNDRY_CACHE_PATH": str(HOME / "forge" / "cache")}
    return {**os.environ, **apart, "PATH": path}


def findings() -> set[tuple[str, str]]:
    """Detector and function of everything of medium or high impact."""
    quiet = ["--exclude-informational", "--exclude-low", "--exclude-optimization"]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [str(HOME / "bin" / "slither"), ".", "--filter-paths", "node_modules|tests", *quiet]
        done = subprocess.run(
            [*command, "--json", str(report)],
            cwd=REPOSITORY,
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        if not report.exists():
            raise SystemExit(f"slither gave no report:\n{done.stderr[-2000:]}")
        content = json.loads(report.read_text())
    if not content["success"]:
        raise SystemExit(f"slither failed: {content['error']}")
    return {(found["check"], place(found["elements"])) for found in content["results"].get("detectors", [])}


def place(elements: list[dict[str, object]]) -> str:
    """The function that a finding is about, as Contract.function."""
    for element in elements:
        if element["type"] == "function":
            parent = element["type_specific_fields"]["parent"]["name"]  # type: ignore[index]
            return f"{parent}.{element['name']}"
    return str(elements[0]["name"])


def arguments() -> set[tuple[str, str]]:
    """Detector and function of every line of the table in contracts/SLITHER.md."""
    rows = [line.split("|") for line in ARGUMENTS.read_text().splitlines() if line.startswith("| ")]
    return {(row[1].strip(), row[2].strip()) for row in rows[1:]}


if __name__ == "__main__":
    sys.exit(main())
