"""`loracle batch-demo`: the batch doubled until memory ends, full fine-tuning against LoRA."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from loracle.commands.flags import METHODS, Methods, open_console

if TYPE_CHECKING:
    from loracle.comparison.trial import Trial


def batch_demo(
    model: str = "minilm",
    *,
    memory: str | None = None,
    out: Path = Path("runs/batch-demo.html"),
    config: Path | None = None,  # noqa: ARG001  (read by main, before the flags)
    parts: Methods = METHODS,
) -> int:
    """Double the batch until memory ends, for full fine-tuning and for LoRA, and draw both beside the plan.

    Each batch is tried in a process of its own, with random weights and random tokens of the full length. On a CPU that
    process may grow by --memory and no more; on a GPU the card is the limit.

    Example: loracle batch-demo minilm --memory 2GB --max-length 256

    Parameters
    ----------
    model
        As for plan.
    memory
        What each process may grow by: 4GB, 2GiB. Default: 4GB on a CPU, all of the card on a GPU.
    out
        Page to write (.html).
    config
        TOML file with any of these options; a flag wins over the file.
    """
    from loracle.comparison.doubling import double_batches
    from loracle.methods.method import Setup
    from loracle.planning.capacity import find_memory, parse_memory
    from loracle.reporting.doubling import check_doubling_output, write_doubling, write_finding, write_trial
    from loracle.training.precision import path_for

    check_doubling_output(out)
    path = path_for(parts.budget)
    limit = parse_memory(memory or "4GB") if memory or path.device == "cpu" else find_memory(path)[0]
    setup = Setup(model=model, budget=parts.budget, lora=parts.lora, networks=parts.networks)
    console = open_console()

    def tell(trial: Trial) -> None:
        method, batch, peak, planned, ratio, remark = write_trial(trial)
        console.print(f"{method:8} {batch:>7}   {peak:>8}   {planned:>8}   {ratio:>5}   {remark}", soft_wrap=True)

    console.print("method     batch   measured    planned   ratio", style="bold")
    with console.status("") as status:
        found = double_batches(
            setup, limit, on_trial=tell, on_start=lambda name, batch: status.update(f"{name}, batches of {batch:,}")
        )
    write_doubling(found, out)
    console.print(f"\n{write_finding(found)}", style="bold")
    console.print(f"Written: {out}", soft_wrap=True)
    return 0
