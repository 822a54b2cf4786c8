"""Seconds a text for tokenising and training an epoch, with few texts and with many: it should not grow."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from benchmarks.rounds import Gate
from benchmarks.workload import LEARNING_RATE, Job, build_base

_WARMING_TEXTS = 500


def tokenise_and_train(
    gate: Gate, job: Job, model: str, texts: Sequence[str], labels: np.ndarray, times: int = 1
) -> None:
    """Tokenise the texts and train an epoch on them, so many times a round; a part of them in the first, to warm up.

    Reports the seconds of one time, on average; the remark is how far memory grew, in bytes.
    """
    from loracle.comparison.measuring import measured
    from loracle.models.loading import load_tokenizer
    from loracle.training import fitting
    from loracle.training.batching import tokenise
    from loracle.training.precision import choose_path

    path, tokenizer = choose_path(), load_tokenizer(model)
    budget = job.setup(epochs=1).budget
    for number in itertools.count():
        some, readings = slice(None if number else _WARMING_TEXTS), []
        gate.wait()
        for _ in range(times):
            network = build_base(job, path).network
            with measured() as reading:
                tokens = tokenise(tokenizer, texts[some], job.max_length, labels=labels[some])
                fitting.fit(
                    network, tokens, job.validation, budget, learning_rate=LEARNING_RATE, seed=job.seed, path=path
                )
            readings.append(reading)
            del tokens
        seconds = sum(reading.seconds for reading in readings) / times
        gate.report(seconds, max(reading.peak_memory_bytes for reading in readings))
