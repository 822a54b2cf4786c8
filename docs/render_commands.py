"""Write docs/commands.md, the help of every command. Run it as: python docs/render_commands.py."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from loracle.cli import app

PAGE = Path(__file__).with_name("commands.md")
WIDTH = 100
HEAD = """\
# Commands

This page is the `--help` of every command, at a width of 100 characters. A test compares it with the program. Write it
again with

    python docs/render_commands.py

Exit codes: 0 done; 1 a method failed (in a comparison the others are there); 2 something that you can mend, told in one
line on standard error; 130 stopped with Ctrl-C, with all finished runs of a comparison kept.

`--config FILE.toml` reads options from a file. A key is the flag's name with underscores for dashes, `data` is the
data, and all keys stand at the top level. A flag wins over the file, and an unknown key is refused.

    data = "reviews.csv"
    methods = ["tfidf", "probe", "lora"]
    max_length = 256
    targets = ["query", "value"]

The `run.toml` of a run's folder is such a file for `loracle compare`. `loracle train` refuses it, because it holds
`methods`, `seeds`, `margin` and `cost_texts`, which are not options of `train`.
"""


def list_commands() -> list[str]:
    """Return the names of all commands, in the order in which they are defined."""
    return [name for name in app if not name.startswith("-")]


def render_help(*tokens: str) -> str:
    """Return the help of the program, or of the command that the tokens name, without colour or trailing blanks."""
    console = Console(file=io.StringIO(), width=WIDTH, color_system=None, force_terminal=False)
    with console.capture() as capture:
        app.help_print(list(tokens), console=console)
    return "\n".join(line.rstrip() for line in capture.get().strip().splitlines())


def render_page() -> str:
    """Return the whole page."""
    sections = [("loracle", ()), *((f"loracle {name}", (name,)) for name in list_commands())]
    helps = (f"## {title}\n\n```text\n{render_help(*tokens)}\n```\n" for title, tokens in sections)
    return "\n".join([HEAD, *helps])


if __name__ == "__main__":
    PAGE.write_text(render_page(), encoding="utf-8")
