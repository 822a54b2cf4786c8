"""Several LoRA fits in one pass against the same fits one by one: the time of the one over the sum of the other.

    python -m benchmarks.together [--runs 4] [--rounds 5] [--workloads minilm-256 minilm-64 tiny-64] [--no-graphs]

The fits differ in their learning rate, so that they see the same batches, as in a search for one. Random tokens, all of
the full length, batches of 16, networks of these sizes with random weights; the two take turns. Medians and spread. Run
it on an idle machine: beside other programs a step of a small network is mostly waiting.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import replace

import numpy as np
import torch

from benchmarks.machine import describe_machine
from benchmarks.workload import BERT_TINY, LABELS
from loracle.lora.config import LoRAConfig
from loracle.methods.lora import prepare_lora
from loracle.methods.method import Setup
from loracle.planning.forecasting import Builder
from loracle.threads import prepare_threads
from loracle.training import fitting
from loracle.training.batching import Tokens
from loracle.training.budget import Budget
from loracle.training.precision import ComputePath, choose_path
from loracle.training.together import Member, fit_together

WORKLOADS = {"minilm-256": ("all-MiniLM-L6-v2", 256), "minilm-64": ("all-MiniLM-L6-v2", 64), "tiny-64": (BERT_TINY, 64)}
BATCH, VALIDATED = 16, 4


def build(model: str, path: ComputePath) -> torch.nn.Module:
    """Return a network of the model's sizes with LoRA on query and value, rank 8."""
    torch.manual_seed(0)
    setup = Setup(model=model, lora=LoRAConfig(rank=8, alpha=16))
    base = Builder(setup, len(LABELS))(path.device)
    prepare_lora(base, setup)
    return base.network


def draw_texts(number: int, length: int) -> Tokens:
    ids = np.random.default_rng(0).integers(5, 30_000, number * length).astype(np.int32)
    return Tokens(ids, np.arange(0, len(ids) + 1, length), 0, np.arange(number) % 2)


def measure(workload: str, runs: int, rounds: int, steps: int, path: ComputePath) -> tuple[list[float], list[float]]:
    """Return the seconds of one pass and those of the fits one by one, of each round; the first one warms up."""
    (model, length), budget = WORKLOADS[workload], Budget(epochs=1, batch_size=BATCH)
    train, validation = draw_texts(steps * BATCH, length), draw_texts(VALIDATED, length)
    rates = [1e-3 / (number + 1) for number in range(runs)]
    together, apart = [], []
    for number in range(rounds + 1):
        members = [Member(network=build(model, path), learning_rate=rate, seed=0) for rate in rates]
        alone = [build(model, path) for _ in rates]
        start = time.perf_counter()
        fit_together(members, train, validation, budget, head=("classifier",), path=path)
        middle = time.perf_counter()
        for network, rate in zip(alone, rates, strict=True):
            fitting.fit(network, train, validation, budget, learning_rate=rate, seed=0, path=path)
        end = time.perf_counter()
        if number:
            together.append(middle - start)
            apart.append(end - middle)
    return together, apart


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.together",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--runs", type=int, default=4, help="fits in a pass (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="after one that warms up (default: %(default)s)")
    parser.add_argument("--workloads", nargs="+", choices=WORKLOADS, default=list(WORKLOADS))
    parser.add_argument("--steps", type=int, default=4, help="of each fit (default: %(default)s)")
    parser.add_argument("--no-graphs", action="store_true", help="launch every kernel by itself on a GPU")
    options = parser.parse_args()
    prepare_threads()
    path = choose_path()
    path = replace(path, graphs=path.graphs and not options.no_graphs)
    print(describe_machine())
    graphs = ", recorded passes" if path.graphs else ""
    print(
        f"{options.runs} fits, {options.steps} steps of {BATCH} texts, {path.precision}{graphs}; "
        f"{options.rounds} rounds"
    )
    for workload in options.workloads:
        together, apart = measure(workload, options.runs, options.rounds, options.steps, path)
        ratios = [one / other for one, other in zip(together, apart, strict=True)]
        spread = f"{statistics.median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}]"
        print(
            f"{workload:12} together {statistics.median(together):.2f} s, one by one {statistics.median(apart):.2f} s, "
            f"ratio {spread}; {statistics.median(ratios) * options.runs:.1f} times one",
            flush=True,
        )


if __name__ == "__main__":
    main()
