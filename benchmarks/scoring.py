"""Texts scored a second: a saved LoRA classifier of Loracle, and the same model in transformers' pipeline."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.rounds import Gate

BATCH_SIZES = (1, 8, 16, 32, 64)
_TASK_TEXTS, _LEARNING_RATE = 90, 1e-3


def save_models(folder: Path, model: str, max_length: int) -> tuple[Path, Path]:
    """Train LoRA for a moment on the embedded data; return where it is saved, and where merged for transformers."""
    import loracle
    from loracle.models.loading import save_whole

    budget = loracle.Budget(epochs=1, max_length=max_length)
    task = loracle.load_task(max_train=_TASK_TEXTS)
    found = loracle.train(task, method="lora", model=model, budget=budget, learning_rate=_LEARNING_RATE)
    own, merged = folder / "loracle", folder / "merged"
    found.fitted.classifier.save(own)
    base = loracle.load_merged(own)
    save_whole(base, merged)
    base.tokenizer.save_pretrained(merged)
    return own, merged


def predict(gate: Gate, folder: Path, texts: Sequence[str]) -> None:
    """Label the texts by the loaded classifier, all of them a round."""
    import loracle

    classifier = loracle.load_model(folder)
    gate.repeat(lambda: classifier.predict(texts))


def predict_by_pipeline(
    gate: Gate, folder: Path, texts: Sequence[str], max_length: int, batch_size: int, by_length: bool
) -> None:
    """Label the texts by a pipeline in float32, all of them a round."""
    pipe = _load_pipeline(folder, max_length)
    gate.repeat(lambda: _label(pipe, texts, batch_size, by_length))


def find_best_batches(gate: Gate, folder: Path, texts: Sequence[str], max_length: int) -> None:
    """Report, once, which batch size and order of the texts is the fastest for the pipeline on a few texts."""
    pipe = _load_pipeline(folder, max_length)
    _label(pipe, texts[:8], 8, by_length=False)
    gate.wait()
    taken: dict[tuple[int, bool], float] = {}
    for batch_size, by_length in itertools.product(BATCH_SIZES, (False, True)):
        started = time.perf_counter()
        _label(pipe, texts, batch_size, by_length)
        taken[batch_size, by_length] = time.perf_counter() - started
    best = min(taken, key=lambda tried: taken[tried])
    gate.report(taken[best], best)


def _load_pipeline(folder: Path, max_length: int) -> Any:
    import torch
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    device = 0 if torch.cuda.is_available() else -1
    pipe = transformers.pipeline("text-classification", model=str(folder), dtype=torch.float32, device=device)
    pipe.tokenizer.model_max_length = max_length
    return pipe


def _label(pipe: Any, texts: Sequence[str], batch_size: int, by_length: bool) -> list[str]:
    order = sorted(range(len(texts)), key=lambda row: len(texts[row])) if by_length else list(range(len(texts)))
    answers = pipe([texts[row] for row in order], batch_size=batch_size, truncation=True)
    labels = dict(zip(order, (answer["label"] for answer in answers), strict=True))
    return [labels[row] for row in range(len(texts))]
