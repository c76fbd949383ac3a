"""Step 1: the registry of MEC servers, owned by whoever deploys."""

from fbfl.chain.deployment.steps import Deployment

MIN_STAKE = 0
"""Wei; servers on the allow-list need none."""
UNBONDING_TIME = 86_400
"""Seconds from leaving to the stake's return."""


def run(deployment: Deployment) -> None:
    """Deploy the registry."""
    deployment.contract("MECRegistry", deployment.owner, MIN_STAKE, UNBONDING_TIME)


def main() -> None:
    """With Brownie: the steps up to this one."""
    from migrations.with_brownie import run_up_to

    run_up_to(__file__)
