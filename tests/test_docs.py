"""The documentation holds: its examples run and print what it says they print, and commands.md is the help itself.

A ```python block of docs/*.md is executed; the blocks of a page share their names, in order. Where a ```text block
follows, separated by one blank line, it is what the code prints. In README.md only a block below a line
`<!-- executed -->` runs.
"""

from __future__ import annotations

import contextlib
import io
import re
import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").glob("*.md"))
README = ROOT / "README.md"
BLOCK = re.compile(
    r"^(?P<mark><!-- executed -->\n+)?```python\n(?P<code>.*?)^```\n(?:\n```text\n(?P<printed>.*?)^```\n)?",
    re.MULTILINE | re.DOTALL,
)
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")
COMMANDS = runpy.run_path(str(ROOT / "docs" / "render_commands.py"))


@pytest.fixture
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in an empty folder."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def blocks(page: Path) -> Iterator[tuple[int, str, str | None]]:
    """Yield the line of each block to execute, its code, and what it should print where the page says so."""
    text = page.read_text(encoding="utf-8")
    for match in BLOCK.finditer(text):
        if page != README or match["mark"]:
            yield text.count("\n", 0, match.start("code")), match["code"], match["printed"]


@pytest.mark.parametrize("page", [*PAGES, README], ids=lambda page: page.name)
def test_examples_run_and_print_what_the_page_says(page: Path, empty_folder: Path) -> None:
    names: dict[str, object] = {"__name__": "__main__"}
    for line, code, printed in blocks(page) if page.is_file() else ():
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(compile("\n" * line + code, str(page), "exec", dont_inherit=True), names)
        assert printed is None or out.getvalue() == printed, f"{page.name}, line {line + 1}"


def test_every_room_has_a_page_with_an_example() -> None:
    rooms = {folder.name for folder in (ROOT / "src" / "loracle").iterdir() if (folder / "__init__.py").is_file()}
    assert {page.stem for page in PAGES} >= rooms | {"architecture"}
    rooms -= {COMMANDS["PAGE"].stem}  # the page that the program writes
    assert all(list(blocks(ROOT / "docs" / f"{room}.md")) for room in rooms)


def test_every_room_page_names_each_file_of_its_room() -> None:
    for page in set(PAGES) - {COMMANDS["PAGE"]}:
        text = page.read_text(encoding="utf-8")
        for file in (ROOT / "src" / "loracle" / page.stem).glob("*.py"):
            assert file.name == "__init__.py" or f"`{file.name}`" in text, f"{page.name} does not name {file.name}"


@pytest.mark.parametrize("page", [*PAGES, README, ROOT / "CONTRIBUTING.md"], ids=lambda page: page.name)
def test_links_lead_to_files_that_are_there(page: Path) -> None:
    targets = LINK.findall(page.read_text(encoding="utf-8")) if page.is_file() else []
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("command", ["", *COMMANDS["list_commands"]()])
def test_commands_page_holds_the_help_of_every_command(command: str) -> None:
    page = COMMANDS["PAGE"].read_text(encoding="utf-8")
    assert COMMANDS["render_help"](*command.split()) in page, "run: python docs/render_commands.py"


def test_commands_page_is_what_the_program_writes() -> None:
    assert COMMANDS["PAGE"].read_text(encoding="utf-8") == COMMANDS["render_page"]()


@pytest.mark.parametrize("page", ["docs/architecture.md", "CONTRIBUTING.md"])
def test_rows_are_drawn_as_the_architecture_test_holds_them(page: str) -> None:
    rows = runpy.run_path(str(ROOT / "tests" / "test_architecture.py"))["ROWS"]
    lines = (ROOT / page).read_text(encoding="utf-8").splitlines()
    assert [set(line.split()[1:]) for line in lines if re.match(r" {4,}\d+ +\S", line)] == rows
