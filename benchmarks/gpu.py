"""Training on one GPU: texts and tokens a second, share of the measured matrix rate, memory, the largest batch.

    python -m benchmarks.gpu             MiniLM, DistilRoBERTa's and Llama-3.2-1B's size; under 8 minutes
    python -m benchmarks.gpu --smoke     the same code on tiny networks, on any machine; nothing is written

Full, partial and LoRA, beside the Trainer (with PEFT for LoRA) on random tokens, with random weights; nothing is
downloaded. Wants torch, transformers, peft, accelerate, datasets, scikit-learn.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.machine import Neighbours, describe_circumstances, name_machine
from benchmarks.results import FOLDER, Result, Side, load_report, load_reports, save_report
from benchmarks.rounds import BenchmarkError, check_installed
from benchmarks.rows import OURS, ROWS
from benchmarks.table import render_rows, write_table
from loracle.errors import LoracleError, LoracleWarning
from loracle.threads import prepare_threads

METHODS = ("full", "partial", "lora")
_LENGTH, _ROUNDS, _SQUARE = 256, 5, 8192
_MOST, _SEARCH_SECONDS = 4096, 5.0  # texts of a batch, and the seconds of the search for the largest


@dataclass(frozen=True, kw_only=True)
class Case:
    """A base model by its shipped or real sizes, and the batch that it is timed with."""

    name: str
    model: str
    batch_size: int
    short: str = ""


@dataclass(frozen=True, kw_only=True)
class Extent:
    """How much is measured of each case."""

    length: int = _LENGTH
    rounds: int = _ROUNDS
    square: int = _SQUARE
    most: int = _MOST
    search_seconds: float = _SEARCH_SECONDS


TINY = Extent(length=16, rounds=2, square=256, most=8, search_seconds=5)


CASES = (
    Case(name="MiniLM's size", short="minilm", model="all-MiniLM-L6-v2", batch_size=64),
    Case(name="DistilRoBERTa's size", short="distilroberta", model="distilroberta-base", batch_size=64),
    Case(name="Llama-3.2-1B's size", short="llama", model="Llama-3.2-1B", batch_size=16),
)


def list_tiny_cases(folder: Path) -> tuple[Case, ...]:
    """Return the same architectures, tiny; their configurations are written into the folder."""
    sizes = {
        "bert": {"num_attention_heads": 2, "max_position_embeddings": 64},
        "roberta": {"num_attention_heads": 2, "max_position_embeddings": 66, "type_vocab_size": 1, "pad_token_id": 1},
        "llama": {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16, "max_position_embeddings": 64},
    }
    common = {"vocab_size": 100, "hidden_size": 32, "num_hidden_layers": 3, "intermediate_size": 64}
    for name, own in sizes.items():
        place = folder / f"{name}.json"
        place.write_text(json.dumps({"model_type": name, **common, **own}), encoding="utf-8")
    return tuple(
        Case(name=f"tiny {name}", short=name, model=str(folder / f"{name}.json"), batch_size=4) for name in sizes
    )


def measure_case(case: Case, method: str, rate: float, extent: Extent) -> Result:
    """Measure one method on one base model, both engines in turns."""
    from benchmarks import steps
    from loracle.planning.forecasting import load_known_sizes

    vocabulary = int(load_known_sizes(case.model).get("vocab_size", 30_522))
    job = steps.make_job(
        case.model,
        method,
        random=True,
        vocabulary=vocabulary,
        batch_size=case.batch_size,
        length=extent.length,
    )
    runs = {OURS: steps.run_loracle, _other(method): steps.run_trainer}
    found: dict[str, list[steps.Steps]] = {name: [] for name in runs}
    for number in range(extent.rounds):
        for name in reversed(runs) if number % 2 else runs:
            found[name].append(runs[name](job))
    largest = {
        name: steps.find_largest_batch(job, run, most=extent.most, seconds=extent.search_seconds)
        for name, run in runs.items()
    }
    ours, other = (
        Side(name=name, readings=tuple(case.batch_size / item.seconds for item in items))
        for name, items in found.items()
    )
    operations = steps.count_operations(job)
    share = operations * ours.median / case.batch_size / rate
    peaks = [max(item.peak_memory_bytes for item in items) for items in found.values()]
    return Result(
        row=f"gpu-{case.short}-{method}",
        title=f"{case.name}, {method}, {extent.length} tokens, batches of {case.batch_size}: trained",
        unit="texts/s",
        target=None,
        ours=ours,
        others=(other,),
        notes=(
            f"{ours.median * extent.length:,.0f} tokens/s",
            f"{share:.0%} of {rate / 1e12:,.3g} TFLOP/s measured",
            *([f"{peaks[0] / 1e9:.2f} GB at the peak beside {peaks[1] / 1e9:.2f}"] if any(peaks) else []),
            f"largest batch {' beside '.join(_write_batch(*item) for item in largest.values())}",
        ),
        settings={
            "operations_per_step": operations,
            "measured_operations_per_second": rate,
            "share_of_measured_rate": share,
            "peak_memory_bytes": dict(zip(runs, peaks, strict=True)),
            "largest_batch": {name: {"texts": texts, "ended": ended} for name, (texts, ended) in largest.items()},
            "length": extent.length,
            "batch_size": case.batch_size,
        },
    )


def main(words: list[str] | None = None) -> int:
    """Measure all cases that were asked for; return 2 where there is no GPU."""
    options = _parse(words)
    prepare_threads()
    warnings.simplefilter("ignore")
    try:
        check_installed("peft", "accelerate")
        with tempfile.TemporaryDirectory() as folder:
            cases = list_tiny_cases(Path(folder)) if options.smoke else _real_cases()
            _measure_all(cases, options.methods, TINY if options.smoke else Extent(), None if options.smoke else FOLDER)
    except LoracleError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped; finished rows are kept", file=sys.stderr)
        return 130
    return 0


def _real_cases() -> tuple[Case, ...]:
    import torch

    if not torch.cuda.is_available():
        raise BenchmarkError("no GPU that torch can use here; --smoke runs the same code on tiny networks")
    return CASES


def _measure_all(cases: Sequence[Case], methods: Sequence[str], extent: Extent, folder: Path | None) -> None:
    from benchmarks import steps
    from loracle.comparison.ledger import machine

    found, started = machine(), time.monotonic()
    report = load_report(name_machine(found), found, folder or FOLDER)
    rate = steps.measure_rate(extent.square)
    print(
        f"{found['gpu'] or found['processor']}: {rate / 1e12:,.3g} TFLOP/s in products of {extent.square}", flush=True
    )
    order = (*ROWS, *(f"gpu-{case.short}-{method}" for case in cases for method in methods))
    for case in cases:
        for method in methods:
            circumstances, neighbours = describe_circumstances(), Neighbours()
            try:
                result = measure_case(case, method, rate, extent)
            except (RuntimeError, LoracleError, LoracleWarning) as error:
                if not steps.is_of_memory(error):
                    raise
                print(f"{case.name}, {method}: batches of {case.batch_size} texts do not fit", flush=True)
                continue
            circumstances["others"] = round(neighbours.count_busy_cores(), 2)
            result = replace(result, circumstances=circumstances)
            print(f"{time.monotonic() - started:5.0f} s  {render_rows([result])}", flush=True)
            report = report.with_result(result, order)
            if folder:
                save_report(report, folder)
                write_table(load_reports(folder))


def _other(method: str) -> str:
    return "PEFT + Trainer tuned, base in bf16" if method == "lora" else "Trainer tuned"


def _write_batch(texts: int, ended: bool) -> str:
    """Write the largest batch; without the end of memory it is only a lower bound."""
    return f"{texts:,}" if ended else f"{texts:,} or more"


def _parse(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--smoke", action="store_true", help="tiny networks, on any machine; nothing is written")
    parser.add_argument(
        "--methods", nargs="+", choices=METHODS, default=list(METHODS), help="some of them (default: all)"
    )
    return parser.parse_args(words)


if __name__ == "__main__":
    raise SystemExit(main())
