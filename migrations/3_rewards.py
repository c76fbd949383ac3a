"""Step 3: the reward pool."""

from fbfl.chain.deployment.steps import Deployment


def run(deployment: Deployment) -> None:
    """Deploy the pool."""
    deployment.contract("RewardPool", deployment.addresses["FederatedTasks"])


def main() -> None:
    """With Brownie: the steps up to this one."""
    from migrations.with_brownie import run_up_to

    run_up_to(__file__)
