"""Several labels a text: every figure is scikit-learn's, and thresholds are the best there are."""

import numpy as np
import pytest
import sklearn.metrics as sk

from loracle.evaluation import metrics
from loracle.evaluation.multilabel import choose_label_thresholds, measure_label_sets, predict_label_sets
from loracle.evaluation.resampling import draw, f1_of, resampled_f1, resampled_set_measures
from loracle.evaluation.statistics import mcnemar, metric_intervals, paired_bootstrap
from loracle.evaluation.uncertainty import Runs


@pytest.fixture
def scored():
    rng = np.random.default_rng(0)
    labels = (rng.uniform(size=(300, 4)) < [0.5, 0.3, 0.1, 0.05]).astype(np.uint8)
    scores = 2.0 * labels - 1.5 + rng.standard_normal((300, 4))
    return labels, 1 / (1 + np.exp(-scores))


THRESHOLDS = np.array([0.5, 0.4, 0.3, 0.2])


def test_measure_agrees_with_sklearn(scored):
    labels, probabilities = scored
    predicted = probabilities >= THRESHOLDS
    measured = metrics.measure(labels, probabilities, THRESHOLDS)
    assert {name: measured[name] for name in ("accuracy", "micro_f1", "macro_f1", "log_loss")} == pytest.approx(
        {
            "accuracy": sk.accuracy_score(labels, predicted),
            "micro_f1": sk.f1_score(labels, predicted, average="micro"),
            "macro_f1": sk.f1_score(labels, predicted, average="macro"),
            "log_loss": sk.log_loss(labels.ravel(), probabilities.ravel()),
        },
        abs=1e-12,
    )


def test_measure_without_thresholds_cuts_at_one_half(scored):
    assert metrics.measure(*scored) == metrics.measure(*scored, np.full(4, 0.5))


def test_calibration_error_of_known_bins():
    probabilities = np.array([[0.9, 0.2]] * 10)
    labels = np.array([[1, 0]] * 6 + [[0, 1]] * 4)
    assert metrics.measure(labels, probabilities)["ece"] == pytest.approx(0.5 * 0.3 + 0.5 * 0.2)


def test_label_that_no_text_has_drops_out_of_macro_f1():
    labels = np.array([[1, 0], [1, 0], [0, 0]])
    assert metrics.measure(labels, np.array([[0.9, 0.9], [0.9, 0.1], [0.1, 0.1]]))["macro_f1"] == 1.0


def test_per_label_figures_agree_with_sklearn(scored):
    labels, probabilities = scored
    table = metrics.per_class(labels, probabilities, THRESHOLDS)
    expected = sk.precision_recall_fscore_support(labels, probabilities >= THRESHOLDS, zero_division=0)
    for name, column in zip(("precision", "recall", "f1", "support"), expected, strict=True):
        assert [table[index][name] for index in range(4)] == pytest.approx(column.tolist())
    assert [table[index]["threshold"] for index in range(4)] == THRESHOLDS.tolist()


def test_no_threshold_has_a_higher_f1_than_the_chosen_one(scored):
    labels, probabilities = scored
    chosen = choose_label_thresholds(labels, probabilities)
    for label in range(4):
        best = sk.f1_score(labels[:, label], probabilities[:, label] >= chosen[label])
        tried = [
            sk.f1_score(labels[:, label], probabilities[:, label] >= t) for t in np.unique(probabilities[:, label])
        ]
        assert best == pytest.approx(max(tried))


def test_label_that_validation_lacks_keeps_one_half():
    labels = np.array([[1, 0], [0, 0], [1, 0]])
    assert choose_label_thresholds(labels, np.array([[0.3, 0.9], [0.1, 0.8], [0.4, 0.1]])).tolist() == [
        pytest.approx(0.2),
        0.5,
    ]


def test_of_equal_thresholds_the_nearest_to_one_half_is_taken():
    labels = np.array([[1], [0], [0], [1]])  # F1 is 2/3 for all texts, and for the last alone
    assert choose_label_thresholds(labels, np.array([[0.1], [0.2], [0.3], [0.9]])) == pytest.approx([0.6])


def test_equal_probabilities_are_all_above_their_threshold():
    labels = np.array([[1], [0], [0]])
    chosen = choose_label_thresholds(labels, np.full((3, 1), 0.3))
    assert predict_label_sets(np.full((2, 1), np.float32(0.3)), chosen).tolist() == [[1], [1]]


@pytest.mark.parametrize(
    ("labels", "probabilities", "message"),
    [
        ([[0, 1]], [[0.5, np.nan]], "NaN"),
        ([[0, 1]], [[0.5, 0.5, 0.5]], "must both be"),
        (np.empty((0, 2)), np.empty((0, 2)), "n > 0"),
        ([[0, 2]], [[0.5, 0.5]], "0 or 1"),
        ([[0, 1]], [[0.5, 1.5]], "between 0 and 1"),
    ],
)
def test_bad_input_is_refused(labels, probabilities, message):
    with pytest.raises(ValueError, match=message):
        metrics.measure(np.array(labels, dtype=int), np.array(probabilities))


def test_resampled_metrics_are_those_of_the_repeated_rows(scored):
    labels, probabilities = scored
    runs = np.stack([probabilities, probabilities[:, ::-1]])
    drawn = resampled_set_measures(labels, runs, predict_label_sets(runs), resamples=4, seed=7)
    (weights,) = draw(300, 4, 7)
    for column, counts in enumerate(weights.T):
        rows = np.repeat(np.arange(300), counts.astype(int))
        for run, matrix in enumerate(runs):
            expected = measure_label_sets(labels[rows], matrix[rows], bins=metrics.CALIBRATION_BINS)
            del expected["accuracy"]
            assert {name: values[column, run] for name, values in drawn.items()} == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("metric", ["micro_f1", "macro_f1"])
def test_vectorised_f1_is_that_of_the_metric(scored, metric):
    labels, probabilities = scored
    predicted = predict_label_sets(probabilities)[None]
    assert f1_of(metric, labels, predicted)[0] == pytest.approx(metrics.measure(labels, probabilities)[metric])
    drawn = resampled_f1(metric, labels, predicted, resamples=500, seed=0)[:, 0]
    assert drawn.mean() == pytest.approx(metrics.measure(labels, probabilities)[metric], abs=0.01)


def test_f1_of_one_label_a_text_is_that_of_the_same_labels_as_sets(scored):
    labels = scored[0].argmax(axis=1)
    predicted = scored[1].argmax(axis=1)[None]
    sets, marked = np.eye(4, dtype=np.uint8)[labels], np.eye(4, dtype=np.uint8)[predicted]
    for metric in ("micro_f1", "macro_f1"):
        single, several = Runs.of(labels, predicted, metric), Runs.of(sets, marked, metric)
        assert single.values == pytest.approx(several.values)
        assert single.covariance == pytest.approx(several.covariance)
        assert single.pseudo == pytest.approx(several.pseudo)
    assert Runs.of(sets, marked, "micro_f1").pseudo == pytest.approx(1.0)


def test_intervals_hold_the_mean_over_seeds_with_each_seeds_own_thresholds(scored):
    labels, probabilities = scored
    runs, thresholds = np.stack([probabilities, probabilities[:, ::-1]]), np.stack([THRESHOLDS, THRESHOLDS[::-1]])
    intervals = metric_intervals(labels, runs, thresholds, resamples=300)
    values = [metrics.measure(labels, *pair) for pair in zip(runs, thresholds, strict=True)]
    assert set(intervals) == set(values[0])
    for name, interval in intervals.items():
        assert interval.value == pytest.approx(np.mean([value[name] for value in values]))
        assert interval.low < interval.value < interval.high


def test_bootstrap_interval_of_micro_f1_covers_the_truth():
    def sample(rng, texts):
        labels = (rng.uniform(size=(texts, 3)) < 0.3).astype(np.uint8)
        flips = rng.uniform(size=labels.shape) < 0.15
        return labels, np.where(flips, 1 - labels, labels).astype(np.float64)

    truth = metrics.measure(*sample(np.random.default_rng(1), 400_000))["micro_f1"]
    hits = []
    for seed in range(200):
        labels, probabilities = sample(np.random.default_rng(seed), 200)
        found = metric_intervals(labels, probabilities[None], np.full((1, 3), 0.5), resamples=200)["micro_f1"]
        hits.append(found.low <= truth <= found.high)
    assert 0.90 <= np.mean(hits) <= 0.99


def test_mcnemar_counts_a_text_as_right_where_all_labels_are():
    labels = np.array([[1, 0], [1, 1], [0, 0]])
    first, second = labels.copy(), labels.copy()
    second[1, 0] = 0
    test = mcnemar(labels, first, second)
    assert (test.only_first, test.only_second) == (1, 0)


def test_paired_bootstrap_finds_the_difference_of_micro_f1(scored):
    labels, probabilities = scored
    better, worse = predict_label_sets(probabilities)[None], predict_label_sets(probabilities[:, ::-1])[None]
    paired = paired_bootstrap(labels, better, worse, metric="micro_f1", resamples=500)
    expected = [sk.f1_score(labels, sets[0], average="micro") for sets in (better, worse)]
    assert paired.difference.value == pytest.approx(expected[0] - expected[1])
    assert paired.difference.low > 0
    assert paired.p < 0.01


def test_auto_stands_for_the_metric_of_the_task():
    assert metrics.preference({"accuracy": 0.9, "log_loss": 0.2}, "auto") == (0.9, -0.2)
    assert metrics.preference({"accuracy": 0.9, "micro_f1": 0.7, "log_loss": 0.2}, "auto") == (0.7, -0.2)
