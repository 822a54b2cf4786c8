"""Several LoRA fits in one pass against the same fits one by one: the time of the one over the sum of the other.

    python -m benchmarks.together [--runs 4] [--rounds 5] [--workloads minilm-256 minilm-64 tiny-64]

The fits differ in their learning rate, so that they see the same batches, as in a search for one. Random tokens, all of
the full length, batches of 16; the two take turns. Medians and spread.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
import torch
from transformers import BertConfig, BertForSequenceClassification

from benchmarks.machine import describe_machine
from loracle.lora.config import LoRAConfig
from loracle.lora.injection import inject
from loracle.models.loading import load_base
from loracle.training import fitting
from loracle.training.batching import Tokens
from loracle.training.budget import Budget
from loracle.training.precision import choose_path
from loracle.training.together import Member, fit_together

WORKLOADS = {"minilm-256": 256, "minilm-64": 64, "tiny-64": 64}
STEPS, BATCH, VALIDATED = 4, 16, 4


def build(workload: str, seed: int) -> torch.nn.Module:
    """Return a network with LoRA on query and value: MiniLM, or two layers of 128 hidden units with random weights."""
    torch.manual_seed(seed)
    if workload.startswith("minilm"):
        network = load_base("minilm", ("a", "b")).network
    else:
        sizes = {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 512}
        network = BertForSequenceClassification(BertConfig(vocab_size=30_522, **sizes))
    inject(network, LoRAConfig(targets=("query", "value")), head=("classifier",))
    return network


def draw_texts(number: int, length: int) -> Tokens:
    ids = np.random.default_rng(0).integers(5, 30_000, number * length).astype(np.int32)
    return Tokens(ids, np.arange(0, len(ids) + 1, length), 0, np.arange(number) % 2)


def measure(workload: str, runs: int, rounds: int) -> tuple[list[float], list[float]]:
    """Return the seconds of one pass and those of the fits one by one, of each round; the first one warms up."""
    length, path, budget = WORKLOADS[workload], choose_path(), Budget(epochs=1, batch_size=BATCH)
    train, validation = draw_texts(STEPS * BATCH, length), draw_texts(VALIDATED, length)
    rates = [1e-3 / (number + 1) for number in range(runs)]
    together, apart = [], []
    for number in range(rounds + 1):
        members = [Member(network=build(workload, 0), learning_rate=rate, seed=0) for rate in rates]
        alone = [build(workload, 0) for _ in rates]
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
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workloads", nargs="+", choices=WORKLOADS, default=list(WORKLOADS))
    options = parser.parse_args()
    print(describe_machine())
    print(
        f"{options.runs} fits, {STEPS} steps of {BATCH} texts each, {choose_path().precision}, {options.rounds} rounds"
    )
    for workload in options.workloads:
        together, apart = measure(workload, options.runs, options.rounds)
        ratios = [one / other for one, other in zip(together, apart, strict=True)]
        spread = f"{statistics.median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}]"
        print(
            f"{workload:12} together {statistics.median(together):6.2f} s, "
            f"one by one {statistics.median(apart):6.2f} s, ratio {spread}",
            flush=True,
        )


if __name__ == "__main__":
    main()
