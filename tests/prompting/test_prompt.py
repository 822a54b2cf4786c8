"""What is sent is short, numbered, and cannot be broken by a text."""

import json
import random

import pytest

from loracle.errors import DataError
from loracle.prompting.answers import parse_json, parse_lines
from loracle.prompting.prompt import (
    MARK,
    Example,
    Prompt,
    check_labels,
    cut,
    most_tokens,
    render_answers,
    render_messages,
    render_texts,
    response_format,
    write_instructions,
)

LABELS = ("very good", "bad")


@pytest.mark.parametrize(
    ("keep", "sent"),
    [("last", "6789"), ("first", "0123"), ("both", f"01{MARK}89")],
)
def test_long_text_keeps_the_part_that_is_asked_for(keep: str, sent: str) -> None:
    assert cut("0123456789", keep=keep, characters=4) == sent
    assert cut("0123", keep=keep, characters=4) == "0123"


@pytest.mark.parametrize("keep", ["last", "first", "both"])
def test_as_many_characters_are_kept_as_asked_for(keep: str) -> None:
    for characters in range(1, 12):
        kept = cut("x" * 12, keep=keep, characters=characters).replace(MARK, "")
        assert len(kept) == characters


def test_half_a_character_is_replaced() -> None:
    assert cut("a\ud83d", keep="last", characters=9) == "a?"


def test_instructions_hold_the_label_names_verbatim_and_are_short() -> None:
    instructions = write_instructions("verdict", LABELS)
    assert "\n- very good\n- bad\n" in instructions
    assert '"verdict"' in instructions
    assert len(instructions) < 300


def test_each_text_is_one_line_whatever_it_holds() -> None:
    draw = random.Random(0)
    letters = 'ab"\\{}:1\n\r\t\u2028é😀'
    texts = ["".join(draw.choices(letters, k=30)) for _ in range(50)]
    lines = render_texts(texts).split("\n")
    assert [json.loads(line) for line in lines] == [
        {"number": number, "text": text} for number, text in enumerate(texts, 1)
    ]


def test_examples_are_answered_in_the_format_that_is_asked_for() -> None:
    prompt = Prompt(instructions="Do.", label_names=LABELS, examples=(Example(text="Fine", label="very good"),))
    for structured, parse in ((True, parse_json), (False, parse_lines)):
        roles = [message["role"] for message in render_messages(prompt, ["x"], structured=structured)]
        shown = render_messages(prompt, ["x"], structured=structured)[2]["content"]
        assert roles == ["system", "user", "assistant", "user"]
        assert parse(shown) == [(1, "very good")]


def test_schema_names_every_label_and_allows_nothing_else() -> None:
    schema = response_format(LABELS)["json_schema"]["schema"]
    item = schema["properties"]["answers"]["items"]
    assert item["properties"]["label"]["enum"] == list(LABELS)
    assert schema["additionalProperties"] is item["additionalProperties"] is False
    assert item["required"] == ["number", "label"]


def test_longest_answer_has_room_even_where_each_byte_is_a_token() -> None:
    labels = ["überaus zufriedenstellend", "😀😀😀"]
    for count in (1, 10, 200):
        longest = [max(labels, key=lambda name: len(name.encode()))] * count
        for structured in (True, False):
            assert len(render_answers(longest, structured=structured).encode()) <= most_tokens(labels, count)


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (("good", " "), "must not be empty"),
        (("good", "bug: crash"), "nor hold ':'"),
        (("good", "very\nbad"), "a line break"),
        (("good", "very\u2028bad"), "a line break"),
        (("Good", "good"), "differ in case or blanks alone"),
        (("very bad", " very  bad"), "differ in case or blanks alone"),
    ],
)
def test_labels_that_could_not_be_read_strictly_are_refused(labels: tuple[str, ...], words: str) -> None:
    with pytest.raises(DataError, match=words):
        check_labels(labels)


def test_usual_labels_are_allowed() -> None:
    check_labels(("1", "2", "debt collection", "vehicle loan or lease", "sci.space", "日本語"))
