"""The program: its help, and that it runs as a module."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from loracle.cli import app, main
from loracle.methods.registry import METHODS

Write = Callable[..., Path]


@pytest.mark.parametrize("command", ["", *(name for name in app if not name.startswith("-"))])
def test_every_help_has_an_example(command, capsys):
    assert main([*command.split(), "--help"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert (f"Example: loracle {command}" if command else "Start with: loracle compare") in printed


def test_the_package_runs_as_a_module():
    done = subprocess.run([sys.executable, "-m", "loracle", "--help"], capture_output=True, text=True, check=True)
    assert "loracle compare" in done.stdout
    refused = subprocess.run([sys.executable, "-m", "loracle", "nope"], capture_output=True, text=True, check=False)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)


@pytest.mark.parametrize("command", ["compare", "train"])
def test_help_names_every_method(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "majority, untrained, tfidf" in shown
    assert all(name in shown for name in METHODS)
