from __future__ import annotations

import math

import pytest

from loracle.evaluation.uncertainty import Interval
from loracle.models.counting import Counts
from loracle.reporting import figures, selection

BLANK = Interval(value=math.nan, low=0.0, high=1.0)


@pytest.mark.parametrize(
    ("write", "value", "text"),
    [
        (figures.seconds, 0.0, "0 ms"),
        (figures.seconds, 59.7, "1 min"),
        (figures.seconds, 3600, "1 h 00 min"),
        (figures.seconds, math.nan, "–"),
        (figures.seconds, math.inf, "∞"),
        (figures.size, 999_700, "1.0 MB"),
        (figures.size, math.nan, "–"),
        (figures.count, 22_713_216, "22,713,216"),
        (figures.probability, math.nan, "–"),
        (figures.probability, 0.05, "0.050"),
        (figures.ratio, 9.6, "10 times"),
        (figures.setting, 1e-3, "1e-3"),
        (figures.setting, 2.5e-5, "2.5e-5"),
        (figures.setting, 100.0, "100"),
        (figures.setting, 0.0, "0"),
    ],
)
def test_figure_is_written_as(write: object, value: float, text: str) -> None:
    assert callable(write)
    assert write(value) == text


def test_zero_has_no_sign() -> None:
    assert figures.metric_difference("accuracy", -0.0001) == "0.0"
    assert figures.metric_difference("accuracy", 0.0001) == "0.0"


def test_what_was_not_measured_is_a_dash() -> None:
    assert figures.metric_interval("accuracy", None) == "–"
    assert figures.metric_interval("accuracy", BLANK) == "–"
    assert figures.difference_interval("accuracy", BLANK) == "–"


def test_parameters_never_hide_the_head() -> None:
    assert figures.parameters(Counts(adapter=147_456, head=592_130, trainable=739_586)) == "147,456 + 592,130"
    assert figures.parameters(Counts()) == "0 + 0"
    assert figures.parameters(Counts(adapter=1, head=2, base=9, trainable=5)) == "1 + 2 + 2 base"


def test_frozen_weights_of_an_adapter_are_not_among_the_trained_ones() -> None:
    assert figures.parameters(Counts(adapter=8, head=2, base=9, trainable=6)) == "4 + 2"
    assert figures.parameters(Counts(head=2)) == "0 + 2"


def test_scale_drops_a_method_only_far_below_the_others() -> None:
    assert selection.lowest_on_scale([0.87, 0.86, 0.82, 0.80]) == 0.80
    assert selection.lowest_on_scale([0.87, 0.86, 0.11]) == 0.86
    assert selection.lowest_on_scale([0.5]) == 0.5
