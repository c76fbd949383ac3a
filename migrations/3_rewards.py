"""Step 3: the reward pool, which also receives what is slashed."""

from fbfl.chain.deploy import Deployment


def run(deployment: Deployment) -> None:
    """Deploy the pool and make the registry pay into it."""
    rewards = deployment.contract("RewardPool", deployment.addresses["FederatedTasks"])
    deployment.call("MECRegistry", "setRewards", rewards, unless="RegistryRewardsAlreadySet")
