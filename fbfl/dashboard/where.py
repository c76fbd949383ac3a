"""A task that pages are about: in the folder of a run, or on a network."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fbfl.runs.folder import StoredRun


@dataclass(frozen=True)
class Where:
    """The folder of a run, or a network with the deployment and the number of the task on it and its payloads."""

    run: str | None = None
    network: str | None = None
    deployment: str | None = None
    task: int | None = None
    store: str | None = None
    """`local` or `ipfs`, of a task on a network."""
    payloads: str | None = None
    plugins: tuple[str, ...] = ()
    """Code that the task may name, see `fbfl.mec.plan.TaskPlan.of`."""

    def open(self) -> "StoredRun":
        """Open the task; raises as `fbfl.runs.folder.open_stored`."""
        from fbfl.runs.folder import StoredRun, open_stored

        if self.run is not None:
            return open_stored(Path(self.run))
        from fbfl.cli.network import ledger_on, task_on
        from fbfl.nodes.processes import STATE
        from fbfl.storage.ipfs import IpfsStore
        from fbfl.storage.local import LocalStore

        assert self.network is not None, "a run or a network"
        ledger = ledger_on(self.network, Path(self.deployment) if self.deployment else None, self.task)
        folder = Path(self.payloads) if self.payloads else STATE / "payloads"
        store = IpfsStore() if self.store == "ipfs" else LocalStore(folder)
        return StoredRun(ledger, store, task_on(ledger, self.task))
