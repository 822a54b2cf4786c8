from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from loracle.data.task import Split, Task
from loracle.inspection.describing import describe
from loracle.inspection.description import ClassCount, Description
from loracle.reporting import description as page_module
from loracle.reporting import render_description, terminal_description, write_description
from loracle.reporting.description_pictures import SHOWN_CLASSES, classes_picture

HOSTILE = [
    "<script>alert(1)</script> & <img src=x onerror=alert(2)>",
    "</blockquote></div></main></body></html>",
    "<script>alert(1)</script> & <img src=x onerror=alert(3)>",
    "{{ 7 * 7 }} {% raw %}{# note #}",
    "مرحبا بالعالم هذا نص من اليمين إلى اليسار",
    "\u202eevil override\u202c of the direction",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467 and \U0001f1e9\U0001f1ea",
    "bell\x07 and escape\x1b[31mred\x1b[0m",
    "cafÃ© and itâ€™s",
    "lost \ufffd letter",
    "$x_1^2$ \\frac{a}{b} % & #",
    "]]> <!-- comment --> --max-length 9000",
    "https://example.org/image.png?a=b",
    "!!!",
    "x" * 1_000_000,
    "word " * 200_000 + "one",
    "word " * 200_000 + "two",
]
LABELS = ("<b>bad</b>\n$x$", "שלום", "good")
VOID = {"meta", "br"}


class Reader(HTMLParser):
    """Collects texts and attributes, and what opens without closing."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.faults: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(tag)

    def handle_data(self, data: str) -> None:
        if "script" not in self.open and "style" not in self.open:
            self.text += data


@pytest.fixture(scope="module")
def hostile(tiny_base: Path) -> Description:
    """A description of texts and labels that somebody chose to break the page, each text in train and again in test."""
    splits = {name: _split(name, start) for name, start in (("train", 0), ("validation", 1), ("test", 2))}
    told = {"name": "</title><b>x</b>", "source": "by hand", "text_column": "<i>", "label_column": "l"}
    task = Task(**told, label_names=LABELS, notes=("<script>note</script>",), **splits)
    return describe(task, model=str(tiny_base), max_length=16, near_threshold=0.7)


def _split(name: str, start: int) -> Split:
    import datasets

    texts = [text + " " * place for place, text in enumerate(HOSTILE)]
    labels = [(place + start) % 3 for place in range(len(texts))]
    return Split(name, datasets.Dataset.from_dict({"id": list(range(len(texts))), "text": texts, "label": labels}))


@pytest.fixture(scope="module")
def page(hostile: Description) -> str:
    return render_description(hostile)


def test_page_is_well_formed(page: str) -> None:
    reader = Reader(page)
    assert (reader.open, reader.faults) == ([], [])
    ids = [attrs["id"] for _, attrs in reader.tags if attrs.get("id")]
    assert len(ids) == len(set(ids))


def test_page_is_small_and_asks_no_server(page: str) -> None:
    assert len(page.encode()) < 300_000
    loading = {"link", "img", "iframe", "object", "embed", "base", "form"}
    assert not [tag for tag, attrs in Reader(page).tags if tag in loading or {"src", "href"} & set(attrs) - {"href"}]
    assert not re.search(r"@import|url\((?!#)", page)
    linked = [attrs["href"] or "" for _, attrs in Reader(page).tags if "href" in attrs]
    assert all(link.startswith("#") for link in linked)


def test_page_runs_its_own_script_alone(page: str) -> None:
    reader = Reader(page)
    assert sum(tag == "script" for tag, _ in reader.tags) == 1
    assert not [name for _, attrs in reader.tags for name in attrs if name.startswith("on")]
    policy = next(attrs["content"] for _, attrs in reader.tags if attrs.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none'")


def test_hostile_texts_show_as_text(page: str) -> None:
    text = Reader(page).text
    assert "<script>alert(1)</script> & <img src=x onerror=alert(" in text
    assert "<script>note</script>" in text
    assert "<b>bad</b> $x$" in " ".join(text.split())
    assert "escape[U+001B][31mred" in text
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\u202a-\u202e]", page)


def test_what_to_do_comes_first_and_every_section_follows(page: str, hostile: Description) -> None:
    headings = [Reader(heading).text for heading in re.findall(r"<h[123].*?</h[123]>", page, re.DOTALL)]
    assert headings == [
        *(hostile.findings[0], "Also to look at", "Classes", "Lengths", "In words"),
        *("Duplicates", "Exact", "Near", "Characters", "Notes on the data"),
    ]
    text = Reader(page).text
    assert all(text.index(finding) < text.index("validation", text.index("Classes")) for finding in hostile.findings)


def test_pairs_stand_side_by_side_with_their_difference_marked(page: str) -> None:
    pair = next(part for part in page.split('<div class="pair">') if "in common" in part and "onerror" in part)
    assert len(re.findall(r'<div class="side">', pair)) == 2
    assert sorted(re.findall(r"<mark>(.*?)</mark>", pair)) == ["2", "3"]
    assert "different labels" in pair


def test_every_picture_is_there_for_wide_and_narrow_pages(page: str) -> None:
    assert [tag for tag, _ in Reader(page).tags].count("svg") == 6
    assert "#010101" not in page


def test_options_in_a_finding_are_not_torn_apart(hostile: Description) -> None:
    found = replace(hostile, findings=("12 % are cut: --max-length 256 cuts 1 %, --strip-html <too>.",))
    assert "<code>--max-length 256</code> cuts 1 %, <code>--strip-html</code> &lt;too&gt;." in render_description(found)


def test_data_without_a_finding_say_so(hostile: Description) -> None:
    text = Reader(render_description(replace(hostile, findings=(), oddities=()))).text
    assert "Nothing in this data stands out." in text
    assert "Every text looks like written text." in text


def test_of_many_classes_the_largest_and_the_smallest_are_drawn(hostile: Description) -> None:
    classes = tuple(
        ClassCount(label=f"class {n}", texts={"train": n, "validation": 1, "test": 1}, median_words=1, median_tokens=1)
        for n in range(1, 151)
    )
    picture = classes_picture(replace(hostile, classes=classes), "")
    assert f"… {150 - SHOWN_CLASSES} classes between" in picture.wide
    assert picture.wide.index("class 150") < picture.wide.index("between") < picture.wide.index("class 1<")


def test_captions_state_what_was_found(hostile: Description) -> None:
    assert page_module.classes_finding(hostile) == "The classes are of about one size: 5 to 6 training texts each."
    assert "have more than 16 and are cut there" in page_module.tokens_finding(hostile)
    assert "17 of test in train" in page_module.copies_finding(hostile)


def test_terminal_shows_hostile_texts_as_text(hostile: Description) -> None:
    from rich.console import Console

    console = Console(width=80, highlight=False, markup=False, force_terminal=False)
    with console.capture() as capture:
        console.print(terminal_description(hostile))
    printed = capture.get()
    assert "<b>bad</b> $x$" in printed
    assert "What to do" in printed
    assert "\x1b" not in printed


def test_page_is_written_over_its_own_kind_alone(hostile: Description, tmp_path: Path) -> None:
    from loracle.errors import ConfigError

    write_description(hostile, tmp_path / "new" / "page.html")
    first = write_description(hostile, tmp_path / "new" / "page.html").read_text(encoding="utf-8")
    assert first == render_description(hostile)
    (tmp_path / "other.html").write_text("<html>mine</html>", encoding="utf-8")
    with pytest.raises(ConfigError, match="was not written by this command"):
        write_description(hostile, tmp_path / "other.html")
    (tmp_path / "comparison.json").write_text('{\n "name": "a run",\n "task": {}}', encoding="utf-8")
    with pytest.raises(ConfigError, match="was not written by this command"):
        write_description(hostile, tmp_path / "comparison.json")
    assert write_description(hostile, write_description(hostile, tmp_path / "values.json")).is_file()
