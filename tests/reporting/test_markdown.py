from __future__ import annotations

import re

from loracle.reporting.markdown import escape


def tables(document: str) -> list[list[str]]:
    blocks = [block.splitlines() for block in document.split("\n\n")]
    return [lines for lines in blocks if lines[0].startswith("| ")]


def test_rows_have_as_many_cells_as_their_heading(documents: dict[str, str], shape: str) -> None:
    for lines in tables(documents[shape]):
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in lines}
        assert len(widths) == 1, lines[0]
        assert set(lines[1]) <= set("|-: ")


def test_document_has_the_tables_of_the_page(documents: dict[str, str]) -> None:
    headings = re.findall(r"^#+ (.*)$", documents["plain"], re.MULTILINE)
    expected = ["Pairwise tests", "Seeds", "Search for the setting", "Learning curves, mean over seeds", "Ledger"]
    assert [heading for heading in headings if heading in expected] == expected
    assert len(tables(documents["plain"])) == 8 + 2 * 4  # of the comparison, and two a method that finished
    assert documents["plain"].startswith("# Ship lora")


def test_hostile_names_stay_text(documents: dict[str, str]) -> None:
    assert "<script" not in documents["hostile"]
    assert not re.search(r"(?<!\\)\*b", documents["hostile"])


def test_escape_keeps_one_line() -> None:
    assert escape("a\nb | `c`") == r"a b \| \`c\`"
