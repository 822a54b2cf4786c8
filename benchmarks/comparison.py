"""What a whole comparison costs beside the fits and the scoring that it reports."""

from __future__ import annotations

import itertools
import os
import tempfile
import time
from pathlib import Path

from benchmarks.rounds import Gate

METHODS = ("majority", "tfidf", "probe", "lora", "full")
_WARMING = ("majority", "lora")


def compare(gate: Gate, data: Path, model: str, texts: int, max_length: int) -> None:
    """Compare the methods on a slice of the data, a whole comparison a round; two of them in the first, to warm up.

    Nothing is in the cache when a round begins.
    Reports the wall time of the call, and as the remark the seconds of search and scoring that it tells of itself.
    """
    import loracle

    task = loracle.load_task(data, max_train=texts, max_test=texts)
    budget = loracle.Budget(epochs=1, learning_rates=1, max_length=max_length)
    for number in itertools.count():
        methods = METHODS if number else _WARMING
        gate.wait()
        with tempfile.TemporaryDirectory() as folder:
            os.environ["LORACLE_CACHE"] = str(Path(folder, "cache"))
            out = Path(folder, "run")
            started = time.perf_counter()
            run = loracle.compare(task, methods=methods, model=model, seeds=1, budget=budget, out=out)
            seconds = time.perf_counter() - started
        assert not any(result.failed for result in run.results), [result.error for result in run.results]
        scored = len(task.test) / 1000
        told = sum(result.search_seconds + result.scoring_seconds_per_1000 * scored for result in run.results)
        gate.report(seconds, told)
