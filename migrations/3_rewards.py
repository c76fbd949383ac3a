"""Step 3: the reward pool, which also receives what is slashed."""

from fbfl.chain.steps import Deployment


def run(deployment: Deployment) -> None:
    """Deploy the pool and make the registry pay into it."""
    rewards = deployment.contract("RewardPool", deployment.addresses["FederatedTasks"])
    deployment.call("MECRegistry", "setRewards", rewards, unless="RegistryRewardsAlreadySet")


def main() -> None:
    """With Brownie: the steps up to this one."""
    from migrations.with_brownie import run_up_to

    run_up_to(__file__)
