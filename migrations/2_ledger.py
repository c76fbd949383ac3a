"""Step 2: the round ledger on the registry."""

from fbfl.chain.deploy import Deployment


def run(deployment: Deployment) -> None:
    """Deploy the ledger, and let it slash."""
    tasks = deployment.contract("FederatedTasks", deployment.addresses["MECRegistry"])
    deployment.grant("MECRegistry", "SLASHER_ROLE", tasks)
