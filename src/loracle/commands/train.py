"""`loracle train`: one method, one seed, saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from loracle import printing
from loracle.commands.flags import DATA, METHODS, PREPARATION, Data, Methods, Preparing, open_console, read_task
from loracle.comparison.plan import Plan
from loracle.files import check_writable


def train(
    data: str | None = None,
    *,
    out: Path,
    method: str = "lora",
    model: str = "minilm",
    base_precision: str = "full",
    learning_rate: float | None = None,
    seed: int = 0,
    together: int = 0,
    config: Path | None = None,  # noqa: ARG001  (read by main, before the flags)
    flags: Data = DATA,
    preparation: Preparing = PREPARATION,
    parts: Methods = METHODS,
) -> int:
    """Train one method with one seed and save it; its test score is printed with an interval.

    Example: loracle train reviews.csv --method lora --out models/reviews

    Parameters
    ----------
    data
        As for compare; the embedded data if left out.
    out
        Folder to save the classifier in; it must be new or hold one that Loracle saved.
    method
        One of: majority, untrained, tfidf, lstm, scratch, probe, head, bitfit, lora, partial, full, llm, llm-few, and
        LoRA's variants rslora, lora-plus, lora-fa, rank-dropout, dora, pissa, olora; it may carry options:
        lora:rank=16:alpha=32. peft:ia3.json is what that file configures for PEFT.
    model
        Base model: minilm, a local folder, or a Hub name.
    base_precision
        How lora, head, probe and methods of PEFT hold their frozen base: full, int8 or nf4 (extra quantised).
    learning_rate
        The one to use; without it several are tried on the validation split.
    seed
        Seed of the head, the adapter and the order of the texts.
    together
        LoRA fits that are trained in one pass, at most; 0 chooses: 8 on a GPU, 1 on a CPU, where it gains little.
    config
        TOML file with any of these options; a flag wins over the file.
    """
    from loracle import api
    from loracle.comparison.watching import training_progress

    console = open_console()
    _check(method, together, out)
    task = read_task(data, flags, console, preparation)
    try:
        texts = (1 if learning_rate else parts.budget.learning_rates) * parts.budget.epochs * len(task.train)
        with training_progress(console, method, texts=texts) as on_step:
            base: dict[str, Any] = {"model": model, "base_precision": base_precision}
            chosen: dict[str, Any] = {"method": method, **base, "learning_rate": learning_rate, "seed": seed}
            found = api.train(task, **chosen, together=together, **vars(parts), on_step=on_step)
    except (MemoryError, RuntimeError) as error:  # torch has no class of its own for what does not fit in memory
        return printing.refuse(f"{method} failed: {type(error).__name__}: {error}", code=1)
    found.fitted.classifier.save(out)
    printing.print_found(found, task, out, console)
    return 0


def _check(method: str, together: int, folder: Path) -> None:
    """Raise what can be told before the data is read."""
    from loracle import api
    from loracle.methods.method import check_replaceable

    api.find_method(method)
    Plan(together=together)
    check_replaceable(folder)
    check_writable(folder)
