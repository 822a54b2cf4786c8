"""Planned against measured memory of real fits: each cell in a fresh process, as `loracle compare` measures it.

    python -m benchmarks.memory_plan [--model minilm] [--methods full partial lora] [--lengths 64 128 256]
        [--batches 8 16 32] [--precision auto]

Loading the base model is part of what is measured. Two epochs of six steps, random tokens, all of the full length.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
from dataclasses import asdict

import numpy as np

from benchmarks.machine import describe_machine
from loracle.comparison.measuring import import_libraries, measured
from loracle.methods.method import Setup
from loracle.methods.registry import find_methods
from loracle.planning.forecasting import Builder, prepare_network
from loracle.training.batching import Tokens
from loracle.training.budget import Budget
from loracle.training.precision import choose_path

_STEPS, _PARTS = 6, ("weights", "gradients", "optimiser", "kept", "activations", "allocator")


def measure_fit(setup: Setup, method: str) -> int:
    """Return the growth at the peak of a real fit in this process, in bytes."""
    from loracle.models.loading import load_base
    from loracle.training import fitting

    import_libraries()
    budget, path = setup.budget, choose_path(setup.budget.precision)
    vocabulary = Builder(setup, 2)().config.vocab_size  # and the architecture is imported
    draw = np.random.default_rng(0)

    def texts(number: int) -> Tokens:
        ids = draw.integers(5, vocabulary, number * budget.max_length).astype(np.int32)
        return Tokens(ids, np.arange(0, len(ids) + 1, budget.max_length), 0, np.arange(number) % 2)

    with measured() as reading:
        base = load_base(setup.model, ["a", "b"], attention=path.attention)
        prepare = find_methods([method])[0].prepare
        assert prepare is not None
        prepare(base, setup)
        train, validation = texts(_STEPS * budget.batch_size), texts(fitting.SCORING_BATCH)
        fitting.fit(base.network, train, validation, budget, learning_rate=1e-4, seed=0, path=path)
    return reading.peak_gpu_memory_bytes if path.device == "cuda" else reading.peak_memory_bytes


def measure_apart(setup: Setup, method: str) -> int:
    """Return what `measure_fit` returns in a fresh process."""
    asked = json.dumps({"model": setup.model, "budget": asdict(setup.budget), "method": method})
    command = [sys.executable, "-m", "benchmarks.memory_plan", "--one", asked]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(done.stdout.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="minilm")
    parser.add_argument("--methods", nargs="+", default=["full", "partial", "lora"])
    parser.add_argument("--lengths", nargs="+", type=int, default=[64, 128, 256])
    parser.add_argument("--batches", nargs="+", type=int, default=[8, 16, 32])
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        asked = json.loads(options.one)
        print(measure_fit(Setup(model=asked["model"], budget=Budget(**asked["budget"])), asked["method"]))
        return
    from loracle.planning.simulation import simulate_fit

    path = choose_path(options.precision)
    print(describe_machine())
    print(f"{options.model}, {path.precision} on {path.device}, {os.cpu_count()} cores; megabytes\n")
    print(f"{'method':8} {'length':>6} {'batch':>5}  " + "".join(f"{part:>12}" for part in _PARTS), end="")
    print(f"{'planned':>10}{'measured':>10}{'ratio':>7}")
    ratios = []
    for length, batch, name in itertools.product(options.lengths, options.batches, options.methods):
        budget = Budget(epochs=2, batch_size=batch, max_length=length, precision=path.precision)
        setup = Setup(model=options.model, budget=budget)
        plan = simulate_fit(prepare_network(Builder(setup, 2), setup, find_methods([name])[0]), budget, path)
        peak = measure_apart(setup, name)
        ratios.append(plan.total / peak)
        parts = "".join(f"{getattr(plan, part) / 1e6:12.0f}" for part in _PARTS)
        print(f"{name:8} {length:6} {batch:5}  {parts}{plan.total / 1e6:10.0f}{peak / 1e6:10.0f}{ratios[-1]:7.2f}")
        sys.stdout.flush()
    near = sum(abs(ratio - 1) <= 0.15 for ratio in ratios)
    print(f"\n{near} of {len(ratios)} within 15 %; from {min(ratios):.2f} to {max(ratios):.2f}")


if __name__ == "__main__":
    main()
