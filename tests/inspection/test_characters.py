from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from loracle.inspection.characters import CHECKS, list_oddities, mark_characters, mark_words, name_invisible
from loracle.inspection.corpus import Corpus
from loracle.inspection.measuring import Measures

from .conftest import MakeTask

NAMES = [check.name for check in CHECKS]


def found(text: str) -> set[str]:
    marks = int(mark_characters(pa.array([text]))[0])
    return {name for bit, name in enumerate(NAMES) if marks >> bit & 1}


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("It was<br />late", "HTML tags"),
        ("<P>It was late</P>", "HTML tags"),
        ('see <a href="x.html">this</a>', "HTML tags"),
        ("<script>alert(1)</script>", "HTML tags"),
        ("fish &amp; chips", "HTML entities"),
        ("it&#8217;s late", "HTML entities"),
        ("it&#x2019;s late", "HTML entities"),
        ("cafÃ©", "mojibake"),
        ("itâ€™s late", "mojibake"),
        ("itâ\x80\x99s late", "mojibake"),
        ("Â£5 too much", "mojibake"),
        ("thanks ðŸ˜€", "mojibake"),
        ("Ð¿Ñ€Ð¸Ð²ÐµÑ‚", "mojibake"),
        ("ï»¿first", "mojibake"),
        ("lost \ufffd letter", "replacement characters"),
        ("bell\x07", "control characters"),
        ("next\x85line", "control characters"),
        ("\x1b[31mred", "control characters"),
        ("zero\u200bwidth", "invisible characters"),
        ("soft\u00adhyphen", "invisible characters"),
        ("\ufefffirst", "invisible characters"),
        ("joi\u200dned", "invisible characters"),
        ("NOBODY EVER ANSWERS MY LETTERS", "all upper case"),
        ("НИКТО НЕ ОТВЕЧАЕТ НА ПИСЬМА", "all upper case"),
    ],
)
def test_a_check_finds_what_it_is_for(text: str, name: str) -> None:
    assert name in found(text)


@pytest.mark.parametrize(
    "text",
    [
        "if a < b and b > c then",
        "I <3 this; x<y>z",
        "AT&T; fish & chips; R&D",
        "NÃO É SÃO PAULO, fui à praia",
        "Âge d'or, château, Été",
        "a line\nand\ta tab\r\n",
        "\U0001f468\u200d\U0001f469\u200d\U0001f467 family",
        "می\u200cخواهم",
        "OK",
        "USA 2024",
        "12345678901234567890 1234",
        "東京都は日本の首都であり、世界最大の都市の一つです。",
        "Эти слова написаны по-русски",
    ],
)
def test_ordinary_text_is_left_in_peace(text: str) -> None:
    assert found(text) == set()


def test_lengths_far_from_the_middle_are_marked() -> None:
    words = np.array([0, 1, 2, 3, *[20] * 20, 199, 200, 5000], np.int32)
    marks = mark_words(words)
    by_name = {name: np.flatnonzero(marks >> bit & 1).tolist() for bit, name in enumerate(NAMES)}
    assert by_name["no word"] == [0]
    assert by_name["very short"] == [1, 2]
    assert by_name["very long"] == [25, 26]


def test_ten_times_the_median_is_not_long_where_texts_are_short() -> None:
    assert not mark_words(np.array([3, 3, 3, 150], np.int32)).any()


def test_the_place_in_the_text_is_shown_with_its_row(make_task: MakeTask) -> None:
    long = "so " * 100 + "then<br />it came" + " late" * 100
    texts = ["all is well", long]
    corpus = Corpus(make_task([(text, "ab"[place]) for place, text in enumerate(texts)], first_id=40))
    measures = Measures(
        keys=np.zeros(2, np.uint64),
        words=np.array([3, 200], np.int32),
        tokens=np.zeros(2, np.int32),
        marks=mark_characters(pa.array(texts)),
        signatures=np.zeros((2, 64), np.uint32),
    )
    tags = next(oddity for oddity in list_oddities(corpus, measures) if oddity.name == "HTML tags")
    assert tags.texts == 1
    snippet = tags.examples[0]
    assert (snippet.split, snippet.row, snippet.match) == ("train", 41, "<br />")
    assert snippet.before.endswith("so then")
    assert snippet.after.startswith("it came late")
    assert len(snippet.before) + len(snippet.after) < 200


def test_invisible_letters_are_named() -> None:
    assert name_invisible("a\x1bb\u200bc\n") == "a[U+001B]b[U+200B]c\n"
