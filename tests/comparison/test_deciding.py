import numpy as np
import pytest
from scipy.special import ndtri
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar

from loracle.comparison.deciding import Candidate, decide
from loracle.errors import ConfigError
from loracle.evaluation.statistics import paired_bootstrap


def candidates(rng, texts, accuracies, seeds, seed_sd=0.0, *, classes=2, own=0.6, chance=0.5):
    """Draw labels and methods m0, m1, ... of known accuracy, each twice as dear as the one before.

    A text has a difficulty shared by all methods, one for each method (`own`) and one for each seed (`chance`);
    a seed shifts its whole run by a normal draw of standard deviation `seed_sd`.
    """
    labels = rng.integers(0, classes, texts)
    shared, methods = rng.standard_normal(texts), []
    for place, (accuracy, count) in enumerate(zip(accuracies, seeds, strict=True)):
        sd = seed_sd if count > 1 else 0.0
        ease = ndtri(accuracy) * np.sqrt(1 + own**2 + chance**2 + sd**2) + shared
        ease = ease + own * rng.standard_normal(texts) + sd * rng.standard_normal((count, 1))
        right = ease + chance * rng.standard_normal((count, texts)) > 0
        wrong = (labels + rng.integers(1, classes, texts)) % classes
        predicted = np.where(right, labels, wrong)
        methods.append(Candidate(method=f"m{place}", predicted=predicted, cost_seconds=2.0**place))
    return labels, methods


def exactly(texts, errors, costs):
    """Methods of one seed that err on the first so many of `texts` texts."""
    labels, made = np.zeros(texts, dtype=int), []
    for (method, count), cost in zip(errors.items(), costs, strict=True):
        predicted = labels.copy()
        predicted[:count] = 1
        made.append(Candidate(method=method, predicted=predicted[None], cost_seconds=cost))
    return labels, made


def share_named_wrongly(draws, texts, accuracies, seeds, margin, **world):
    rng, wrong, named = np.random.default_rng(0), 0, 0
    for _ in range(draws):
        labels, methods = candidates(rng, texts, accuracies, seeds, **world)
        _, verdict = decide(labels, methods, margin=margin)
        if verdict.kind != "undecided":
            named += 1
            wrong += accuracies[int(verdict.method[1:])] < max(accuracies) - margin
    return wrong / draws, named / draws


@pytest.mark.parametrize(
    ("texts", "methods", "seeds", "seed_sd"),
    [
        (1000, 2, 1, 0.0),
        (2000, 5, 1, 0.0),  # the least favourable: all others just over the margin, and no seed to widen
        (2000, 5, 3, 0.0),
        (2000, 5, 3, 0.04),
        (2000, 2, 3, 0.12),
    ],
)
def test_named_method_is_rarely_worse_than_margin(texts, methods, seeds, seed_sd):
    accuracies = [0.8699] * (methods - 1) + [0.89]
    wrong, named = share_named_wrongly(800, texts, accuracies, [seeds] * methods, 0.02, seed_sd=seed_sd)
    assert wrong <= 0.05
    assert named > 0.25


def test_named_method_is_rarely_worse_where_only_the_best_has_seeds():
    wrong, named = share_named_wrongly(800, 1000, [0.8699, 0.8699, 0.89], [1, 1, 3], 0.02, seed_sd=0.1)
    assert wrong <= 0.05
    assert named > 0.25


def test_nine_methods_are_not_nine_chances_to_be_wrong():
    wrong, named = share_named_wrongly(300, 3000, [0.8699] * 8 + [0.89], [1] * 9, 0.02)
    assert wrong <= 0.05
    assert named > 0.5


def test_tiny_test_sets_name_nothing_worse():
    alike = {"own": 0.001, "chance": 0.001}  # the worse one errs where the better does, and on few texts more
    for texts in (20, 100, 300, 500):
        assert share_named_wrongly(500, texts, [0.9499, 0.97], [1, 1], 0.02, **alike)[0] <= 0.05


def test_false_alarms_over_all_pairs_stay_below_six_percent():
    for seeds, sd in (([1] * 5, 0.0), ([3] * 5, 0.08), ([1, 1, 3, 3, 3], 0.08)):
        rng, alarms = np.random.default_rng(1), 0
        for _ in range(400):
            labels, methods = candidates(rng, 500, [0.85] * 5, seeds, sd)
            pairs, _ = decide(labels, methods)
            alarms += min(pair.p_holm for pair in pairs) < 0.05
        assert alarms / 400 <= 0.06


def test_equal_methods_are_settled_by_the_number_of_texts_it_names():
    rng = np.random.default_rng(2)
    asked = [decide(*candidates(rng, 300, [0.85, 0.85], [1, 1]), margin=0.02)[1] for _ in range(50)]
    needed = int(np.median([verdict.texts_needed for verdict in asked if verdict.texts_needed]))
    verdicts = [decide(*candidates(rng, needed, [0.85, 0.85], [1, 1]), margin=0.02)[1] for _ in range(300)]
    assert 0.7 <= np.mean([verdict.method == "m0" and verdict.kind == "cheapest" for verdict in verdicts]) <= 0.9


def test_cheapest_that_is_not_worse_is_named():
    labels, made = exactly(10_000, {"majority": 6000, "probe": 1500, "lora": 1040, "full": 1000}, [1, 10, 48, 100])
    pairs, verdict = decide(labels, made)
    assert (verdict.kind, verdict.method, verdict.best) == ("cheapest", "lora", "full")
    assert verdict.among == ("lora", "full")
    assert verdict.texts_needed is None
    assert verdict.sentence == (
        "Ship lora: 0.4 points below full [−0.5, −0.3], within the margin of 1.0 point, at 0.48 of its cost."
    )
    assert len(pairs) == 6
    assert (pairs[0].first, pairs[0].second) == ("majority", "probe")
    assert pairs[0].difference.value == pytest.approx(-0.45)


def test_best_is_named_when_the_cheaper_ones_are_worse():
    labels, made = exactly(5000, {"majority": 3000, "lora": 800, "full": 500}, [1, 48, 100])
    verdict = decide(labels, made)[1]
    assert (verdict.kind, verdict.method, verdict.among) == ("cheapest", "full", ("full",))
    assert verdict.sentence == "Ship full: the cheaper lora is 6.0 points below full [−6.7, −5.3], at 0.48 of its cost."


def test_best_that_is_cheap_is_named_beside_the_runner_up():
    labels, made = exactly(5000, {"majority": 3000, "tfidf": 500, "lora": 800}, [1, 10, 1000])
    verdict = decide(labels, made)[1]
    assert verdict.sentence == "Ship tfidf: 6.0 points above lora [+5.3, +6.7], at 1/100 of its cost."


def test_equal_cost_is_a_tie_that_names_the_higher_score():
    labels, made = exactly(10_000, {"probe": 1040, "tfidf": 1020, "full": 1000}, [10, 10.5, 100])
    verdict = decide(labels, made)[1]
    assert (verdict.kind, verdict.method, verdict.among) == ("tie", "tfidf", ("probe", "tfidf"))
    assert verdict.sentence == (
        "Ship tfidf (or probe, at about the same cost): tfidf is 0.2 points below full [−0.3, −0.1]; probe is "
        "0.4 points below full [−0.5, −0.3], within the margin of 1.0 point, at 0.10 of its cost."
    )


def test_small_test_set_cannot_tell():
    rng = np.random.default_rng(3)
    labels, made = candidates(rng, 270, [0.30, 0.85, 0.85, 0.86], [1, 1, 1, 1])
    verdict = decide(labels, made)[1]
    assert (verdict.kind, verdict.method, verdict.among) == ("undecided", "m1", ("m1", "m2", "m3"))
    assert 0.03 < verdict.smallest_detectable_difference < 0.10
    assert verdict.texts_needed > 3000
    assert verdict.sentence.startswith("This test set of 270 texts cannot tell m1, m2 and m3 apart within 1.0 point:")
    assert "test texts would settle it. Cheapest of the three: m1" in verdict.sentence
    assert "m0" not in verdict.sentence


def test_seeds_that_differ_too_much_ask_for_seeds():
    labels, made = candidates(np.random.default_rng(4), 20_000, [0.85, 0.85], [3, 3], 0.3)
    verdict = decide(labels, made)[1]
    assert (verdict.kind, verdict.texts_needed) == ("undecided", None)
    assert "more seeds, not more texts, would settle it" in verdict.sentence


def test_cheaper_method_that_is_still_open_is_said_to_be():
    labels, made = exactly(1000, {"tfidf": 104, "lora": 100}, [1, 10])
    verdict = decide(labels, made, margin=0.005)[1]
    assert (verdict.kind, verdict.method) == ("cheapest", "lora")
    assert verdict.texts_needed > 1000
    assert "Whether the cheaper tfidf is as good is open: about" in verdict.sentence


def test_one_method_alone_is_shipped():
    labels, made = exactly(100, {"lora": 10}, [1])
    pairs, verdict = decide(labels, made)
    assert pairs == ()
    assert (verdict.kind, verdict.method, verdict.smallest_detectable_difference) == ("cheapest", "lora", 0.0)
    assert verdict.sentence == "Ship lora: it is the only method, so there is nothing to compare it with."


def test_identical_predictions_are_equal_on_many_texts_only():
    labels, made = exactly(1000, {"full": 100, "lora": 100}, [100, 48])
    pairs, verdict = decide(labels, made)
    assert (verdict.method, verdict.best, pairs[0].p) == ("lora", "lora", 1.0)
    assert verdict.sentence == "Ship lora: level with full [−0.3, +0.3], at 0.48 of its cost."
    labels, made = exactly(20, {"full": 2, "lora": 2}, [100, 48])
    assert decide(labels, made)[1].kind == "undecided"


def test_margin_of_zero_asks_for_a_better_method():
    labels, made = exactly(1000, {"lora": 100, "full": 100}, [48, 100])
    undecided = decide(labels, made, margin=0)[1]
    assert (undecided.kind, undecided.texts_needed) == ("undecided", None)
    assert "cannot tell lora and full apart: between these it detects" in undecided.sentence
    assert "without a margin no number of test texts settles it" in undecided.sentence
    labels, made = exactly(1000, {"lora": 200, "full": 100}, [48, 100])
    assert decide(labels, made, margin=0)[1].method == "full"


def test_costs_of_zero_read_well():
    labels, made = exactly(1000, {"majority": 100, "lora": 100}, [0, 48])
    assert "for 0 instead of 48 seconds" in decide(labels, made)[1].sentence


def test_pairs_of_one_model_each_are_tested_by_mcnemar():
    labels, made = candidates(np.random.default_rng(5), 300, [0.8, 0.87], [1, 1])
    pairs, _ = decide(labels, made)
    first, second = (c.predicted[0] == labels for c in made)
    table = [[0, (first & ~second).sum()], [(~first & second).sum(), 0]]
    assert 0 < pairs[0].p < statsmodels_mcnemar(table, exact=True).pvalue < 3 * pairs[0].p


def test_pairs_with_seeds_are_tested_over_texts_and_seeds():
    labels, made = candidates(np.random.default_rng(6), 300, [0.8, 0.87], [1, 3], 0.1)
    pairs, _ = decide(labels, made)
    expected = paired_bootstrap(labels, made[0].predicted, made[1].predicted)
    assert (pairs[0].p, pairs[0].difference) == (expected.p, expected.difference)


def test_seeds_without_chance_count_once():
    labels, made = candidates(np.random.default_rng(7), 300, [0.8, 0.87], [1, 1])
    thrice = [
        Candidate(method=c.method, predicted=np.repeat(c.predicted, 3, axis=0), cost_seconds=c.cost_seconds)
        for c in made
    ]
    assert decide(labels, made) == decide(labels, thrice)


def test_macro_f1_decides_where_it_is_asked_to():
    labels = np.array([0] * 900 + [1] * 100)
    rare, common = labels.copy(), labels.copy()
    rare[:60] = 1
    common[900:960] = 0
    made = [
        Candidate(method="common", predicted=common[None], cost_seconds=1.0),
        Candidate(method="rare", predicted=rare[None], cost_seconds=2.0),
    ]
    assert decide(labels, made, margin=0.03)[1].method == "common"
    verdict = decide(labels, made, margin=0.03, metric="macro_f1")[1]
    assert (verdict.method, verdict.metric) == ("rare", "macro_f1")
    assert "points of macro-F1 below rare" in verdict.sentence


def test_order_of_candidates_does_not_change_the_verdict():
    labels, made = candidates(np.random.default_rng(8), 800, [0.6, 0.84, 0.86, 0.85], [1, 3, 3, 1], 0.05)
    forth, back = decide(labels, made)[1], decide(labels, made[::-1])[1]
    assert (forth.kind, forth.method, forth.among, forth.best) == (back.kind, back.method, back.among, back.best)


def test_what_does_not_fit_is_refused():
    labels, made = exactly(50, {"lora": 5, "full": 4}, [1, 2])
    with pytest.raises(ConfigError, match="margin"):
        decide(labels, made, margin=1.5)
    with pytest.raises(ConfigError, match="macro_f1"):
        decide(labels, made, metric="f1_macro")
    with pytest.raises(ValueError, match="must be"):
        decide(labels[:-1], made)
    with pytest.raises(ValueError, match="different names"):
        decide(labels, [made[0], made[0]])
    with pytest.raises(ValueError, match="candidates"):
        decide(labels, [])
