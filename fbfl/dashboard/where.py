"""A task that pages are about: in the folder of a run, or on a network."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fbfl.runs.folder import StoredRun


@dataclass(frozen=True)
class Where:
    """The folder of a run, or a network with the deployment and the number of the task on it and its payloads."""

    run: Path | None = None
    network: str | None = None
    deployment: Path | None = None
    task: int | None = None
    store: str | None = None
    """`local` or `ipfs`, of a task on a network."""
    payloads: Path | None = None
    plugins: tuple[str, ...] = ()
    """Code that the task may name, see `fbfl.mec.plan.TaskPlan.of`."""

    def open(self) -> "StoredRun":
        """Open the task; raises as `fbfl.runs.folder.open_stored`."""
        from fbfl.cli.source import open_source

        return open_source(argparse.Namespace(**vars(self)))
