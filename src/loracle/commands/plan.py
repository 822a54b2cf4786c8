"""`loracle plan`: parameters, memory and time before anything is downloaded or trained."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from loracle.commands.flags import METHODS, Methods, open_console
from loracle.files import check_writable, write_text


def plan(
    model: str = "minilm",
    *,
    labels: int = 2,
    method: Annotated[tuple[str, ...], Parameter(name=("--method", "--methods"))] = (),
    memory: str | None = None,
    probe: bool = False,
    out: Path | None = None,
    config: Path | None = None,  # noqa: ARG001  (read by main, before the flags)
    parts: Methods = METHODS,
) -> int:
    """Say what training would take, before anything is downloaded: parameters, bytes, memory, the largest batch.

    Example: loracle plan meta-llama/Llama-3.2-1B --method lora full --targets all-linear --memory 24GB

    Parameters
    ----------
    model
        minilm, a local folder, a config.json, a Hub name, or one of the shipped sizes: bert-base-uncased,
        bert-large-uncased, bert-tiny, all-MiniLM-L6-v2, distilbert-base-uncased, distilroberta-base, roberta-base,
        xlm-roberta-base, albert-base-v2, electra-small-discriminator, deberta-v3-base, mpnet-base, ModernBERT-base,
        gpt2, Qwen2.5-0.5B, Llama-3.2-1B, gemma-2b, Mistral-7B-v0.3.
    labels
        Classes of the head.
    method
        Methods that train the base model; those that this base model can have if left out. One may carry options:
        lora:rank=16.
    memory
        Memory that the largest batch must fit in: 24GB, 16GiB. That of this machine if left out.
    probe
        Run three real steps of each method, with random weights on random tokens, and estimate the time.
    out
        JSON file to write all figures to.
    config
        TOML file with any of these options; a flag wins over the file.
    """
    from loracle import api
    from loracle.reporting.forecasts import render_forecast

    console = open_console()
    if out is not None:
        check_writable(out.parent)
    with console.status("building the network without its values") as status:
        found = api.plan(
            model,
            labels=labels,
            methods=method,
            memory=memory,
            probe=probe,
            budget=parts.budget,
            lora=parts.lora,
            networks=parts.networks,
            on_method=lambda name: status.update(f"planning {name}"),
        )
    for piece in render_forecast(found, console.width):
        console.print(piece)
    if out is not None:
        write_text(out, found.to_json())
        console.print(f"\nWritten: {out}", soft_wrap=True)
    return 0
