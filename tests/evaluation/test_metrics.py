import numpy as np
import pytest
import sklearn.metrics as sk

from loracle.evaluation import metrics
from loracle.evaluation.resampling import draw, f1_of, resampled_f1, resampled_measures
from loracle.evaluation.statistics import metric_intervals


@pytest.fixture
def scored():
    rng = np.random.default_rng(0)
    labels = rng.choice(5, 400, p=[0.4, 0.3, 0.2, 0.07, 0.03])
    scores = rng.standard_normal((400, 5))
    scores[np.arange(400), labels] += 1.5
    return labels, np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)


def test_measure_agrees_with_sklearn(scored):
    labels, probabilities = scored
    predicted = probabilities.argmax(axis=1)
    assert metrics.measure(labels, probabilities) == pytest.approx(
        {
            "accuracy": sk.accuracy_score(labels, predicted),
            "macro_f1": sk.f1_score(labels, predicted, average="macro"),
            "mcc": sk.matthews_corrcoef(labels, predicted),
            "log_loss": sk.log_loss(labels, probabilities),
            "ece": metrics.calibration_error(labels, probabilities),
        },
        abs=1e-12,
    )


def test_calibration_error_of_known_bins():
    probabilities = np.array([[0.9, 0.1]] * 10 + [[0.4, 0.6]] * 10)
    labels = np.array([0] * 6 + [1] * 4 + [1] * 8 + [0] * 2)
    assert metrics.calibration_error(labels, probabilities) == pytest.approx(0.5 * 0.3 + 0.5 * 0.2)


def test_calibration_error_vanishes_when_probabilities_are_true():
    rng = np.random.default_rng(1)
    top = rng.uniform(0.5, 1, 200_000)
    labels = (rng.uniform(size=top.size) > top).astype(int)
    assert metrics.calibration_error(labels, np.stack([top, 1 - top], axis=1)) < 0.01


def test_per_class_and_confusion_agree_with_sklearn(scored):
    labels, probabilities = scored
    predicted = probabilities.argmax(axis=1)
    table = metrics.per_class(labels, probabilities)
    expected = sk.precision_recall_fscore_support(labels, predicted, zero_division=0)
    for name, column in zip(("precision", "recall", "f1", "support"), expected, strict=True):
        assert [table[index][name] for index in range(5)] == pytest.approx(column.tolist())
    assert (metrics.confusion(labels, probabilities) == sk.confusion_matrix(labels, predicted)).all()


def test_class_absent_from_labels_does_not_break():
    labels, probabilities = np.array([0, 0, 1, 1]), np.eye(3)[[0, 2, 1, 1]]
    measured = metrics.measure(labels, probabilities)
    assert measured["macro_f1"] == pytest.approx((2 / 3 + 1) / 2)
    assert np.isfinite(list(measured.values())).all()
    assert metrics.per_class(labels, probabilities)[2] == {"precision": 0, "recall": 0, "f1": 0, "support": 0}
    assert metrics.confusion(labels, probabilities).shape == (3, 3)


def test_only_one_class_in_labels_does_not_break():
    measured = metrics.measure(np.zeros(4, dtype=int), np.full((4, 2), 0.5))
    assert measured["mcc"] == 0
    assert measured["log_loss"] == pytest.approx(np.log(2))


def test_float32_probabilities_are_taken_without_a_warning(scored):
    labels, probabilities = scored
    single = metrics.measure(labels, probabilities.astype(np.float32))
    assert single == pytest.approx(metrics.measure(labels, probabilities), abs=1e-6)


@pytest.mark.parametrize(
    ("labels", "probabilities", "message"),
    [
        ([0, 1], [[0.5, 0.5], [np.nan, 1.0]], "NaN"),
        ([0, 1], [[0.5, 0.5]], "must be"),
        ([], np.empty((0, 2)), "n > 0"),
        ([0, 2], [[0.5, 0.5], [0.5, 0.5]], "from 0 to 1"),
        ([0, 1], [[0.5, 0.1], [0.5, 0.5]], "sum to 1"),
    ],
)
def test_bad_input_is_refused(labels, probabilities, message):
    with pytest.raises(ValueError, match=message):
        metrics.measure(np.array(labels, dtype=int), np.array(probabilities))


def test_weights_count_draws_and_do_not_depend_on_luck_of_call():
    first = np.concatenate(list(draw(50, 30, 3)), axis=1)
    assert first.shape == (50, 30)
    assert (first.sum(axis=0) == 50).all()
    assert (first == np.concatenate(list(draw(50, 30, 3)), axis=1)).all()


def test_resampled_metrics_are_those_of_the_repeated_rows(scored):
    labels, probabilities = scored
    drawn = resampled_measures(labels, np.stack([probabilities, probabilities[:, ::-1]]), resamples=4, seed=7)
    (weights,) = draw(400, 4, 7)
    for column, counts in enumerate(weights.T):
        rows = np.repeat(np.arange(400), counts.astype(int))
        for run, matrix in enumerate((probabilities, probabilities[:, ::-1])):
            expected = metrics.measure(labels[rows], matrix[rows])
            del expected["accuracy"]
            found = {name: values[column, run] for name, values in drawn.items()}
            assert found == pytest.approx(expected, abs=1e-9)


def test_vectorised_macro_f1_is_that_of_the_metric(scored):
    labels, probabilities = scored
    predicted = probabilities.argmax(axis=1)[None]
    assert f1_of("macro_f1", labels, predicted)[0] == pytest.approx(metrics.macro_f1(labels, probabilities))
    drawn = resampled_f1("macro_f1", labels, predicted, resamples=500, seed=0)[:, 0]
    assert drawn.mean() == pytest.approx(metrics.macro_f1(labels, probabilities), abs=0.01)


def test_intervals_of_all_metrics_hold_their_values(scored):
    labels, probabilities = scored
    intervals = metric_intervals(labels, np.stack([probabilities, probabilities[:, ::-1]]))
    values = [metrics.measure(labels, run) for run in (probabilities, probabilities[:, ::-1])]
    for name, interval in intervals.items():
        assert interval.value == pytest.approx(np.mean([value[name] for value in values]))
        assert interval.low < interval.value < interval.high


def test_equal_scores_are_told_apart_by_the_loss():
    better, worse = {"accuracy": 0.9, "log_loss": 0.2}, {"accuracy": 0.9, "log_loss": 0.3}
    assert metrics.preference(better, "accuracy") > metrics.preference(worse, "accuracy")


@pytest.fixture
def with_silence(scored):
    """Bare answers of 400 texts, the first 40 without any."""
    labels, probabilities = scored
    answers = np.eye(5)[probabilities.argmax(axis=1)]
    answers[:40] = 0
    return labels, answers


def test_text_without_answer_counts_as_wrong(with_silence):
    labels, answers = with_silence
    right = (answers.argmax(axis=1) == labels) & answers.any(axis=1)
    assert metrics.accuracy(labels, answers) == right.mean()
    predicted = np.where(answers.any(axis=1), answers.argmax(axis=1), 9)
    expected = sk.f1_score(labels, predicted, labels=range(5), average="macro")
    assert metrics.macro_f1(labels, answers) == pytest.approx(expected)
    assert metrics.confusion(labels, answers).sum() == 360


def test_bare_answers_have_no_log_loss_and_no_calibration(with_silence):
    labels, answers = with_silence
    assert set(metrics.measure(labels, answers)) == {"accuracy", "macro_f1", "mcc"}
    intervals = metric_intervals(labels, answers[None], resamples=200)
    assert set(intervals) == {"accuracy", "macro_f1", "mcc"}
    for name, interval in intervals.items():
        assert interval.value == pytest.approx(metrics.measure(labels, answers)[name])
        assert interval.low < interval.value < interval.high


def test_row_that_sums_to_neither_one_nor_zero_is_refused(with_silence):
    labels, answers = with_silence
    answers[3] = [0.5, 0, 0, 0, 0]
    with pytest.raises(ValueError, match="or to 0"):
        metrics.accuracy(labels, answers)
