"""The numbered steps of a deployment, and the interface that they use, under `fbfl deploy` or Brownie.

This module imports no package: Brownie's environment has other versions of them, and lacks most.
"""

import runpy
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from fbfl.errors import ChainError


class Deployment(Protocol):
    """Contracts by name on one network, deployed and called by one account."""

    @property
    def owner(self) -> str:
        """Account that deploys."""

    @property
    def addresses(self) -> Mapping[str, str]:
        """The contracts so far, by name."""

    def contract(self, name: str, *arguments: Any) -> str:
        """Return the address of a contract with these constructor arguments; deploy it if it is not there yet."""

    def call(self, name: str, function: str, *arguments: Any) -> None:
        """Send a transaction to a contract that is deployed."""

    def grant(self, name: str, role: str, account: str) -> None:
        """Give an account a role (`SLASHER_ROLE`) of a contract, if it has not got it."""

    def elects_miners(self) -> bool:
        """Return True if the blocks so far carry valid proofs of work, or a mock of an election is wanted."""


def run_steps(deployment: Deployment, folder: Path, last: Path | None = None) -> None:
    """Run the files NUMBER_NAME.py of a folder in the order of their numbers, up to the file `last` if one is given.

    A folder without any raises `ChainError`, what a step raises comes through.
    """
    steps = sorted(folder.glob("[0-9]*_*.py"), key=lambda step: int(step.name.partition("_")[0]))
    if not steps:
        raise ChainError(f"no deployment steps in {folder}")
    for step in steps:
        runpy.run_path(str(step))["run"](deployment)
        if step == last:
            return
