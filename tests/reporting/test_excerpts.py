from __future__ import annotations

import pytest

from loracle.reporting.excerpts import cut_middle

REVIEW = (
    "I wanted to like it. " + "The plot goes on and on about nothing at all. " * 40 + "Still, the ending won me over."
)


def test_beginning_and_end_of_a_long_text_are_shown_at_whole_words() -> None:
    cut = cut_middle(REVIEW, head=20, tail=40)
    assert cut.head == "I wanted to like it."
    assert cut.tail.endswith("Still, the ending won me over.")
    assert f" {cut.tail}" in REVIEW
    assert len(cut.head) + cut.omitted + len(cut.tail) == len(REVIEW)


def test_a_short_text_is_shown_whole() -> None:
    assert str(cut_middle("Late again.\n\nNobody answers.")) == "Late again. Nobody answers."


@pytest.mark.parametrize("text", ["x" * 5000, "", " ", "日本語" * 900, "a\x00b\u202ec " * 300])
def test_what_is_left_out_is_counted_whatever_the_text(text: str) -> None:
    cut = cut_middle(text)
    line = " ".join(text.replace("\x00", "\ufffd").replace("\u202e", "\ufffd").split())
    assert len(cut.head) + cut.omitted + len(cut.tail) == len(line)
    assert (line.startswith(cut.head), line.endswith(cut.tail)) == (True, True)
    assert len(str(cut)) < 600
