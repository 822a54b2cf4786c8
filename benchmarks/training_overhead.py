"""Texts a second of Loracle's loop against a bare PyTorch loop over the same network and batches of similar length.

    python -m benchmarks.training_overhead DATA [--texts 512] [--rounds 5]

DATA is what `loracle compare` takes, or left out for the embedded data. The two take turns; medians and spread.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional as F

from benchmarks.machine import describe_machine
from loracle.data.loading import load_task
from loracle.models.loading import Base
from loracle.models.lstm import build_lstm
from loracle.models.networks import NetworkConfig
from loracle.models.scratch import build_scratch
from loracle.training import fitting
from loracle.training.batching import Tokens, tokenise
from loracle.training.budget import Budget
from loracle.training.precision import ComputePath, choose_path

_VALIDATED = 16  # texts; what scoring them costs counts against Loracle


def bare_loop(base: Base, tokens: Tokens, budget: Budget, path: ComputePath) -> None:
    """What one would write: AdamW over batches sorted by length, in random order; no clipping, no schedule."""
    network = base.network.train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, fused=True)
    order = np.argsort(tokens.lengths, kind="stable")
    batches = [order[start : start + budget.batch_size] for start in range(0, len(order), budget.batch_size)]
    for index in np.random.default_rng(0).permutation(len(batches)):
        ids, mask = tokens.pad_batch(batches[index])
        with path.autocast():
            logits = network(input_ids=ids.to(path.device), attention_mask=mask.to(path.device)).logits
        loss = F.cross_entropy(logits.float(), torch.from_numpy(tokens.labels[batches[index]]).to(path.device))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()


def time_pair(build: Callable[[], Base], texts: list[str], labels: np.ndarray, rounds: int) -> tuple[list, list]:
    """Return the texts a second of Loracle's loop and of the bare one, one each a round, in turns."""
    budget, path = Budget(epochs=1, base_dropout=True), choose_path()
    tokens = tokenise(build().tokenizer, texts, budget.max_length, labels=labels)
    few = tokenise(build().tokenizer, texts[:_VALIDATED], budget.max_length, labels=labels[:_VALIDATED])
    ours, bare = [], []
    for number in range(rounds + 1):
        torch.manual_seed(number)
        base = build()
        base.network.to(path.device)
        start = time.perf_counter()
        fitting.fit(base.network, tokens, few, budget, learning_rate=1e-3, seed=number, path=path)
        middle = time.perf_counter()
        bare_loop(build(), tokens, budget, path)
        end = time.perf_counter()
        if number:  # the first round warms up
            ours.append(len(texts) / (middle - start))
            bare.append(len(texts) / (end - middle))
    return ours, bare


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?")
    parser.add_argument("--texts", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    task = load_task(options.data)
    rows = np.random.default_rng(0).permutation(len(task.train))[: options.texts]
    texts, labels = [task.train.texts[int(row)] for row in rows], task.train.labels[rows]
    sizes, classes = NetworkConfig(), len(task.label_names)
    builders = {
        "lstm": lambda: build_lstm(texts, classes, sizes),
        "scratch": lambda: build_scratch(
            "minilm", task.label_names, sizes, max_length=128, attention=choose_path().attention
        ),
    }
    print(describe_machine())
    print(f"{len(texts)} texts of {task.name}, at most 128 tokens, batches of 16, {choose_path().precision}")
    for name, build in builders.items():
        ours, bare = time_pair(build, texts, labels, options.rounds)
        ratio = statistics.median(a / b for a, b in zip(ours, bare, strict=True))
        print(
            f"{name:8} Loracle {statistics.median(ours):6.1f} [{min(ours):.1f}, {max(ours):.1f}]   "
            f"bare {statistics.median(bare):6.1f} [{min(bare):.1f}, {max(bare):.1f}]   ratio {ratio:.2f}"
        )


if __name__ == "__main__":
    main()
