"""Step 2: the round ledger on the registry."""

from fbfl.chain.deployment.steps import Deployment


def run(deployment: Deployment) -> None:
    """Deploy the ledger, and let it slash and give out seats."""
    tasks = deployment.contract("FederatedTasks", deployment.addresses["MECRegistry"])
    for role in ("SLASHER_ROLE", "LEDGER_ROLE"):
        deployment.grant("MECRegistry", role, tasks)


def main() -> None:
    """With Brownie: the steps up to this one."""
    from migrations.with_brownie import run_up_to

    run_up_to(__file__)
