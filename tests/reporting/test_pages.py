from __future__ import annotations

from pathlib import Path

import pytest

from loracle.errors import ConfigError, FileError
from loracle.reporting.pages import check_output

MARK = 'content="loracle test"'


def check(path: Path) -> None:
    check_output(path, suffixes=(".html",), mark=MARK)


def test_a_new_file_and_one_of_its_own_kind_are_taken(tmp_path: Path) -> None:
    check(tmp_path / "new" / "page.HTML")
    (tmp_path / "page.html").write_text(f"<meta {MARK}>", encoding="utf-8")
    check(tmp_path / "page.html")


def test_a_foreign_file_is_refused_wherever_the_mark_stands_in_it(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    for content in ("", "<title>Home</title>", " " * 5000 + MARK):
        path.write_text(content, encoding="utf-8")
        with pytest.raises(ConfigError, match=r"page\.html is there and was not written by this command"):
            check(path)


def test_another_suffix_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"allowed: a file that ends in \.html"):
        check(tmp_path / "page.txt")
    (tmp_path / "page.html").mkdir()
    with pytest.raises(ConfigError, match="a folder; give a file"):
        check(tmp_path / "page.html")


def test_a_place_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(FileError, match="is a file"):
        check(tmp_path / "file" / "deeper" / "page.html")
