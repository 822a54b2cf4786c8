from __future__ import annotations

from pathlib import Path

import pytest

from loracle.comparison.result import Comparison
from loracle.errors import RunError
from loracle.reporting import write_report


def test_report_is_a_function_of_comparison_json(comparisons: dict[str, Comparison], tmp_path: Path) -> None:
    written = []
    for name in ("first", "second"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "comparison.json").write_text(comparisons["hostile"].to_json(), encoding="utf-8")
        page = write_report(folder)
        assert page == folder / "report.html"
        written.append((page.read_bytes(), (folder / "report.md").read_bytes()))
    assert written[0] == written[1]


def test_stored_comparison_gives_the_page_of_the_one_in_memory(
    comparisons: dict[str, Comparison], pages: dict[str, str], tmp_path: Path, shape: str
) -> None:
    (tmp_path / "comparison.json").write_text(comparisons[shape].to_json(), encoding="utf-8")
    assert write_report(tmp_path).read_text(encoding="utf-8") == pages[shape]


def test_folder_without_a_comparison_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"comparison\.json"):
        write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []
