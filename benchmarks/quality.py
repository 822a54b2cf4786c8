"""Test accuracy of the fast path beside the float32 reference path: the same texts, the same seeds.

    python -m benchmarks.quality
    python -m benchmarks.quality --texts 400 --epochs 1 --seeds 2 --test-texts 500 --max-length 64

LoRA of rank 8 on MiniLM. The fast path is what `precision = "auto"` chooses here. The exit code is 1 where it is shown
to be worse by more than half a point; results/<machine>.json and README.md say what came of it.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import Neighbours, describe_circumstances, describe_machine, name_machine
from benchmarks.results import FOLDER, load_report, load_reports, save_report
from benchmarks.rounds import BenchmarkError
from benchmarks.table import render_quality, write_table
from benchmarks.workload import DATA
from loracle.comparison.ledger import machine
from loracle.errors import LoracleError
from loracle.evaluation.statistics import Interval, paired_bootstrap
from loracle.threads import prepare_threads

MARGIN = 0.005
_LEARNING_RATE = 1e-3
_PATHS: dict[str, dict[str, Any]] = {
    "fast": {"precision": "auto"},
    "reference": {"precision": "fp32", "deterministic": True},
}


def measure_quality(options: argparse.Namespace) -> dict[str, Any]:
    """Fit every seed by both paths and predict the test texts; return what the table says of it."""
    import loracle
    from loracle.evaluation.metrics import predicted_labels
    from loracle.training.precision import choose_path

    if not options.data.is_dir():
        raise BenchmarkError(f"no data in {options.data}; give a folder that `loracle compare` takes with --data")
    started, circumstances, neighbours = time.monotonic(), describe_circumstances(), Neighbours()
    task = loracle.load_task(options.data, max_train=options.texts, max_test=options.test_texts)
    predicted: dict[str, list[np.ndarray]] = {name: [] for name in _PATHS}
    for seed in range(options.seeds):
        for name, settings in _PATHS.items():
            budget = loracle.Budget(epochs=options.epochs, max_length=options.max_length, **settings)
            found = loracle.train(
                task, method="lora", model=options.model, budget=budget, seed=seed, learning_rate=_LEARNING_RATE
            )
            probabilities = found.fitted.classifier.predict_proba(task.test.texts)
            predicted[name].append(predicted_labels(probabilities, None))
            right = float((predicted[name][-1] == task.test.labels).mean())
            took = time.monotonic() - started
            print(
                f"{took:6.0f} s  seed {seed}  {name:9}  {right:.4f}  (trained in {found.reading.seconds:.0f} s)",
                flush=True,
            )
    fast, reference = (np.stack(predicted[name]) for name in _PATHS)
    difference = paired_bootstrap(task.test.labels, fast, reference).difference
    return {
        "fast": float((fast == task.test.labels).mean()),
        "reference": float((reference == task.test.labels).mean()),
        "difference": {"value": difference.value, "low": difference.low, "high": difference.high},
        "verdict": judge(difference),
        "how": choose_path().precision,
        "test_texts": len(task.test),
        "asked": {name: getattr(options, name) for name in ("texts", "epochs", "seeds", "test_texts", "max_length")},
        "circumstances": {**circumstances, "others": round(neighbours.count_busy_cores(), 2)},
    }


def judge(difference: Interval) -> str:
    """Say what an interval of fast minus reference shows about half a point.

    >>> judge(Interval(value=0.001, low=-0.003, high=0.005))
    'not worse by 0.5 point'
    """
    if difference.low > -MARGIN:
        return f"not worse by {100 * MARGIN:g} point"
    if difference.high < -MARGIN:
        return f"worse by more than {100 * MARGIN:g} point"
    return f"so few texts and seeds do not show whether it is worse by {100 * MARGIN:g} point"


def main(words: list[str] | None = None) -> int:
    """Measure, print and store the result; return 1 where the fast path is worse, 2 where it cannot be measured."""
    options = _parse(words)
    prepare_threads()
    print(describe_machine(), flush=True)
    try:
        quality = measure_quality(options)
    except LoracleError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped; nothing is kept", file=sys.stderr)
        return 130
    print(render_quality(quality))
    found = machine()
    save_report(load_report(name_machine(found), found, options.out).with_quality(quality), options.out)
    if options.out == FOLDER:
        write_table(load_reports())
    return int(quality["difference"]["high"] < -MARGIN)


def _parse(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.quality", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--texts", type=int, default=4000, help="training texts (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--test-texts", type=int, default=2000)
    parser.add_argument("--max-length", type=int, default=256)
    parser.add_argument("--data", type=Path, default=DATA, help="what `loracle compare` takes")
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of the results (default: %(default)s)")
    return parser.parse_args(words)


if __name__ == "__main__":
    raise SystemExit(main())
