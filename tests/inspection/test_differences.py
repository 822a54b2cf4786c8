from __future__ import annotations

import random

from loracle.inspection.description import Piece
from loracle.inspection.differences import compare_texts


def joined(pieces: tuple[Piece, ...], *, changed: bool | None = None) -> str:
    return "".join(piece.text for piece in pieces if changed is None or piece.changed is changed)


def test_short_texts_are_shown_whole_and_share_what_is_not_marked() -> None:
    draw = random.Random(4)
    for _ in range(50):
        words = [draw.choice(["late", "never", "answered", "the", "parcel", "again"]) for _ in range(9)]
        left, right = " ".join(words), " ".join(word for word in words if draw.random() > 0.3)
        sides = compare_texts(left, right)
        assert [joined(side) for side in sides] == [left, right]
        assert joined(sides[0], changed=False) == joined(sides[1], changed=False)


def test_the_difference_is_marked_and_no_more() -> None:
    left, right = compare_texts("I paid 12 dollars, twice.", "I paid 13 dollars, twice!")
    assert [piece.text for piece in left if piece.changed] == ["12", "."]
    assert [piece.text for piece in right if piece.changed] == ["13", "!"]


def test_long_shared_stretches_are_left_out() -> None:
    middle = "so it went on " * 200
    left, right = compare_texts(f"{middle}late {middle}", f"{middle}early {middle}")
    assert joined(left, changed=True) == "late"
    assert joined(right, changed=True) == "early"
    assert len(joined(left)) < 200
    assert joined(left).startswith("… ")
    assert joined(left).endswith(" …")
    assert "went on late so it" in joined(left)


def test_a_difference_far_behind_in_a_long_text_is_found() -> None:
    text = "all the same words " * 60_000
    left, right = compare_texts(text + "but one", text + "but two")
    assert (joined(left, changed=True), joined(right, changed=True)) == ("one", "two")


def test_giant_words_and_invisible_letters_do_not_break_the_view() -> None:
    left, right = compare_texts("start\x07 " + "x" * 500_000, "start " + "y" * 500_000)
    assert "[U+0007]" in joined(left, changed=True)
    assert max(len(joined(left)), len(joined(right))) < 300
