"""The table of classes ends with their means, plain and weighted by test texts."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from loracle.comparison.result import Summary
from loracle.evaluation.metrics import per_class
from loracle.reporting.classes import per_class_table


def test_means_over_classes_are_those_of_scikit_learn() -> None:
    draw = np.random.default_rng(0)
    labels = draw.choice(4, 200, p=[0.6, 0.2, 0.1, 0.1])
    probabilities = np.eye(4)[np.where(draw.random(200) < 0.7, labels, draw.integers(0, 4, 200))]
    entries = tuple({"label": str(index), **row} for index, row in per_class(labels, probabilities).items())
    table = per_class_table(Summary(method="any", seeds=1, per_class=entries))
    assert table is not None
    plain, weighted = table.rows[-2:]
    predicted = probabilities.argmax(axis=1)
    assert plain.cells[3].sort == pytest.approx(f1_score(labels, predicted, average="macro"))
    assert weighted.cells[3].sort == pytest.approx(f1_score(labels, predicted, average="weighted"))
    assert weighted.cells[4].text == "200"
