"""What each step on the way from a plain loop to today's is worth: the same workload with the later ones taken out.

    python -m benchmarks.ladder [--data FOLDER] [--rounds 5] [--texts 64] [--breakdown]

Workload W (LoRA of rank 8 on query and value of MiniLM, IMDB, 256 tokens, batches of 16). The rungs take turns, each in
a process of its own; medians and spread. With --breakdown the first and the last rung are run once more under torch's
profiler, and what takes their time is printed.
"""

from __future__ import annotations

import argparse
import statistics
from collections import Counter
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import workload
from benchmarks.machine import describe_machine
from benchmarks.rounds import Gate, Reading, take_turns

RUNGS = (
    "a plain loop, similar lengths together, no dropout in the base",
    "+ attention by measurement (here: the fused kernel)",
    "+ freed memory kept for the next step",
    "+ LoRA's sum in one function",
    "+ the last layer for the one token that is read",
)
PARTS = {
    "products of linear layers": ("aten::mm", "aten::addmm", "aten::addmm_"),
    "attention": ("scaled_dot_product", "aten::bmm", "aten::baddbmm", "aten::_softmax"),
    "GELU": ("aten::gelu",),
    "norms": ("aten::native_layer_norm",),
    "copies, sums, scaling": ("aten::copy_", "aten::add", "aten::mul", "aten::fill_", "aten::sum", "aten::where"),
}


def take_out(rungs: int) -> None:
    """Take the steps after the first `rungs` out of the engine, in this process."""
    from loracle.lora import injection
    from loracle.lora.variants import _ApartLinear
    from loracle.training import attention, fitting

    if rungs < 1:
        attention.choose_attention = lambda *_, **__: "eager"
    if rungs < 2:
        fitting.keeping_freed_memory = nullcontext  # type: ignore[assignment]
    if rungs < 3:
        injection.build_layer = _ApartLinear  # type: ignore[assignment]
    if rungs < 4:
        fitting.reading_first_token = lambda _: nullcontext(False)  # type: ignore[assignment]


def train(gate: Gate, job: workload.Job, rungs: int) -> None:
    """Train without the later steps; a round is an epoch."""
    take_out(rungs)
    workload.train(gate, job)


def break_down(gate: Gate, job: workload.Job, rungs: int) -> None:
    """Report the share of an epoch that each part of PARTS takes, and the rest, as the remark."""
    from torch.profiler import ProfilerActivity, profile

    from loracle.training.precision import choose_path

    take_out(rungs)
    path = choose_path()
    base = workload.build_base(job, path)
    gate.wait()
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        workload.fit_job(job, base.network, path, epochs=1)
    shares: Counter[str] = Counter()
    for event in profiler.key_averages():
        shares[_part_of(event.key)] += event.self_cpu_time_total
    total = sum(shares.values())
    gate.report(total / 1e6, {part: share / total for part, share in shares.items()})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=workload.DATA)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--texts", type=int, default=64)
    parser.add_argument("--breakdown", action="store_true")
    options = parser.parse_args()
    texts, labels = workload.load_texts(options.data, options.texts)
    tokens, few = workload.tokenise_texts("minilm", texts, labels, 256)
    job = workload.Job(train=tokens, validation=few)
    print(describe_machine())
    contestants = {name: partial(train, job=job, rungs=number) for number, name in enumerate(RUNGS)}
    readings = take_turns(contestants, options.rounds, lambda *_: None)
    for name, found in readings.items():
        print(_rate(name, found, len(tokens)), flush=True)
    if options.breakdown:
        for number in (0, len(RUNGS) - 1):
            (reading,) = take_turns({"": partial(_twice, job=job, rungs=number)}, 1, lambda *_: None)[""]
            print(f"\n{RUNGS[number]}")
            for part, share in sorted(reading.remark.items(), key=lambda item: -item[1]):
                print(f"  {part:28} {share:4.0%}")


def _twice(gate: Gate, job: workload.Job, rungs: int) -> None:
    """Break the first epoch down for warming up, and one more."""
    while True:
        break_down(gate, job, rungs)


def _part_of(operation: str) -> str:
    for part, names in PARTS.items():
        if any(name in operation if part == "attention" else operation.startswith(name) for name in names):
            return part
    return "all else"


def _rate(name: str, found: tuple[Reading, ...], texts: int) -> str:
    rates: list[Any] = [texts / reading.value for reading in found]
    return f"{name:64} {statistics.median(rates):5.1f} texts/s [{min(rates):.1f}, {max(rates):.1f}]"


if __name__ == "__main__":
    main()
