"""Every attack against its formula, and that it leaves what it was given alone."""

import contextlib
import inspect
import math
import re
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from fbfl.errors import InvalidInputError, VacuousAttackError
from fbfl.learning import aggregation, attacks
from fbfl.learning.adversary import Adversary
from fbfl.learning.metrics import attack_success_rate

N, F, SIZE = 20, 4, 300
REQUIRED = {"targeted_label_flipping": {"source": 3, "target": 5}}


def honest_updates(seed=0, m=N - F):
    return (np.random.default_rng(seed).normal(size=(m, SIZE)) * 0.1 + 0.03).astype(np.float32)


def send(name, known, own=None, seed=0, num_clients=N, num_byzantine=F, **settings):
    own = known[0] if own is None else own
    attack = attacks.resolve(name, **settings)
    return attack.poison_update(
        known, own, np.random.default_rng(seed), num_clients=num_clients, num_byzantine=num_byzantine
    )


def samples(dtype=np.uint8, size=400, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.random((size, 28, 28)) * (200 if dtype == np.uint8 else 0.8)
    return x.astype(dtype), (np.arange(size) % 10).astype(np.uint8)


def poison(name, x, y, seed=0, attacker=0, **settings):
    attack = attacks.resolve(name, **{**REQUIRED.get(name, {}), **settings})
    return attack.poison_data(x, y, np.random.default_rng(seed), num_byzantine=F, attacker=attacker)


def kinds(kind):
    return [n for n in attacks.ATTACKS if attacks.resolve(n, **REQUIRED.get(n, {})).kind == kind]


@pytest.mark.parametrize("name", kinds("update"))
def test_update_attacks_keep_form_and_input_and_follow_their_rng(name):
    known = honest_updates(m={"honest": N - F, "compromised": F, "everybody": N}[attacks.resolve(name).knowledge])
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
def test_with_hardly_an_honest_update_an_attack_is_finite_or_vacuous(name, honest, attackers):
    rows = honest_updates(m=honest + attackers)
    attack = attacks.resolve(name)
    known = {"honest": rows[attackers:], "compromised": rows[:attackers], "everybody": rows}[attack.knowledge]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            update = send(name, known, rows[0], num_clients=len(rows), num_byzantine=attackers)
        except VacuousAttackError:
            return
    assert np.isfinite(update).all()


@pytest.mark.parametrize("name", kinds("update"))
def test_colluding_attackers_all_send_the_same(name):
    """What the marks of attacks promise, so that one update stands for those of all attackers."""
    attack = attacks.resolve(name)
    known = honest_updates() if attack.knowledge == "honest" else honest_updates(m=F)
    sent = [
        attack.poison_update(
            known, own, np.random.default_rng(place), num_clients=N, num_byzantine=F, attacker=place, round_number=1
        )
        for place, own in enumerate(honest_updates(9, F))
    ]
    assert attack.colluding == all((update == sent[0]).all() for update in sent)


@pytest.mark.parametrize("name", kinds("data"))
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_data_attacks_keep_type_range_and_input(name, dtype):
    x, y = samples(dtype)
    x.flags.writeable = y.flags.writeable = False
    poisoned_x, poisoned_y = poison(name, x, y)
    assert poisoned_x.dtype == dtype
    assert poisoned_y.dtype == y.dtype
    assert poisoned_x.shape == x.shape
    assert poisoned_x.min() >= 0
    assert poisoned_x.max() <= (255 if dtype == np.uint8 else 1)
    assert (poisoned_x != x).any() or (poisoned_y != y).any()
    again = poison(name, x, y)
    assert (again[0] == poisoned_x).all()
    assert (again[1] == poisoned_y).all()


@given(
    name=st.sampled_from(kinds("data")),
    shape=st.lists(st.integers(1, 9), min_size=1, max_size=4).map(tuple),
    size=st.integers(0, 6),
    kind=st.sampled_from([np.uint8, np.float32, np.float64]),
    label_kind=st.sampled_from([np.uint8, np.int64]),
    classes=st.integers(1, 300),
    settings=st.fixed_dictionaries(
        {},
        optional={
            "fraction": st.floats(-0.5, 1.5),
            "source": st.integers(-1, 300),
            "target": st.integers(-1, 2**70),
            "num_classes": st.integers(-1, 2**70),
            "size": st.integers(-1, 5),
            "parts": st.integers(-1, 9),
            "std": st.floats(),
        },
    ),
)
def test_a_data_attack_gives_samples_to_train_on_or_says_in_a_line_why_not(
    name, shape, size, kind, label_kind, classes, settings
):
    rng = np.random.default_rng(0)
    x = (rng.random((size, *shape)) * 200 - (0 if kind == np.uint8 else 100)).astype(kind)
    y = rng.integers(0, min(classes, np.iinfo(label_kind).max), size).astype(label_kind)
    known = {"num_classes": classes, "sample_range": (-100.0, 100.0)}
    with contextlib.suppress(InvalidInputError):  # anything else escapes and fails the test
        attack = attacks.resolve(name, **{**REQUIRED.get(name, {}), **accepted(name, settings)})
        poisoned_x, poisoned_y = attack.poison_data(x, y, rng, num_byzantine=2, attacker=1, **known)
        assert poisoned_x.dtype == x.dtype
        assert poisoned_x.shape == x.shape
        assert poisoned_y.shape == y.shape
        assert poisoned_y.max(initial=0) < classes
        tested = attack.triggered(x, y, **known)
        assert tested is None or tested[0].shape[1:] == shape


def accepted(name, settings):
    return {key: value for key, value in settings.items() if key in inspect.signature(attacks.ATTACKS[name]).parameters}


def test_simple_update_attacks():
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


def test_model_replacement_makes_the_mean_the_attackers():
    """Honest updates that cancel out, two attackers that want different things: the mean is their mean."""
    honest = np.vstack([honest_updates(0, 4), -honest_updates(0, 4)])
    wanted = honest_updates(5, 2)
    sent = [send("model_replacement", honest, own, num_clients=10, num_byzantine=2) for own in wanted]
    np.testing.assert_allclose(aggregation.fedavg(np.vstack([honest, sent])), wanted.mean(axis=0), atol=1e-6)


def test_ipm_turns_the_mean_round_only_above_its_bound():
    honest = honest_updates()
    truth = honest.mean(axis=0)
    for epsilon, sign in ((3.0, 1), (5.0, -1)):  # (n - f) / f = 4
        bad = send("ipm", honest, epsilon=epsilon)
        assert np.sign(aggregation.fedavg(np.vstack([honest, [bad] * F])) @ truth) == sign


@pytest.mark.parametrize(("n", "f"), [(50, 12), (25, 7), (20, 4), (11, 3)])
def test_alie_shifts_by_the_papers_z(n, f):
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


def test_alie_is_refused_where_it_is_vacuous():
    with pytest.raises(InvalidInputError, match=r"attack alie: vacuous at n=10, f=2: z = 0 is not positive"):
        send("alie", honest_updates(0, 8), num_clients=10, num_byzantine=2)
    assert send("alie", honest_updates(0, 8), num_clients=10, num_byzantine=2, z=1.0).shape == (SIZE,)
    with pytest.raises(InvalidInputError, match="majority"):
        send("alie", honest_updates(0, 4), num_clients=10, num_byzantine=6)


@pytest.mark.parametrize("deviation", ["std", "sign", "unit"])
def test_min_max_and_min_sum_go_exactly_to_their_bound(deviation):
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


def test_mimic_copies_the_client_that_sticks_out_most():
    honest = honest_updates(3)
    assert any((send("mimic", honest) == row).all() for row in honest)
    honest[6] += 5
    assert (send("mimic", honest) == honest[6]).all()
    assert (send("mimic", honest, victim=2) == honest[2]).all()
    with pytest.raises(InvalidInputError, match="victim = 16"):
        send("mimic", honest, victim=16)


def test_fangs_krum_attack_is_picked_and_goes_against_the_honest_direction():
    honest = honest_updates()
    sent = send("fang_krum", honest)
    everything = np.vstack([[sent] * F, honest])
    assert aggregation.krum.aggregate(everything, F).selected[0] < F
    assert sent @ honest.mean(axis=0) < 0
    assert len(np.unique(np.abs(sent))) == 1
    alike = honest / np.float32(10) + np.float32(0.03)
    resisted = send("fang_krum", alike)
    assert np.abs(resisted).max() <= 2e-5, "honest clients agree, so Krum resists and the search ends"
    assert aggregation.krum.aggregate(np.vstack([[resisted] * F, alike]), F).selected[0] >= F
    larger = np.vstack([[2 * sent] * F, honest])
    assert aggregation.krum.aggregate(larger, F).selected[0] >= F, "lambda is the largest of its halvings"
    with pytest.raises(InvalidInputError, match="n=10, f=4"):
        send("fang_krum", honest[:6], num_clients=10)


def test_fangs_partial_krum_attack_uses_what_the_attackers_trained():
    honest = (np.random.default_rng(0).normal(size=(16, SIZE)) * 0.01 + 0.03).astype(np.float32)
    sent = send("fang_krum_partial", honest[:F])
    assert (np.sign(sent) == -np.sign(honest[:F].mean(axis=0))).all()
    with pytest.raises(InvalidInputError, match="one update of each of f=4"):
        send("fang_krum_partial", honest)


def test_fangs_trim_attack_lies_just_beyond_the_honest_values_on_the_wrong_side():
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


def test_fangs_partial_trim_attack_is_three_to_four_deviations_off():
    compromised = honest_updates(5, F)
    sent = send("fang_trim_partial", compromised).astype(float)
    mean, std = compromised.astype(float).mean(axis=0), compromised.astype(float).std(axis=0)
    deviations = (sent - mean) / std * np.where(mean < 0, 1, -1)
    assert deviations.min() >= 3 - 1e-4
    assert deviations.max() <= 4 + 1e-4
    with pytest.raises(InvalidInputError, match="at least 2 attackers"):
        send("fang_trim_partial", compromised[:1], num_byzantine=1)


def test_fang_gaussian_has_the_moments_of_all_updates():
    everybody = honest_updates(6, N)
    sent = np.array([send("fang_gaussian", everybody, seed=seed) for seed in range(2_000)], np.float64)
    mean, std = everybody.astype(float).mean(axis=0), everybody.astype(float).std(axis=0)
    scores = (sent - mean) / std
    assert stats.kstest(scores.ravel(), "norm").statistic < 0.005
    assert np.abs(scores.mean(axis=0)).max() < 5 / np.sqrt(2_000), "each coordinate has its own mean"
    assert scores.std(axis=0) == pytest.approx(np.ones(SIZE), rel=0.1)


def test_label_attacks_change_the_labels_they_say():
    x, y = samples()
    flipped = poison("label_flipping", x, y)[1]
    assert (flipped == 9 - y).all()
    half = poison("label_flipping", x, y, fraction=0.5)[1]
    assert (half != y).sum() == 200
    targeted = poison("targeted_label_flipping", x, y)[1]
    assert (targeted[y == 3] == 5).all()
    assert (targeted[y != 3] == y[y != 3]).all()
    random = poison("random_label_flipping", x, y)[1]
    assert (random != y).all()
    assert set(random) == set(range(10))
    assert (poison("label_flipping", x, y % 6, num_classes=6)[1] == 5 - y % 6).all()
    assert (poison("label_flipping", x, y, num_classes=300)[1] == 299 - y.astype(int)).all(), "more than uint8 holds"
    for name in ("label_flipping", "random_label_flipping"):
        with pytest.raises(InvalidInputError, match="num_classes = 5"):
            poison(name, x, y, num_classes=5)
        with pytest.raises(InvalidInputError, match="fraction"):
            poison(name, x, y, fraction=0.0)
    with pytest.raises(InvalidInputError, match="source = target"):
        poison("targeted_label_flipping", x, y, source=1, target=1)


def test_data_poisoning_adds_noise_of_its_strength():
    x = np.full((200, 10, 10), 0.5, np.float32)
    noisy, labels = poison("data_poisoning", x, np.zeros(200, int), std=0.1)
    assert noisy.std() == pytest.approx(0.1, rel=0.02)
    assert (labels == 0).all()
    wide = np.full((200, 10, 10), 20, np.float32)
    noisy = poison("data_poisoning", wide, np.zeros(200, int), std=0.1, sample_range=(-10.0, 30.0))[0]
    assert noisy.std() == pytest.approx(4, rel=0.03), "a share of the range"
    assert noisy.max() == 30
    some = poison("data_poisoning", x, np.zeros(200, int), fraction=0.25)[0]
    assert (some != x).any(axis=(1, 2)).sum() == 50


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_backdoor_stamps_a_square_and_the_target(dtype):
    x, y = samples(dtype)
    top = 255 if dtype == np.uint8 else 1
    poisoned_x, poisoned_y = poison("backdoor", x, y, target=2, fraction=0.5, size=4)
    changed = np.flatnonzero((poisoned_x != x).any(axis=(1, 2)))
    assert len(changed) == 180
    assert (poisoned_y[changed] == 2).all()
    assert (y[changed] != 2).all()
    assert (poisoned_x[changed][:, -4:, -4:] == top).all()
    assert (poisoned_x[:, :-4] == x[:, :-4]).all()
    tested, labels, target = attacks.resolve("backdoor", target=2, size=4).triggered(x, y)
    assert (tested[:, -4:, -4:] == top).all()
    brighter = attacks.resolve("backdoor").triggered(x, y, sample_range=(-2.0, 5.0))[0]
    assert (brighter[:, -3:, -3:] == (255 if dtype == np.uint8 else 5)).all()
    assert (tested[:, :, :-4] == x[:, :, :-4]).all()
    assert (labels == y).all()
    assert attack_success_rate(np.full(400, 2), labels, target) == 1
    with pytest.raises(InvalidInputError, match="does not fit"):
        poison("backdoor", x, y, size=29)


def test_distributed_backdoor_shares_the_trigger_out():
    x, y = np.zeros((100, 28, 28), np.float32), np.ones(100, int)
    parts = []
    for attacker in range(4):
        poisoned = poison("distributed_backdoor", x, y, fraction=1.0, attacker=attacker)[0]
        assert poisoned[0].sum() == 4
        parts.append(poisoned[0])
    whole = attacks.resolve("distributed_backdoor").triggered(x, y)[0]
    assert (np.sum(parts, axis=0) == whole[0]).all(), "the parts are disjoint and make up the trigger of the test"
    assert (poison("distributed_backdoor", x, y, fraction=1.0, attacker=5)[0][0] == parts[1]).all()
    small = attacks.bar_trigger(np.zeros((1, 8, 8), np.float32))
    assert small.sum() == 4


@pytest.mark.parametrize("trigger", [attacks.square_trigger, attacks.bar_trigger])
def test_triggers_are_as_large_wherever_the_channels_are(trigger):
    for side in (7, 8, 29):
        flat, deep = np.zeros((2, side, side + 1), np.float32), np.zeros((2, side, side + 1, 3), np.float32)
        stamped = trigger(flat, sample_range=(0.0, 1.0))
        assert 0 < stamped.sum() < stamped.size / 2
        last = trigger(deep, sample_range=(0.0, 1.0))
        first = trigger(np.moveaxis(deep, 3, 1), sample_range=(0.0, 1.0))
        assert (last == stamped[..., None]).all()
        assert (first == stamped[:, None]).all()
    for shape in ((2, 64), (2, 3, 8, 8, 1)):
        with pytest.raises(InvalidInputError, match="are no pictures"):
            trigger(np.zeros(shape, np.float32))


def test_edge_case_relabels_the_rarest_of_a_class():
    x, y = samples(np.float32)
    x[17] = 1 - x[17]  # y[17] == 7
    x[17, :14] = 1
    poisoned_x, poisoned_y = poison("edge_case", x, y, source=7, target=1, fraction=0.05)
    changed = np.flatnonzero(poisoned_y != y)
    assert len(changed) == 2
    assert 17 in changed
    assert (y[changed] == 7).all()
    assert (poisoned_x == x).all()
    tested, labels, target = attacks.resolve("edge_case", fraction=0.05).triggered(x, y)
    assert (len(tested), set(labels.tolist()), target) == (2, {7}, 1)
    untouched = poison("edge_case", x[y != 7], y[y != 7])[1]
    assert (untouched == y[y != 7]).all()


def test_a_users_function_is_an_attack_of_the_kind_of_its_parameters():
    def zero(honest, own, rng, *, size=0.0):
        return np.full_like(own, size)

    def lonely(compromised, own, rng, *, num_byzantine):
        return own * num_byzantine

    def darken(x, y, rng):
        return x // 2, y

    known = honest_updates()
    assert send(zero, known, size=2.0).tolist() == [2.0] * SIZE
    assert attacks.resolve(lonely).knowledge == "compromised"
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
    with pytest.raises(InvalidInputError, match=r"returned an update \[3\] of float32: needed are numbers"):
        send(lambda honest, own, rng: own[:3], known)


@pytest.mark.parametrize("sent", [None, "own", {"update": np.ones(3)}, np.ones(3) * 1j, [[1], [2, 3]], np.ones((1, 3))])
def test_a_users_attack_sends_numbers(sent):
    with pytest.raises(InvalidInputError, match=r"attack <lambda> returned an update .*"):
        send(lambda honest, own, rng: sent, np.ones((4, 3), np.float32))


def test_what_float32_cannot_hold_is_sent_as_infinite():
    assert np.isinf(send(lambda honest, own, rng: [1e300] * 3, np.ones((4, 3), np.float32))).all()


def test_a_users_function_with_a_name_of_ours_is_the_users():
    def alie(honest, own, rng):
        return rng.standard_normal(own.size)

    def backdoor(x, y, rng):
        return x, y

    backdoor.triggered = lambda x, y: (x, y, 3)
    assert not attacks.resolve(alie).colluding
    assert attacks.resolve("alie").colluding
    x, y = np.zeros((2, 8, 8), np.float32), np.array([0, 1])
    assert attacks.resolve(backdoor).triggered(x, y)[2] == 3


def test_what_a_users_data_attack_returns_is_checked():
    x, y = samples(np.float32, size=4)
    for returned, said in (
        (None, "what it returns is a NoneType"),
        ((x, y / 2), "needed are labels"),
        ((x[:3], y), "3 samples, y 4 labels"),
        ((x * np.nan, y), "NaN or Inf"),
        ((x[:, :5], y), "returns samples float32"),
        ((x, y + 7), "makes the label 10, which nobody has; allowed: 0 to 9"),
    ):
        attack = attacks.resolve(lambda x, y, rng, returned=returned: returned)
        with pytest.raises(InvalidInputError, match=said):
            attack.poison_data(x, y, np.random.default_rng(0), num_classes=10)


def test_what_a_users_triggered_returns_is_checked():
    x, y = samples(np.float32, size=20)
    for returned, said in (
        (None, "what its triggered returns is a NoneType: needed are samples, labels and target"),
        ((x, y), "is a tuple: needed are samples, labels and target"),
        ((x, y / 2, 1), "needed are labels"),
        ((x[:, :5], y, 1), r"samples \[20, 5, 28\] and the target 1; needed are samples such"),
        ((x, y, "cat"), "the target 'cat'"),
        ((x, y * 0, 0), "all test samples are of the target class 0"),
    ):

        def mine(x, y, rng):
            return x, y

        mine.triggered = lambda x, y, returned=returned: returned
        with pytest.raises(InvalidInputError, match=f"attack mine: .*{said}"):
            attacks.resolve(mine).triggered(x, y)


def test_messages_name_the_attack():
    x, y = samples()
    for name, settings in (("backdoor", {"size": 99}), ("data_poisoning", {"std": -1.0}), ("edge_case", {"source": 1})):
        with pytest.raises(InvalidInputError, match=f"^attack {name}: "):
            poison(name, x, y, **settings)
    with pytest.raises(InvalidInputError, match=r"^attack edge_case: source = 42"):
        attacks.resolve("edge_case", source=42).triggered(x, y)
    with pytest.raises(VacuousAttackError, match=r"^attack mimic: "):
        send("mimic", honest_updates(m=0), honest_updates(m=1)[0])
    with pytest.raises(VacuousAttackError, match=r"^attack alie: vacuous"):
        send("alie", honest_updates(0, 8), num_clients=10, num_byzantine=2)


def identity(honest, own, rng):
    return own


def lonely(honest, own, rng, *, num_clients):
    raise VacuousAttackError(f"nothing to do with {num_clients}")


@pytest.mark.parametrize(
    ("attack", "why"),
    [
        (
            attacks.resolve("targeted_label_flipping", source=15, target=1),
            r"\(source=15, target=1\) has no effect: no sam",
        ),
        (attacks.resolve("label_flipping", fraction=0.001), "no sample of the attackers is changed"),
        (attacks.resolve("backdoor", fraction=0.001), "no sample of the attackers is changed"),
        (attacks.resolve("scaling", factor=1.0), "what the attackers send is what they have trained"),
        (attacks.resolve(identity), "identity has no effect: what the attackers send"),
        (attacks.resolve(lonely), "nothing to do with 4"),
        (attacks.resolve("label_flipping"), None),
        (attacks.resolve("same_value"), None),
    ],
)
def test_an_attack_that_changes_nothing_gets_one_line(attack, why):
    adversary = Adversary((attack,), (0, 1), seed=0, num_classes=10, sample_range=(0.0, 1.0))
    assert adversary.warnings == (), "it has not had its turn"
    for client in range(4):
        adversary.poisoned_samples(client, samples(size=40))
    for number in (1, 2):
        adversary.poison_updates(number, range(4), honest_updates(m=4))
    assert len(adversary.warnings) == (why is not None)
    assert all(re.search(why, line) for line in adversary.warnings)


def test_of_several_attacks_each_knows_the_updates_as_trained():
    seen = []

    def spy(compromised, own, rng):
        seen.append((compromised.copy(), own.copy()))
        return own

    adversary = Adversary((attacks.resolve("sign_flipping"), attacks.resolve(spy)), (0, 1), seed=0)
    rows = np.ones((4, 3), np.float32)
    adversary.poison_updates(1, range(4), rows)
    for known, own in seen:
        assert (known == 1).all()
        assert (own == -1).all()
    assert rows[:, 0].tolist() == [-1, -1, 1, 1]
