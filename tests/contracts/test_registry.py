from collections.abc import Callable

import pytest
from eth_hash.auto import keccak

from tests.contracts.abi import Account, Chain, Contract, deploy_contract, reverts
from tests.contracts.compiled import compiled_for_tests
from tests.contracts.deployment import ADMITTER, LEDGER, MIN_STAKE, SLASHER, UNBONDING, Deployment
from tests.contracts.federation import Federation

UNKNOWN, ACTIVE, LEAVING, EXPELLED = range(4)
URL = "http://server.example:8080"
REASON = b"for a test".ljust(32, b"\0")


@pytest.fixture
def registry(deployment: Deployment) -> Contract:
    return deployment.registry


@pytest.fixture
def task(deployment: Deployment, found: Callable[..., Federation]) -> int:
    """A task; the deployment's owner may slash in its name, and give out seats."""
    federation: Federation = found(0)
    for role in (SLASHER, LEDGER):
        deployment.registry.grantRole(role, deployment.owner.address, by=deployment.owner)
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


def test_stakes_and_penalties_may_be_large(
    registry: Contract, owner: Account, servers: list[Account], chain: Chain, task: int
) -> None:
    """A thousand ether and more are no number of 64 bits."""
    registry.join(URL, by=servers[0], value=1000 * MIN_STAKE)
    registry.addStake(by=servers[0], value=1000 * MIN_STAKE)
    assert registry.server(servers[0].address).stake == 2000 * MIN_STAKE
    for times in (1, 2):
        registry.slash(servers[0].address, 10_000 // (4 * times), REASON, task, by=owner)
    known = registry.server(servers[0].address)
    assert (known.stake, known.held) == (2000 * MIN_STAKE * 3 // 4 * 7 // 8, 2000 * MIN_STAKE * 11 // 32)
    chain.travel(UNBONDING)
    assert registry.burn(servers[0].address, by=owner).named("StakeBurnt")[0]["amount"] == known.held


def test_the_allow_list_admits_without_a_stake(registry: Contract, owner: Account, servers: list[Account]) -> None:
    (admission,) = registry.admit(servers[0].address, True, by=owner).named("AdmissionSet")
    assert admission == {"server": servers[0].address, "admitted": True}
    registry.join(URL, by=servers[0])
    assert registry.server(servers[0].address).stake == 0
    registry.admit(servers[1].address, True, by=owner)
    registry.admit(servers[1].address, False, by=owner)
    with reverts("RegistryNotAdmitted", server=servers[1].address, stake=0, needed=MIN_STAKE):
        registry.join(URL, by=servers[1])


def test_less_than_the_minimum_does_not_admit(registry: Contract, servers: list[Account]) -> None:
    with reverts("RegistryNotAdmitted", server=servers[0].address, stake=MIN_STAKE - 1, needed=MIN_STAKE):
        registry.join(URL, by=servers[0], value=MIN_STAKE - 1)


def test_without_a_minimum_only_the_allow_list_admits(chain: Chain, registry: Contract, owner: Account) -> None:
    closed = deploy_contract(chain, registry.artifact, owner.address, 0, UNBONDING)
    with reverts("RegistryNotAdmitted", server=owner.address, stake=5, needed=0):
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


def test_what_is_slashed_is_held_and_then_burnt(
    deployment: Deployment, registry: Contract, owner: Account, servers: list[Account], task: int
) -> None:
    server, chain = servers[0], deployment.chain
    registry.join(URL, by=server, value=2 * MIN_STAKE)
    receipt = registry.slash(server.address, 2500, REASON, task, by=owner)
    assert receipt.named("ServerSlashed") == [
        {"server": server.address, "task": task, "reason": REASON, "amount": MIN_STAKE // 2, "expelled": False}
    ]
    burns_at = chain.last_time + UNBONDING
    known = registry.server(server.address)
    assert (known.stake, known.held, known.burnsAt) == (3 * MIN_STAKE // 2, MIN_STAKE // 2, burns_at)
    assert registry.isActive(server.address)
    assert deployment.money == (2 * MIN_STAKE, 0)
    chain.travel(burns_at - 1 - chain.now)
    with reverts("RegistryNothingToBurn", server=server.address, held=MIN_STAKE // 2, burnsAt=burns_at):
        registry.burn(server.address, by=servers[1])
    (burnt,) = registry.burn(server.address, by=servers[1]).named("StakeBurnt")
    assert burnt == {"server": server.address, "amount": MIN_STAKE // 2}
    assert deployment.money == (3 * MIN_STAKE // 2, 0)
    assert registry.server(server.address).held == 0
    with reverts("RegistryNothingToBurn", server=server.address, held=0, burnsAt=burns_at):
        registry.burn(server.address, by=servers[1])


def test_who_falls_below_the_minimum_is_expelled_until_it_tops_up(
    registry: Contract, owner: Account, servers: list[Account], chain: Chain, task: int
) -> None:
    server = servers[0]
    registry.join(URL, by=server, value=MIN_STAKE)
    unbonds_at = chain.now + UNBONDING
    (slashed,) = registry.slash(server.address, 1, REASON, task, by=owner).named("ServerSlashed")
    assert slashed["expelled"]
    known, lost = registry.server(server.address), MIN_STAKE // 10_000
    assert (known.status, known.unbondsAt) == (EXPELLED, unbonds_at)
    for call in ("retire", "addStake"):
        with reverts("RegistryWrongStatus", server=server.address, status=EXPELLED):
            getattr(registry, call)(by=server)
    with reverts("RegistryStillBonded", server=server.address, unbondsAt=unbonds_at):
        registry.withdraw(by=server)
    before = chain.snapshot()
    with reverts("RegistryNotAdmitted", server=server.address, stake=MIN_STAKE - 1, needed=MIN_STAKE):
        registry.join(URL, by=server, value=lost - 1)
    registry.join(URL, by=server, value=lost)
    known = registry.server(server.address)
    assert (known.index, known.status, known.stake, known.held) == (0, ACTIVE, MIN_STAKE, lost)
    chain.revert(before)
    chain.travel(UNBONDING)
    assert registry.withdraw(by=server).named("StakeWithdrawn")[0]["amount"] == MIN_STAKE - lost


def test_expulsion_ends_an_admission_by_the_allow_list(
    registry: Contract, owner: Account, servers: list[Account], task: int
) -> None:
    server = servers[0]
    registry.admit(server.address, True, by=owner)
    registry.join(URL, by=server)
    receipt = registry.slash(server.address, 10_000, REASON, task, by=owner)
    assert receipt.named("AdmissionSet") == [{"server": server.address, "admitted": False}]
    with reverts("RegistryNotAdmitted", server=server.address, stake=0, needed=MIN_STAKE):
        registry.join(URL, by=server)
    registry.admit(server.address, True, by=owner)
    registry.join(URL, by=server)
    assert registry.isActive(server.address)


def test_evidence_is_never_refused_for_lack_of_stake(
    registry: Contract, owner: Account, servers: list[Account], chain: Chain, task: int
) -> None:
    server = servers[0].address
    registry.join(URL, by=servers[0], value=MIN_STAKE)
    registry.slash(server, 1, REASON, task, by=owner)
    bonded = registry.server(server).unbondsAt
    chain.travel(10)
    registry.slash(server, 10_000, REASON, task, by=owner)
    known = registry.server(server)
    assert (known.stake, known.held, known.unbondsAt) == (0, MIN_STAKE, bonded)  # the rest is not locked for longer
    (again,) = registry.slash(server, 10_000, REASON, task, by=owner).named("ServerSlashed")
    assert (again["amount"], again["expelled"]) == (0, True)


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


def test_every_seat_locks_the_minimum_stake(
    registry: Contract, owner: Account, servers: list[Account], chain: Chain, task: int
) -> None:
    server = servers[0]
    with reverts("RegistryWrongStatus", server=server.address, status=UNKNOWN):
        registry.takeSeat(server.address, by=owner)
    registry.join(URL, by=server, value=MIN_STAKE)
    registry.takeSeat(server.address, by=owner)
    with reverts("RegistryStakeLocked", server=server.address, stake=MIN_STAKE, needed=2 * MIN_STAKE):
        registry.takeSeat(server.address, by=owner)
    (added,) = registry.addStake(by=server, value=MIN_STAKE).named("StakeAdded")
    assert added == {"server": server.address, "amount": MIN_STAKE}
    registry.takeSeat(server.address, by=owner)
    assert registry.server(server.address).seats == 2
    registry.retire(by=server)
    chain.travel(UNBONDING)
    for seats in (2, 1):
        with reverts("RegistryStillSeated", server=server.address, seats=seats):
            registry.withdraw(by=server)
        registry.leaveSeat(server.address, by=owner)
    # What it did on its last seat may be found out later.
    with reverts("RegistryStillBonded", server=server.address, unbondsAt=chain.last_time + UNBONDING):
        registry.withdraw(by=server)
    chain.travel(UNBONDING)
    assert registry.withdraw(by=server).named("StakeWithdrawn")[0]["amount"] == 2 * MIN_STAKE


def test_who_holds_seats_comes_back_with_the_stake_for_all(
    registry: Contract, owner: Account, servers: list[Account], task: int
) -> None:
    server = servers[0]
    registry.join(URL, by=server, value=2 * MIN_STAKE)
    for _ in range(2):
        registry.takeSeat(server.address, by=owner)
    (slashed,) = registry.slash(server.address, 1000, REASON, task, by=owner).named("ServerSlashed")
    assert slashed["expelled"]  # enough for one seat, and it has two
    left = 2 * MIN_STAKE * 9 // 10
    with reverts("RegistryNotAdmitted", server=server.address, stake=left, needed=2 * MIN_STAKE):
        registry.join(URL, by=server)
    registry.join(URL, by=server, value=2 * MIN_STAKE - left)
    assert registry.isActive(server.address)


def test_the_allow_list_seats_without_a_stake(
    registry: Contract, owner: Account, servers: list[Account], task: int
) -> None:
    registry.admit(servers[0].address, True, by=owner)
    registry.join(URL, by=servers[0])
    for _ in range(300):
        registry.takeSeat(servers[0].address, by=owner)
    assert registry.server(servers[0].address).seats == 300


def test_admitting_and_slashing_need_their_roles(registry: Contract, servers: list[Account]) -> None:
    stranger = servers[5]
    with reverts("AccessControlUnauthorizedAccount", account=stranger.address, neededRole=ADMITTER):
        registry.admit(stranger.address, True, by=stranger)
    with reverts("AccessControlUnauthorizedAccount", account=stranger.address, neededRole=SLASHER):
        registry.slash(servers[0].address, 1, REASON, 1, by=stranger)
    for call in ("takeSeat", "leaveSeat"):
        with reverts("AccessControlUnauthorizedAccount", account=stranger.address, neededRole=LEDGER):
            getattr(registry, call)(servers[0].address, by=stranger)
