import pyarrow as pa
import pytest

from loracle.data.columns import choose_columns, choose_text_column
from loracle.errors import DataError

TEXTS = [f"this is the text of row number {row}" for row in range(40)]
KINDS = ["a", "b"] * 20
NUMBERS = [str(row) for row in range(40)]


def head(**columns) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict(columns)


def choose(batch, text=None, label=None):
    columns = choose_columns(batch, "reviews.csv", text, label)
    return columns.text, columns.label, columns.notes


def test_text_and_label_are_taken_without_a_word():
    assert choose(head(id=NUMBERS, text=TEXTS, label=KINDS)) == ("text", "label", ())


def test_known_names_are_found_in_any_case_and_the_guess_is_noted():
    text, label, notes = choose(head(Review_Text=TEXTS, Sentiment=KINDS, id=NUMBERS))
    assert (text, label) == ("Review_Text", "Sentiment")
    assert len(notes) == 2
    assert "'Review_Text'" in notes[0]
    assert "'Sentiment'" in notes[1]


def test_unknown_names_are_guessed_from_what_they_hold():
    assert choose(head(id=NUMBERS, story=TEXTS, shelf=KINDS))[:2] == ("story", "shelf")


def test_whole_numbers_can_be_labels_but_fractions_are_not_guessed():
    batch = head(story=TEXTS, score=[0.5, 1.5] * 20, stars=[1, 2] * 20)
    assert choose(batch)[:2] == ("story", "stars")


def test_exact_names_win_over_other_known_ones():
    assert choose(head(text=TEXTS, review=TEXTS, label=KINDS, category=KINDS))[:2] == ("text", "label")


@pytest.mark.parametrize(
    ("columns", "option"),
    [
        ({"story": TEXTS, "answer": TEXTS, "label": KINDS}, "--text-column"),
        ({"text": TEXTS, "shelf": KINDS, "shop": KINDS}, "--label-column"),
        ({"text": TEXTS, "price": [row / 8 for row in range(40)], "id": NUMBERS}, "--label-column"),
    ],
)
def test_a_guess_with_several_answers_or_none_names_the_columns_and_the_option(columns, option):
    with pytest.raises(DataError) as raised:
        choose(head(**columns))
    assert option in str(raised.value)
    assert all(repr(name) in str(raised.value) for name in columns)


def test_a_column_that_does_not_exist_is_refused_with_the_closest_and_all_others():
    with pytest.raises(DataError, match=r"no column 'labl'; did you mean 'label'\? .*'text', 'label'"):
        choose(head(text=TEXTS, label=KINDS), label="labl")
    with pytest.raises(DataError, match=r"no column 'TEXT'; did you mean 'text'\?"):
        choose(head(text=TEXTS, label=KINDS), text="TEXT")


def test_one_column_cannot_be_both():
    with pytest.raises(DataError, match="must differ"):
        choose(head(text=TEXTS, label=KINDS), text="label", label="label")


def test_a_first_line_of_data_is_not_taken_for_names():
    with pytest.raises(DataError, match=r"first line of reviews\.csv looks like data"):
        choose(head(**{TEXTS[0]: TEXTS[1:], "a": KINDS[1:]}))


def test_the_only_column_is_the_text():
    assert choose_text_column(head(x=["a", "b"]), "new.csv", None)[0] == "x"
