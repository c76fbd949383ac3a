"""The steps under Brownie: `brownie run 4_consensus` runs all of them, `brownie run 2_ledger` those up to that one.

Everything is deployed anew at each run, from Brownie's first account. What has to last is deployed by `fbfl deploy`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from brownie import accounts, project, web3

from fbfl.chain.deployment.steps import run_steps


def run_up_to(last: str) -> None:
    """Run the steps up to the file `last` on the network to which Brownie is connected."""
    deployment = BrownieDeployment()
    step = Path(last).resolve()
    run_steps(deployment, step.parent, step)
    for name, address in deployment.addresses.items():
        print(f"{address}  {name}")


class BrownieDeployment:
    """A `fbfl.chain.deployment.steps.Deployment` of what Brownie has compiled."""

    def __init__(self) -> None:
        (self._project,) = project.get_loaded_projects()
        self._account = accounts[0]
        self._contracts: dict[str, Any] = {}

    @property
    def owner(self) -> str:
        """Account that deploys."""
        return self._account.address

    @property
    def addresses(self) -> Mapping[str, str]:
        """The contracts so far, by name."""
        return {name: contract.address for name, contract in self._contracts.items()}

    def contract(self, name: str, *arguments: Any) -> str:
        """Deploy this contract."""
        self._contracts[name] = self._account.deploy(self._project[name], *arguments)
        return self._contracts[name].address

    def call(self, name: str, function: str, *arguments: Any) -> None:
        """Send a transaction to a contract."""
        getattr(self._contracts[name], function)(*arguments, {"from": self._account})

    def grant(self, name: str, role: str, account: str) -> None:
        """Give an account a role of a contract."""
        self.call(name, "grantRole", web3.keccak(text=role), account)

    def elects_miners(self) -> bool:
        """No: what checks seals is not in Brownie's environment."""
        return False
