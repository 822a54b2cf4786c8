from __future__ import annotations

import pytest
from rich.console import Console

from loracle.comparison.result import Comparison
from loracle.reporting import terminal_table


def printed(comparison: Comparison, width: int) -> str:
    console = Console(width=width)
    with console.capture() as capture:
        console.print(terminal_table(comparison, width=width))
    return capture.get()


@pytest.mark.parametrize("width", [60, 120])
def test_table_fits_its_width(comparisons: dict[str, Comparison], shape: str, width: int) -> None:
    lines = printed(comparisons[shape], width).splitlines()
    assert lines
    assert max(map(len, lines)) <= width


def test_wide_table_shows_a_method_on_one_line(comparisons: dict[str, Comparison]) -> None:
    lines = printed(comparisons["plain"], 140).splitlines()
    line = next(line for line in lines if line.startswith("lora"))
    assert "86.8 [84.4, 89.3]" in line
    assert "147,456 + 151,305" in line
    assert "1.2 MB" in line


def test_narrow_table_names_what_it_leaves_out(comparisons: dict[str, Comparison]) -> None:
    text = printed(comparisons["plain"], 60)
    assert "86.8 [84.4, 89.3]" in text
    assert "for want of width here: disk, memory, adapter + head" in " ".join(text.split())


def test_failed_methods_are_named_with_their_error(comparisons: dict[str, Comparison]) -> None:
    assert "full failed: OutOfMemoryError" in printed(comparisons["plain"], 120)


def test_names_are_not_read_as_markup(comparisons: dict[str, Comparison]) -> None:
    assert "<script>alert('x')" in printed(comparisons["hostile"], 400)
