"""The contracts as they are deployed together, on a chain of the tests."""

from dataclasses import dataclass

from eth_hash.auto import keccak

from fbfl.chain.artifacts import load_artifact
from tests.contracts.abi import Account, Chain, Contract, deploy_contract

MIN_STAKE = 10**18
UNBONDING = 1000
SLASHER = keccak(b"SLASHER_ROLE")
ADMITTER = keccak(b"ADMITTER_ROLE")
LEDGER = keccak(b"LEDGER_ROLE")


@dataclass(frozen=True)
class Deployment:
    """One of each contract, wired as the deployment steps wire them."""

    chain: Chain
    owner: Account
    registry: Contract
    tasks: Contract
    rewards: Contract
    pow: Contract
    pbft: Contract
    ethash: Contract

    @property
    def money(self) -> tuple[int, int]:
        """Wei in the registry and in the reward pool."""
        return self.chain.balance(self.registry.address), self.chain.balance(self.rewards.address)


def deploy(chain: Chain, min_stake: int = MIN_STAKE, unbonding: int = UNBONDING) -> Deployment:
    owner = chain.accounts[0]
    registry = deploy_contract(chain, load_artifact("MECRegistry"), owner.address, min_stake, unbonding)
    tasks = deploy_contract(chain, load_artifact("FederatedTasks"), registry.address)
    rewards = deploy_contract(chain, load_artifact("RewardPool"), tasks.address)
    deciders = [
        deploy_contract(chain, load_artifact(name), tasks.address)
        for name in ("PowPuzzle", "PbftCommittee", "EthashElection")
    ]
    registry.grantRole(LEDGER, tasks.address, by=owner)
    for slasher in (tasks, *deciders):
        registry.grantRole(SLASHER, slasher.address, by=owner)
    return Deployment(chain, owner, registry, tasks, rewards, *deciders)
