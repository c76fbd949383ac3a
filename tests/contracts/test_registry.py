import pytest
from eth_hash.auto import keccak

from tests.contracts.abi import NOBODY, Account, Chain, Contract, deploy_contract, reverts
from tests.contracts.compiled import compiled_for_tests
from tests.contracts.deployment import ADMITTER, MIN_STAKE, SLASHER, UNBONDING, Deployment
from tests.contracts.federation import Federation

UNKNOWN, ACTIVE, LEAVING, EXPELLED = range(4)
URL = "http://server.example:8080"
REASON = b"for a test".ljust(32, b"\0")


@pytest.fixture
def registry(deployment: Deployment) -> Contract:
    return deployment.registry


@pytest.fixture
def task(deployment: Deployment, found) -> int:
    """A task for slashed stakes to go to."""
    federation: Federation = found(0)
    deployment.registry.grantRole(SLASHER, deployment.owner.address, by=deployment.owner)
    return federation.task


def test_a_stake_admits(registry: Contract, servers: list[Account], chain: Chain) -> None:
    (joined,) = registry.join(URL, by=servers[0], value=MIN_STAKE).named("ServerJoined")
    assert joined == {"server": servers[0].address, "index": 0, "stake": MIN_STAKE, "url": URL}
    registry.join(URL, by=servers[1], value=MIN_STAKE + 1)
    known = registry.server(servers[1].address)
    assert (known.index, known.status, known.stake, known.unbondsAt) == (1, ACTIVE, MIN_STAKE + 1, 0)
    assert known.endpointHash == keccak(URL.encode())
    assert registry.isActive(servers[1].address)
    assert not registry.isActive(servers[2].address)
    assert registry.count() == 2
    assert chain.balance(registry.address) == 2 * MIN_STAKE + 1


def test_the_allow_list_admits_without_a_stake(registry: Contract, owner: Account, servers: list[Account]) -> None:
    (admission,) = registry.admit(servers[0].address, True, by=owner).named("AdmissionSet")
    assert admission == {"server": servers[0].address, "admitted": True}
    registry.join(URL, by=servers[0])
    assert registry.server(servers[0].address).stake == 0
    registry.admit(servers[1].address, True, by=owner)
    registry.admit(servers[1].address, False, by=owner)
    with reverts("RegistryNotAdmitted", server=servers[1].address, stake=0, minStake=MIN_STAKE):
        registry.join(URL, by=servers[1])


def test_less_than_the_minimum_does_not_admit(registry: Contract, servers: list[Account]) -> None:
    with reverts("RegistryNotAdmitted", server=servers[0].address, stake=MIN_STAKE - 1, minStake=MIN_STAKE):
        registry.join(URL, by=servers[0], value=MIN_STAKE - 1)


def test_without_a_minimum_only_the_allow_list_admits(chain: Chain, registry: Contract, owner: Account) -> None:
    closed = deploy_contract(chain, registry.artifact, owner.address, 0, UNBONDING)
    with reverts("RegistryNotAdmitted", server=owner.address, stake=5, minStake=0):
        closed.join(URL, by=owner, value=5)


def test_nobody_joins_twice(registry: Contract, servers: list[Account]) -> None:
    registry.join(URL, by=servers[0], value=MIN_STAKE)
    with reverts("RegistryWrongStatus", server=servers[0].address, status=ACTIVE):
        registry.join(URL, by=servers[0], value=MIN_STAKE)


def test_leaving_unbonds_and_pays_back(registry: Contract, servers: list[Account], chain: Chain) -> None:
    server = servers[0]
    with reverts("RegistryWrongStatus", server=server.address, status=UNKNOWN):
        registry.retire(by=server)
    registry.join(URL, by=server, value=MIN_STAKE)
    with reverts("RegistryWrongStatus", server=server.address, status=ACTIVE):
        registry.withdraw(by=server)
    unbonds_at = chain.now + UNBONDING
    (retired,) = registry.retire(by=server).named("ServerRetired")
    assert retired == {"server": server.address, "unbondsAt": unbonds_at}
    assert not registry.isActive(server.address)
    with reverts("RegistryWrongStatus", server=server.address, status=LEAVING):
        registry.retire(by=server)
    chain.travel(unbonds_at - 1 - chain.now)
    with reverts("RegistryStillBonded", server=server.address, unbondsAt=unbonds_at):
        registry.withdraw(by=server)
    assert chain.now == unbonds_at
    before = chain.balance(registry.address)
    (withdrawn,) = registry.withdraw(by=server).named("StakeWithdrawn")
    assert withdrawn == {"server": server.address, "amount": MIN_STAKE}
    assert chain.balance(registry.address) == before - MIN_STAKE
    assert registry.withdraw(by=server).named("StakeWithdrawn")[0]["amount"] == 0


def test_who_left_can_come_back_with_its_index_and_stake(registry: Contract, servers: list[Account]) -> None:
    for server in servers[:2]:
        registry.join(URL, by=server, value=MIN_STAKE)
    registry.retire(by=servers[0])
    registry.join(URL + "/new", by=servers[0])
    known = registry.server(servers[0].address)
    assert (known.index, known.status, known.stake, known.unbondsAt) == (0, ACTIVE, MIN_STAKE, 0)
    assert known.endpointHash == keccak((URL + "/new").encode())
    assert registry.count() == 2


def test_a_payment_that_fails_leaves_the_stake(chain: Chain, registry: Contract, servers: list[Account]) -> None:
    puppet = deploy_contract(chain, compiled_for_tests("Puppet"))
    puppet.act(registry.address, registry.encode("join", URL), by=servers[0], value=MIN_STAKE)
    puppet.act(registry.address, registry.encode("retire"), by=servers[0])
    puppet.refuseMoney(by=servers[0])
    chain.travel(UNBONDING)
    with reverts("RegistryPaymentFailed", to=puppet.address, amount=MIN_STAKE):
        puppet.act(registry.address, registry.encode("withdraw"), by=servers[0])
    assert registry.server(puppet.address).stake == MIN_STAKE


def test_a_part_of_a_stake_is_slashed_for_the_tasks_rewards(
    deployment: Deployment, registry: Contract, owner: Account, servers: list[Account], task: int
) -> None:
    registry.join(URL, by=servers[0], value=2 * MIN_STAKE)
    receipt = registry.slash(servers[0].address, 2500, REASON, task, by=owner)
    assert receipt.named("ServerSlashed") == [
        {"server": servers[0].address, "task": task, "reason": REASON, "amount": MIN_STAKE // 2, "expelled": False}
    ]
    assert receipt.named("Funded") == [{"task": task, "from": registry.address, "amount": MIN_STAKE // 2}]
    assert registry.isActive(servers[0].address)
    assert deployment.money == (3 * MIN_STAKE // 2, MIN_STAKE // 2)
    assert deployment.rewards.balanceOf(task) == MIN_STAKE // 2


def test_who_falls_below_the_minimum_is_expelled_for_good(
    registry: Contract, owner: Account, servers: list[Account], chain: Chain, task: int
) -> None:
    server = servers[0]
    registry.join(URL, by=server, value=MIN_STAKE)
    unbonds_at = chain.now + UNBONDING
    (slashed,) = registry.slash(server.address, 1, REASON, task, by=owner).named("ServerSlashed")
    assert slashed["expelled"]
    known = registry.server(server.address)
    assert (known.status, known.unbondsAt) == (EXPELLED, unbonds_at)
    with reverts("RegistryWrongStatus", server=server.address, status=EXPELLED):
        registry.join(URL, by=server, value=MIN_STAKE)
    with reverts("RegistryWrongStatus", server=server.address, status=EXPELLED):
        registry.retire(by=server)
    with reverts("RegistryStillBonded", server=server.address, unbondsAt=unbonds_at):
        registry.withdraw(by=server)
    chain.travel(UNBONDING)
    assert registry.withdraw(by=server).named("StakeWithdrawn")[0]["amount"] == MIN_STAKE - MIN_STAKE // 10_000


def test_what_an_expelled_server_has_left_can_still_be_slashed(
    registry: Contract, owner: Account, servers: list[Account], chain: Chain, task: int
) -> None:
    server = servers[0].address
    registry.join(URL, by=servers[0], value=MIN_STAKE)
    registry.slash(server, 1, REASON, task, by=owner)
    bonded = registry.server(server).unbondsAt
    assert registry.isSlashable(server)
    chain.travel(10)
    registry.slash(server, 10_000, REASON, task, by=owner)
    assert registry.server(server).unbondsAt == bonded  # more penalties do not lock it up for longer
    assert not registry.isSlashable(server)
    with reverts("RegistryWrongStatus", server=server, status=EXPELLED):
        registry.slash(server, 10_000, REASON, task, by=owner)


def test_a_leaving_server_can_be_slashed_and_an_unknown_one_not(
    registry: Contract, owner: Account, servers: list[Account], task: int
) -> None:
    with reverts("RegistryWrongStatus", server=servers[0].address, status=UNKNOWN):
        registry.slash(servers[0].address, 1, REASON, task, by=owner)
    registry.join(URL, by=servers[0], value=3 * MIN_STAKE)
    registry.retire(by=servers[0])
    registry.slash(servers[0].address, 5000, REASON, task, by=owner)
    assert registry.server(servers[0].address).status == LEAVING
    registry.slash(servers[0].address, 10_000, REASON, task, by=owner)
    assert registry.server(servers[0].address).status == EXPELLED


def test_without_a_reward_pool_no_stake_is_taken(chain: Chain, registry: Contract, owner: Account) -> None:
    alone = deploy_contract(chain, registry.artifact, owner.address, 1, UNBONDING)
    alone.grantRole(SLASHER, owner.address, by=owner)
    alone.join(URL, by=owner, value=2)
    with reverts("RegistryRewardsNotSet"):
        alone.slash(owner.address, 10_000, REASON, 1, by=owner)
    assert alone.server(owner.address).stake == 2


def test_the_reward_pool_is_set_once_by_the_administrator(
    deployment: Deployment, registry: Contract, owner: Account, servers: list[Account]
) -> None:
    fresh = deploy_contract(deployment.chain, registry.artifact, owner.address, 1, UNBONDING)
    with reverts("AccessControlUnauthorizedAccount", account=servers[0].address, neededRole=bytes(32)):
        fresh.setRewards(deployment.rewards.address, by=servers[0])
    (chosen,) = fresh.setRewards(deployment.rewards.address, by=owner).named("RewardsSet")
    assert chosen == {"rewards": deployment.rewards.address}
    with reverts("RegistryRewardsAlreadySet", rewards=deployment.rewards.address):
        fresh.setRewards(NOBODY, by=owner)


def test_admitting_and_slashing_need_their_roles(registry: Contract, servers: list[Account]) -> None:
    stranger = servers[5]
    with reverts("AccessControlUnauthorizedAccount", account=stranger.address, neededRole=ADMITTER):
        registry.admit(stranger.address, True, by=stranger)
    with reverts("AccessControlUnauthorizedAccount", account=stranger.address, neededRole=SLASHER):
        registry.slash(servers[0].address, 1, REASON, 1, by=stranger)
