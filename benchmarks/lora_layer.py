"""What LoRA itself costs: injecting, saving and loading an adapter, and its forward pass beside the base's.

    python -m benchmarks.lora_layer [--rounds 7] [--batch-size 16] [--length 256]

Three measurements: injecting rank 16 into all seven projections of a network of Llama-3.2-1B's size on the meta device;
writing and reading an adapter of a million parameters; the forward pass of MiniLM with LoRA of rank 8 on query and
value against the same network without, in turns. Medians and spread.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable

import torch
from torch import nn
from transformers import LlamaConfig, LlamaForSequenceClassification

from benchmarks.machine import describe_machine
from loracle.lora.config import LoRAConfig
from loracle.lora.injection import inject, lora_state_dict, merge
from loracle.lora.peft_format import load_adapter, save_adapter
from loracle.models.loading import load_base
from loracle.training.precision import choose_path

LLAMA = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def seconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def tell(what: str, readings: list[float], scale: float = 1e3, unit: str = "ms") -> float:
    """Print median and spread; return the median."""
    median = statistics.median(readings)
    print(f"{what:42} {median * scale:8.2f} {unit} [{min(readings) * scale:.2f}, {max(readings) * scale:.2f}]")
    return median


def llama() -> nn.Module:
    """Return a network of Llama-3.2-1B's size on the meta device."""
    config = LlamaConfig(
        vocab_size=128_256, hidden_size=2048, intermediate_size=8192, num_hidden_layers=16, num_attention_heads=32,
        num_key_value_heads=8, head_dim=64, num_labels=2,
    )  # fmt: skip
    with torch.device("meta"):
        return LlamaForSequenceClassification(config)


def measure_injection(rounds: int) -> None:
    models = [llama() for _ in range(rounds)]
    config = LoRAConfig(rank=16, alpha=32, targets=LLAMA)
    tell("inject into Llama-3.2-1B (meta)", [seconds(lambda m=m: inject(m, config, head=("score",))) for m in models])
    print(f"{'':42} {sum(item.numel() for item in lora_state_dict(models[0]).values()):,} parameters of the adapter")


def stack() -> nn.Module:
    """Return 16 layers to which rank 32 gives a million parameters."""
    return nn.Sequential(*(nn.Linear(1024, 1024) for _ in range(16)))


def measure_files(rounds: int) -> None:
    config = LoRAConfig(rank=32, targets=("all-linear",))
    model, copies = stack(), [stack() for _ in range(rounds + 1)]
    inject(model, config)
    with tempfile.TemporaryDirectory() as folder:
        writing = [seconds(lambda: save_adapter(model, folder)) for _ in range(rounds + 1)]
        reading = [seconds(lambda copy=copy: load_adapter(copy, folder)) for copy in copies]
    size = sum(item.numel() for item in lora_state_dict(model).values())
    tell(f"save an adapter of {size:,} parameters", writing[1:])
    tell("load it into a base", reading[1:])


def measure_forward(rounds: int, batch_size: int, length: int) -> None:
    base = load_base("minilm", ("a", "b"), attention="sdpa")
    network, path = base.network.eval(), choose_path()
    network.to(path.device)
    ids = torch.randint(1000, 20_000, (batch_size, length), generator=torch.Generator().manual_seed(0)).to(path.device)

    @torch.inference_mode()
    def forward() -> None:
        with path.autocast():
            network(input_ids=ids).logits.sum().item()

    plain, with_lora = [], []
    for number in range(rounds + 1):
        before = statistics.median(seconds(forward) for _ in range(3))
        inject(network, LoRAConfig(rank=8, targets=("query", "value")), head=base.head)
        after = statistics.median(seconds(forward) for _ in range(3))
        merge(network)
        if number:  # the first round warms up
            plain.append(before)
            with_lora.append(after)
    print(f"MiniLM, {path.precision}, {batch_size} texts of {length} tokens, LoRA of rank 8 on query and value")
    tell("forward without LoRA", plain)
    tell("forward with LoRA", with_lora)
    tell("ratio", [b / a for a, b in zip(plain, with_lora, strict=True)], scale=1, unit="")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--length", type=int, default=256)
    options = parser.parse_args()
    print(describe_machine())
    measure_injection(options.rounds)
    measure_files(options.rounds)
    measure_forward(options.rounds, options.batch_size, options.length)


if __name__ == "__main__":
    main()
