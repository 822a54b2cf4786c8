import itertools
import subprocess
import sys

import numpy as np
import pytest
from scipy import stats
from scipy.special import ndtri
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower
from statsmodels.stats.proportion import proportion_confint

from loracle.errors import ConfigError
from loracle.evaluation.statistics import (
    bootstrap_interval,
    holm,
    mcnemar,
    metric_intervals,
    paired_bootstrap,
    simultaneous_level,
    smallest_detectable_difference,
    texts_needed,
    wilson_interval,
)


def predict(rng, texts, accuracies, seeds, seed_sds, *, classes=2, own=0.8, chance=0.4):
    """Draw labels and one (seeds, texts) array a method, of known accuracy over all texts and seeds.

    A text has a difficulty shared by all methods, one for each method (`own`) and one for each seed (`chance`);
    a seed shifts its whole run by a normal draw of standard deviation `seed_sd`.
    """
    labels = rng.integers(0, classes, texts)
    shared, methods = rng.standard_normal(texts), []
    for accuracy, count, sd in zip(accuracies, seeds, seed_sds, strict=True):
        ease = ndtri(accuracy) * np.sqrt(1 + own**2 + chance**2 + sd**2) + shared
        ease = ease + own * rng.standard_normal(texts) + sd * rng.standard_normal((count, 1))
        right = ease + chance * rng.standard_normal((count, texts)) > 0
        methods.append(np.where(right, labels, (labels + rng.integers(1, classes, texts)) % classes))
    return labels, methods


def covered(interval, truth):
    return interval.low <= truth <= interval.high


def test_importing_evaluation_loads_no_heavy_package():
    names = ("scipy", "sklearn", "statsmodels", "pandas", "torch")
    code = f"import sys, loracle.evaluation.statistics; print([m for m in {names} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize(("right", "texts"), [(0, 20), (20, 20), (13, 20), (240, 270), (1, 1)])
def test_wilson_agrees_with_statsmodels(right, texts):
    interval = wilson_interval(right, texts)
    assert (interval.low, interval.high) == pytest.approx(proportion_confint(right, texts, method="wilson"), abs=1e-12)
    assert interval.low <= interval.value <= interval.high


def test_wilson_refuses_what_is_no_share():
    with pytest.raises(ValueError, match="not a share"):
        wilson_interval(3, 2)


def test_wilson_covers_the_truth():
    right = np.random.default_rng(0).binomial(300, 0.87, 4000)
    rate = np.mean([covered(wilson_interval(int(count), 300), 0.87) for count in right])
    assert 0.93 <= rate <= 0.97


def test_bootstrap_interval_agrees_with_scipy():
    values = np.random.default_rng(0).exponential(size=80)
    interval = bootstrap_interval(np.mean, values, resamples=999, seed=4)
    expected = stats.bootstrap((values,), np.mean, n_resamples=999, method="percentile", rng=np.random.default_rng(4))
    assert (interval.low, interval.high) == pytest.approx(tuple(expected.confidence_interval))
    assert interval.value == pytest.approx(values.mean())


def test_bootstrap_interval_draws_rows_of_all_arrays_together():
    values = np.random.default_rng(0).standard_normal(50)
    interval = bootstrap_interval(lambda a, b: float(np.abs(a - b).max()), values, values)
    assert (interval.low, interval.high) == (0, 0)


def test_bootstrap_interval_covers_the_truth():
    rng = np.random.default_rng(1)
    hits = [
        covered(bootstrap_interval(np.mean, rng.standard_normal(100), resamples=300, seed=draw), 0)
        for draw in range(600)
    ]
    assert 0.93 <= np.mean(hits) <= 0.97


def test_bootstrap_interval_refuses_a_statistic_without_a_value():
    with pytest.raises(ValueError, match="finite"):
        bootstrap_interval(lambda rows: float(np.log(max(rows.sum() - 2, 0) or np.nan)), np.array([0.0, 1.0, 2.0]))


def test_mcnemar_agrees_with_statsmodels_and_scipy():
    rng = np.random.default_rng(2)
    for texts in (10, 60, 500):
        labels, (first, second) = predict(rng, texts, (0.7, 0.85), (1, 1), (0, 0))
        result = mcnemar(labels, first[0], second[0])
        table = [[0, result.only_first], [result.only_second, 0]]
        assert result.p_exact == pytest.approx(statsmodels_mcnemar(table, exact=True).pvalue)
        pmf = stats.binom.pmf(result.only_first, result.only_first + result.only_second, 0.5)
        assert result.p == pytest.approx(result.p_exact - pmf if result.p_exact < 1 else result.p)
    assert result.only_first < result.only_second


def test_mcnemar_of_the_same_predictions_is_one():
    labels = np.array([0, 1, 1])
    result = mcnemar(labels, labels, labels)
    assert (result.p_exact, result.p, result.only_first, result.only_second) == (1, 1, 0, 0)


def test_mcnemar_keeps_its_level():
    rng = np.random.default_rng(3)
    p_values = []
    for _ in range(8000):
        labels, (first, second) = predict(rng, 300, (0.85, 0.85), (1, 1), (0, 0))
        p_values.append(mcnemar(labels, first[0], second[0]).p)
    assert 0.04 <= np.mean(np.array(p_values) < 0.05) <= 0.055


def test_holm_agrees_with_statsmodels():
    for p_values in ([0.01, 0.04, 0.03, 0.5], [0.2], [1.0, 1.0], [0.001, 0.001, 0.0005, 0.9, 0.02]):
        assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1].tolist())
    assert holm([]) == ()


def test_one_seed_each_gives_the_interval_of_bonett_and_price():
    labels, (first, second) = predict(np.random.default_rng(4), 200, (0.8, 0.85), (1, 1), (0, 0))
    counts = mcnemar(labels, first[0], second[0])
    one, two = (counts.only_first + 1) / 202, (counts.only_second + 1) / 202
    half = 1.959964 * np.sqrt((one + two - (one - two) ** 2) / 202)
    found = paired_bootstrap(labels, first, second)
    assert (found.difference.low, found.difference.high) == pytest.approx((one - two - half, one - two + half))
    assert found.difference.value == pytest.approx((counts.only_first - counts.only_second) / 200)
    z = (one - two) / np.sqrt((one + two - (one - two) ** 2) / 202)
    assert found.p == pytest.approx(2 * stats.norm.sf(abs(z)), rel=1e-6)


def test_closed_form_of_accuracy_is_the_limit_of_the_bootstrap():
    labels, (first, second) = predict(np.random.default_rng(5), 200, (0.8, 0.85), (3, 2), (0.3, 0.1))
    exact = paired_bootstrap(labels, first, second)
    drawn = paired_bootstrap(labels, first, second, metric=lambda truth, guess: float(np.mean(truth == guess)))
    assert drawn.difference.low == pytest.approx(exact.difference.low, abs=0.004)
    assert drawn.difference.high == pytest.approx(exact.difference.high, abs=0.004)


def test_p_value_is_the_level_at_which_the_interval_ends_at_zero():
    rng = np.random.default_rng(6)
    for accuracy, metric in itertools.product((0.8, 0.82, 0.86), ("accuracy", "macro_f1")):
        labels, (first, second) = predict(rng, 300, (0.8, accuracy), (3, 3), (0.1, 0.1))
        found = paired_bootstrap(labels, first, second, metric=metric, resamples=300)
        assert (found.p < 0.05) == (not covered(found.difference, 0))


def test_paired_bootstrap_refuses_what_does_not_fit():
    labels = np.zeros(4, dtype=int)
    with pytest.raises(ValueError, match="second"):
        paired_bootstrap(labels, labels[None], labels)
    with pytest.raises(ConfigError, match="macro_f1"):
        paired_bootstrap(labels, labels[None], labels[None], metric="macrof1")


@pytest.mark.parametrize(
    ("seeds", "sds", "least"),
    [
        ((1, 1), (0, 0), 0.93),
        ((3, 3), (0, 0), 0.93),  # seeds differ by the texts alone
        ((3, 1), (0, 0), 0.93),
        ((3, 3), (0.06, 0.06), 0.93),  # seed variance about a third of the text variance
        ((3, 1), (0.08, 0), 0.93),
        ((3, 3), (0.12, 0.12), 0.93),  # about as large
        ((3, 1), (0.15, 0), 0.93),
    ],
)
def test_paired_interval_covers_the_truth_over_texts_and_seeds(seeds, sds, least):
    rng = np.random.default_rng(7)
    hits = []
    for _ in range(2000):
        labels, (first, second) = predict(rng, 400, (0.88, 0.85), seeds, sds)
        hits.append(covered(paired_bootstrap(labels, first, second).difference, 0.03))
    assert least <= np.mean(hits) <= 0.97


def test_ignoring_seeds_would_not_cover():
    """The simulated seed variance matters: the interval of texts alone misses the truth far too often."""
    rng = np.random.default_rng(8)
    hits = []
    for _ in range(500):
        labels, (first, second) = predict(rng, 400, (0.85, 0.85), (1, 1), (0.21, 0.21))
        hits.append(covered(paired_bootstrap(labels, first, second).difference, 0))
    assert np.mean(hits) < 0.88


@pytest.mark.parametrize(("seeds", "sd"), [((1, 1), 0.0), ((3, 3), 0.1)])
def test_paired_interval_of_macro_f1_covers_the_truth(seeds, sd):
    rng = np.random.default_rng(9)
    hits = []
    for draw in range(700):
        labels, (first, second) = predict(rng, 200, (0.8, 0.8), seeds, (sd, sd), classes=4)
        found = paired_bootstrap(labels, first, second, metric="macro_f1", resamples=250, seed=draw)
        hits.append(covered(found.difference, 0))
    assert 0.93 <= np.mean(hits) <= 0.97


def test_intervals_of_all_metrics_cover_the_truth():
    rng = np.random.default_rng(10)

    def draw(texts):
        labels = rng.integers(0, 3, texts)
        scores = rng.standard_normal((texts, 3))
        scores[np.arange(texts), labels] += 1.5
        return labels, (np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True))[None]

    truth = metric_intervals(*draw(400_000), resamples=2)
    found = [metric_intervals(*draw(300), resamples=250, seed=index) for index in range(500)]
    for name in ("accuracy", "macro_f1", "mcc", "log_loss"):
        rate = np.mean([covered(intervals[name], truth[name].value) for intervals in found])
        assert 0.93 <= rate <= 0.97, name


def test_simultaneous_level_is_dunnetts_for_independent_methods():
    found = simultaneous_level(np.eye(4))
    joint = stats.multivariate_normal(mean=np.zeros(3), cov=0.5 + 0.5 * np.eye(3))
    bound = stats.norm.isf(found)
    assert joint.cdf(np.full(3, bound)) == pytest.approx(0.95, abs=0.004)


def test_simultaneous_level_lies_between_bonferroni_and_one_test():
    assert simultaneous_level(np.eye(2)) == pytest.approx(0.05, abs=0.004)
    assert 0.05 / 8 < simultaneous_level(np.eye(9)) < 0.05 / 4
    assert simultaneous_level(np.zeros((3, 3))) == 0.05


def test_smallest_detectable_difference_is_found_in_four_of_five_draws():
    discordance, texts = 0.12, 400
    difference = smallest_detectable_difference(discordance, texts)
    rng, level = np.random.default_rng(11), []
    shares = [(discordance + difference) / 2, (discordance - difference) / 2, 1 - discordance]
    for one, two, _ in rng.multinomial(texts, shares, 2000):
        half = 2 * stats.binom.cdf(min(one, two), one + two, 0.5) - stats.binom.pmf(one, one + two, 0.5)
        level.append(half < 0.05)
    assert 0.76 <= np.mean(level) <= 0.84


def test_texts_needed_agrees_with_statsmodels_for_small_differences():
    expected = TTestPower().solve_power(effect_size=0.01 / np.sqrt(0.12 - 0.01**2), alpha=0.05, power=0.8)
    assert texts_needed(0.12, 0.01) == pytest.approx(expected, rel=0.01)


def test_texts_needed_is_the_inverse_of_what_is_detectable():
    for discordance, texts in ((0.1, 300), (0.0, 50), (0.3, 10_000)):
        difference = smallest_detectable_difference(discordance, texts)
        assert texts_needed(discordance, difference) == pytest.approx(texts, rel=0.01, abs=1)


def test_no_number_of_texts_settles_what_seeds_decide():
    assert texts_needed(0.1, 0.01, seed_variance=0.01**2) is None
    assert texts_needed(0.1, 0.0) is None
    assert texts_needed(0.1, 0.01, seed_variance=0.001**2) > texts_needed(0.1, 0.01)


def test_nothing_is_detectable_on_three_texts():
    assert smallest_detectable_difference(0.5, 3) == 1.0
