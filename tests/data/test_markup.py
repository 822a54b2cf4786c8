import time

import pytest

from loracle.data.markup import strip_html


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a<br />b<br>c<BR/>d", "a b c d"),
        ("<p>one</p><p>two</p>", " one  two "),
        ("<b>bold</b>ly, <i class='x'>quite</i>", "boldly, quite"),
        ('<a title="a > b" href=x>here</a>', "here"),
        ("<!DOCTYPE html><html><head><title>T &amp; U</title></head>", "   T & U  "),
    ],
)
def test_tags_go_and_breaks_become_blanks(text, expected):
    assert strip_html(text) == expected


def test_entities_are_read_once():
    assert strip_html("Tom &amp; Ann&#39;s &lt;b&gt; &eacute;&#x41; &amp;lt;") == "Tom & Ann's <b> éA &lt;"


@pytest.mark.parametrize(
    "text",
    [
        "a < b and c > d",
        "x<y, 3<4, I <3 you",
        "<XXXX> wrote to <ann@example.com>",
        "cut off at <b",
        "AT&T, Q&A, R&D;",
        "https://example.com/?a=1&copy=2&section=3",
        "&notanentity; &; &#; &#x;",
        "wow <! and <? and </ >",
        "a <!-- that is never closed",
    ],
)
def test_what_only_looks_like_markup_stays(text):
    assert strip_html(text) == text


def test_scripts_styles_and_comments_go_with_their_content():
    text = "<style>p {x: 1}</style>a<script>if (a<b) alert('</p>')</script><!-- <b>no</b> -->b"
    assert strip_html(text) == "ab"


def test_text_after_a_script_tag_that_is_never_closed_stays():
    assert strip_html("put it into a <script> tag") == "put it into a  tag"


@pytest.mark.parametrize("piece", ["<a ", "<!--", "&", "<", "&#1", "<script>", "<b x=' >", "</p>", "<a 'x'"])
def test_a_megabyte_of_broken_markup_takes_seconds_at_most(piece):
    begin = time.perf_counter()
    strip_html(piece * (1_000_000 // len(piece)) + ">")
    assert time.perf_counter() - begin < 20
