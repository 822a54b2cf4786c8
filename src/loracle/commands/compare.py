"""`loracle compare`: every method on the same data, and the verdict."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from loracle import printing
from loracle.commands.flags import (
    DATA,
    METHODS,
    PLAN,
    PREPARATION,
    Data,
    Decision,
    Methods,
    Preparing,
    open_console,
    read_task,
)


def compare(
    data: str | None = None,
    *,
    methods: tuple[str, ...] = ("majority", "tfidf", "probe", "lora", "full"),
    model: str = "minilm",
    base_precision: str = "full",
    out: Path | None = None,
    config: Path | None = None,  # noqa: ARG001  (read by main, before the flags)
    plan: Decision = PLAN,
    flags: Data = DATA,
    preparation: Preparing = PREPARATION,
    parts: Methods = METHODS,
) -> int:
    """Say which method is the cheapest that is not worse on your labelled texts.

    Example: loracle compare reviews.csv --methods tfidf probe lora --out runs/reviews

    Parameters
    ----------
    data
        CSV, TSV, JSONL or Parquet file (also .gz, .zst), a folder, or a Hub name; the embedded data if left out.
    methods
        Methods to compare: majority, untrained, tfidf, lstm, scratch, probe, head, bitfit, lora, partial, full, llm,
        llm-few; or all of these, or all-local (those that ask no other machine). Variants of LoRA: rslora, lora-plus,
        lora-fa, rank-dropout, dora, pissa, olora, or all-lora. One may carry options: lora:rank=16:alpha=32.
        peft:ia3.json is what that file configures for PEFT.
    model
        Base model: minilm, a local folder, or a Hub name.
    base_precision
        How lora, head, probe and methods of PEFT hold their frozen base: full, int8 or nf4 (extra quantised).
    out
        Folder of the run; the same folder again continues it. Default: runs/NAME-OF-DATA.
    config
        TOML file with any of these options; a flag wins over the file.
    """
    from loracle import api
    from loracle.comparison.running import check_run
    from loracle.comparison.watching import ProgressLines
    from loracle.methods.method import Setup
    from loracle.methods.registry import find_methods

    console, chosen = open_console(), find_methods(methods)
    task = read_task(data, flags, console, preparation)
    folder = out or api.default_folder(task)
    options: dict[str, Any] = {"model": model, "base_precision": base_precision, **vars(parts)}
    setup = Setup(**options)
    check_run(task, chosen, setup, plan, folder)
    printing.announce(task, chosen, setup, plan, folder, console)
    try:
        with ProgressLines(console) as watch:
            names = [method.stored_name or method.name for method in chosen]
            comparison = api.compare(task, methods=names, **asdict(plan), **options, out=folder, watch=watch)
    except KeyboardInterrupt:
        console.print(f"\nStopped. What is finished is kept in {folder}; the same command continues it.", style="bold")
        return 130
    printing.print_comparison(comparison, folder, console)
    return 1 if any(result.failed for result in comparison.results) else 0
