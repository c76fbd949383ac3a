"""Every attack on updates against its formula, and that it leaves what it was given alone."""

import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from fbfl.errors import InvalidInputError, VacuousAttackError
from fbfl.learning import aggregation, attacks
from tests.unit.learning.attacked import SIZE, F, N, honest_updates, kinds, poison, samples, send


@pytest.mark.parametrize("name", kinds("update"))
def test_update_attacks_keep_form_and_input_and_follow_their_rng(name: str) -> None:
    seen = {"honest": N - F, "compromised": F, "everybody": N}
    known = honest_updates(m=seen[attacks.resolve(name).traits.knowledge])
    own = honest_updates(9, 1)[0]
    known.flags.writeable = own.flags.writeable = False
    update = send(name, known, own)
    assert update.shape == own.shape
    assert update.dtype == np.float32
    assert np.isfinite(update).all()
    assert (update == send(name, known, own)).all()
    same = (update == send(name, known, own, seed=1)).all()
    assert same != (name in ("model_poisoning", "gaussian_noise", "fang_gaussian", "fang_trim", "fang_trim_partial"))
    with pytest.raises(InvalidInputError, match="poisons updates"):
        attacks.resolve(name).poison_data(*samples(), np.random.default_rng(0))


@pytest.mark.parametrize("name", kinds("update"))
@pytest.mark.parametrize("honest", [0, 1])
@pytest.mark.parametrize("attackers", [1, 2, 3])
def test_with_hardly_an_honest_update_an_attack_is_finite_or_vacuous(name: str, honest: int, attackers: int) -> None:
    rows = honest_updates(m=honest + attackers)
    attack = attacks.resolve(name)
    known = {"honest": rows[attackers:], "compromised": rows[:attackers], "everybody": rows}[attack.traits.knowledge]
    try:
        update = send(name, known, rows[0], num_clients=len(rows), num_byzantine=attackers)
    except VacuousAttackError:
        return
    assert np.isfinite(update).all()


@pytest.mark.parametrize("top", [0.001, 0.05, 0.5, 0.99])
def test_neurotoxin_keeps_to_the_coordinates_that_honest_updates_change_least(top: float) -> None:
    honest, own = honest_updates(), honest_updates(9, 1)[0]
    sent = send("neurotoxin", honest, own, top=top)
    changed = np.abs(honest.astype(np.float64).mean(axis=0))
    left_out = sorted(range(SIZE), key=lambda place: -changed[place])[: max(1, round(top * SIZE))]
    assert np.flatnonzero(sent == 0).tolist() == sorted(left_out)
    assert (np.delete(sent, left_out) == np.delete(own, left_out)).all()
    for wrong in (0.0, 1.0, -0.1):
        with pytest.raises(InvalidInputError, match="top is "):
            send("neurotoxin", honest, own, top=wrong)


@pytest.mark.parametrize("name", kinds("update"))
def test_colluding_attackers_all_send_the_same(name: str) -> None:
    """The marks of attacks promise it, so that one update stands for those of all attackers."""
    attack = attacks.resolve(name)
    known = honest_updates() if attack.traits.knowledge == "honest" else honest_updates(m=F)
    sent = [
        attack.poison_update(
            known, own, np.random.default_rng(place), num_clients=N, num_byzantine=F, attacker=place, round_number=1
        )
        for place, own in enumerate(honest_updates(9, F))
    ]
    assert attack.traits.colluding == all((update == sent[0]).all() for update in sent)


def test_simple_update_attacks() -> None:
    known = honest_updates()
    own = honest_updates(1, 1)[0]
    noise = send("gaussian_noise", known, own, std=0.5)
    assert stats.kstest(noise / 0.5, "norm").pvalue > 0.01
    assert (send("model_poisoning", known, own, std=0.5) == noise).all()
    added = send("gaussian_noise", known, own, std=0.5, mode="add")
    np.testing.assert_allclose(added - own, noise, atol=1e-6)
    np.testing.assert_array_equal(send("sign_flipping", known, own, scale=3.0), -3 * own)
    np.testing.assert_allclose(send("scaling", known, own, factor=7.0), 7 * own, rtol=1e-6)
    np.testing.assert_array_equal(send("same_value", known, own, value=2.5), np.full(SIZE, 2.5, np.float32))
    mean = known.astype(float).mean(axis=0)
    np.testing.assert_allclose(send("ipm", known, own, epsilon=0.2), -0.2 * mean, rtol=1e-5, atol=1e-7)


def test_model_replacement_makes_the_mean_the_attackers() -> None:
    """Honest updates that cancel out, two attackers that want different things: the mean is their mean."""
    honest = np.vstack([honest_updates(0, 4), -honest_updates(0, 4)])
    wanted = honest_updates(5, 2)
    sent = [send("model_replacement", honest, own, num_clients=10, num_byzantine=2) for own in wanted]
    np.testing.assert_allclose(aggregation.fedavg(np.vstack([honest, sent])), wanted.mean(axis=0), atol=1e-6)


def test_ipm_turns_the_mean_round_only_above_its_bound() -> None:
    honest = honest_updates()
    truth = honest.mean(axis=0)
    for epsilon, sign in ((3.0, 1), (5.0, -1)):  # (n - f) / f = 4
        bad = send("ipm", honest, epsilon=epsilon)
        assert np.sign(aggregation.fedavg(np.vstack([honest, [bad] * F])) @ truth) == sign


@pytest.mark.parametrize(("n", "f"), [(50, 12), (25, 7), (20, 4), (11, 3)])
def test_alie_shifts_by_the_papers_z(n: int, f: int) -> None:
    honest = honest_updates(1, n - f)
    s = math.floor(n / 2 + 1) - f
    z = stats.norm.ppf((n - f - s) / (n - f))
    wide = honest.astype(float)
    if z <= 1e-12:
        with pytest.raises(InvalidInputError, match="vacuous"):
            send("alie", honest, num_clients=n, num_byzantine=f)
    else:
        sent = send("alie", honest, num_clients=n, num_byzantine=f)
        np.testing.assert_allclose(sent, wide.mean(axis=0) - z * wide.std(axis=0), rtol=1e-4, atol=1e-6)


def test_alie_is_refused_where_it_is_vacuous() -> None:
    with pytest.raises(InvalidInputError, match=r"attack alie: vacuous at n=10, f=2: z = 0 is not positive"):
        send("alie", honest_updates(0, 8), num_clients=10, num_byzantine=2)
    assert send("alie", honest_updates(0, 8), num_clients=10, num_byzantine=2, z=1.0).shape == (SIZE,)
    with pytest.raises(InvalidInputError, match="majority"):
        send("alie", honest_updates(0, 4), num_clients=10, num_byzantine=6)


@pytest.mark.parametrize("deviation", ["std", "sign", "unit"])
def test_min_max_and_min_sum_go_exactly_to_their_bound(deviation: str) -> None:
    honest = honest_updates(2)
    wide = honest.astype(float)
    between = ((wide[:, None] - wide[None]) ** 2).sum(axis=2)
    for name, largest, measure in (("min_max", between.max(), np.max), ("min_sum", between.sum(1).max(), np.sum)):
        sent = send(name, honest, deviation=deviation).astype(float)
        step = sent - wide.mean(axis=0)
        assert measure(((sent - wide) ** 2).sum(axis=1)) == pytest.approx(largest, rel=1e-4)
        beyond = wide.mean(axis=0) + 1.01 * step
        assert measure(((beyond - wide) ** 2).sum(axis=1)) > largest
    mean = wide.mean(axis=0)
    p = {"std": -wide.std(axis=0), "sign": -np.sign(mean), "unit": -mean}[deviation]
    assert step @ p / np.linalg.norm(step) / np.linalg.norm(p) == pytest.approx(1, abs=1e-4)


def test_mimic_copies_the_client_that_sticks_out_most() -> None:
    honest = honest_updates(3)
    assert any((send("mimic", honest) == row).all() for row in honest)
    honest[6] += 5
    assert (send("mimic", honest) == honest[6]).all()
    assert (send("mimic", honest, victim=2) == honest[2]).all()
    with pytest.raises(InvalidInputError, match="victim is 16"):
        send("mimic", honest, victim=16)


def krums_choice(updates: npt.NDArray[Any]) -> int:
    (chosen,) = aggregation.krum.aggregate(updates, F).selected or ()
    return chosen


def test_fangs_krum_attack_is_picked_and_goes_against_the_honest_direction() -> None:
    honest = honest_updates()
    sent = send("fang_krum", honest)
    everything = np.vstack([[sent] * F, honest])
    assert krums_choice(everything) < F
    assert sent @ honest.mean(axis=0) < 0
    assert len(np.unique(np.abs(sent))) == 1
    alike = honest / np.float32(10) + np.float32(0.03)
    resisted = send("fang_krum", alike)
    assert np.abs(resisted).max() <= 2e-5, "honest clients agree, so Krum resists and the search ends"
    assert krums_choice(np.vstack([[resisted] * F, alike])) >= F
    larger = np.vstack([[2 * sent] * F, honest])
    assert krums_choice(larger) >= F, "lambda is the largest of its halvings"
    with pytest.raises(InvalidInputError, match="n=10, f=4"):
        send("fang_krum", honest[:6], num_clients=10)


def test_fangs_partial_krum_attack_uses_what_the_attackers_trained() -> None:
    honest = (np.random.default_rng(0).normal(size=(16, SIZE)) * 0.01 + 0.03).astype(np.float32)
    sent = send("fang_krum_partial", honest[:F])
    assert (np.sign(sent) == -np.sign(honest[:F].mean(axis=0))).all()
    with pytest.raises(InvalidInputError, match="one update of each of f=4"):
        send("fang_krum_partial", honest)


def test_fangs_trim_attack_lies_just_beyond_the_honest_values_on_the_wrong_side() -> None:
    honest = honest_updates(4)
    sent = send("fang_trim", honest).astype(float)
    mean, top, bottom = honest.astype(float).mean(axis=0), honest.max(axis=0), honest.min(axis=0)
    falling = mean < 0
    high = np.where(top > 0, 2 * top, top / 2)
    low = np.where(bottom > 0, bottom / 2, 2 * bottom)
    slack = 1e-6
    assert (sent[falling] >= top[falling] - slack).all()
    assert (sent[falling] <= high[falling] + slack).all()
    assert (sent[~falling] <= bottom[~falling] + slack).all()
    assert (sent[~falling] >= low[~falling] - slack).all()
    assert falling.any()
    crafted = np.vstack([honest, [send("fang_trim", honest, seed=s) for s in range(F)]])
    moved = aggregation.median(crafted) - aggregation.median(honest)
    assert (moved * np.where(falling, 1, -1) >= 0).all(), "the median moves against the honest direction everywhere"


def test_fangs_partial_trim_attack_is_three_to_four_deviations_off() -> None:
    compromised = honest_updates(5, F)
    sent = send("fang_trim_partial", compromised).astype(float)
    mean, std = compromised.astype(float).mean(axis=0), compromised.astype(float).std(axis=0)
    deviations = (sent - mean) / std * np.where(mean < 0, 1, -1)
    assert deviations.min() >= 3 - 1e-4
    assert deviations.max() <= 4 + 1e-4
    with pytest.raises(InvalidInputError, match="at least 2 attackers"):
        send("fang_trim_partial", compromised[:1], num_byzantine=1)


def test_fang_gaussian_has_the_moments_of_all_updates() -> None:
    everybody = honest_updates(6, N)
    sent = np.array([send("fang_gaussian", everybody, seed=seed) for seed in range(2_000)], np.float64)
    mean, std = everybody.astype(float).mean(axis=0), everybody.astype(float).std(axis=0)
    scores = (sent - mean) / std
    assert stats.kstest(scores.ravel(), "norm").statistic < 0.005
    assert np.abs(scores.mean(axis=0)).max() < 5 / np.sqrt(2_000), "each coordinate has its own mean"
    assert scores.std(axis=0) == pytest.approx(np.ones(SIZE), rel=0.1)


def test_every_attack_is_offered_by_the_package_and_works_on_what_its_parameters_say() -> None:
    for function in attacks.ATTACKS.values():
        assert getattr(attacks, function.__name__) is function
        first, *_ = inspect.signature(function).parameters
        traits = attacks.registry.traits_of(function)
        assert first == ("x" if traits.kind == "data" else traits.knowledge)


def copy_of(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function as a user might have written it."""

    def own(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    vars(own).update(__signature__=inspect.signature(function))
    return own


def test_a_wrapped_attack_of_ours_is_a_users() -> None:
    assert attacks.resolve("mimic").is_ours
    assert attacks.resolve(attacks.inner_product_manipulation).traits.colluding
    assert not attacks.resolve(copy_of(attacks.mimic)).is_ours
    assert not attacks.resolve(copy_of(attacks.mimic)).traits.colluding


def test_a_users_function_is_an_attack_of_the_kind_of_its_parameters() -> None:
    def zero(
        honest: npt.NDArray[Any], own: npt.NDArray[Any], rng: np.random.Generator, *, size: float = 0.0
    ) -> npt.NDArray[Any]:
        return np.full_like(own, size)

    def lonely(
        compromised: npt.NDArray[Any], own: npt.NDArray[Any], rng: np.random.Generator, *, num_byzantine: int
    ) -> npt.NDArray[Any]:
        return own * num_byzantine

    def darken(
        x: npt.NDArray[Any], y: npt.NDArray[Any], rng: np.random.Generator
    ) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        return x // 2, y

    known = honest_updates()
    assert send(zero, known, size=2.0).tolist() == [2.0] * SIZE
    assert attacks.resolve(lonely).traits.knowledge == "compromised"
    assert (send(lonely, known) == known[0] * F).all()
    x, y = samples()
    assert (attacks.resolve(darken).poison_data(x, y, np.random.default_rng(0))[0] == x // 2).all()
    assert attacks.resolve(darken).triggered(x, y) is None
    with pytest.raises(InvalidInputError, match="first parameters must be"):
        attacks.resolve(lambda a, b, rng: a)
    with pytest.raises(InvalidInputError, match="ipm: does not take 'size'; allowed: epsilon"):
        attacks.resolve("ipm", size=1)
    with pytest.raises(InvalidInputError, match="poisons data"):
        send("backdoor", known)
    with pytest.raises(InvalidInputError, match=r"returned an update \[3\] of float32; needed: numbers"):
        send(lambda honest, own, rng: own[:3], known)


@pytest.mark.parametrize("sent", [None, "own", {"update": np.ones(3)}, np.ones(3) * 1j, [[1], [2, 3]], np.ones((1, 3))])
def test_a_users_attack_sends_numbers(sent: Any) -> None:
    with pytest.raises(InvalidInputError, match=r"^attack <lambda> returned an update .*"):
        send(lambda honest, own, rng: sent, np.ones((4, 3), np.float32))


def test_what_float32_cannot_hold_is_sent_as_infinite() -> None:
    assert np.isinf(send(lambda honest, own, rng: [1e300] * 3, np.ones((4, 3), np.float32))).all()


def test_a_users_function_with_a_name_of_ours_is_the_users() -> None:
    def alie(honest: Any, own: Any, rng: np.random.Generator) -> Any:
        return rng.standard_normal(own.size)

    def backdoor(x: Any, y: Any, rng: np.random.Generator) -> Any:
        return x, y

    vars(backdoor).update(triggered=lambda x, y: (x, y, 3))
    assert not attacks.resolve(alie).traits.colluding
    assert attacks.resolve("alie").traits.colluding
    x, y = np.zeros((2, 8, 8), np.float32), np.array([0, 1])
    tested = attacks.resolve(backdoor).triggered(x, y)
    assert tested is not None
    assert tested[2] == 3


def test_messages_name_the_attack() -> None:
    x, y = samples()
    for name, settings in (("backdoor", {"size": 99}), ("data_poisoning", {"std": -1.0}), ("edge_case", {"source": 1})):
        with pytest.raises(InvalidInputError, match=f"^attack {name}: "):
            poison(name, x, y, **settings)
    with pytest.raises(InvalidInputError, match=r"^attack edge_case: source is 42"):
        attacks.resolve("edge_case", source=42).triggered(x, y)
    with pytest.raises(VacuousAttackError, match=r"^attack mimic: "):
        send("mimic", honest_updates(m=0), honest_updates(m=1)[0])
    with pytest.raises(VacuousAttackError, match=r"^attack alie: vacuous"):
        send("alie", honest_updates(0, 8), num_clients=10, num_byzantine=2)
