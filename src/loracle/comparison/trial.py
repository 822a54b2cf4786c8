"""One batch size tried in a process of its own, under a limit of memory: `python -m loracle.comparison.trial JSON`."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from loracle.comparison.measuring import import_libraries, measured
from loracle.errors import LoracleWarning, RunError
from loracle.lora.config import LoRAConfig
from loracle.methods.method import Setup
from loracle.training.budget import Budget

_LABELS = 2
_STEPS = 2  # the first has no optimiser's state yet


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What became of one batch size: it fits where it finished within the limit."""

    method: str
    batch_size: int
    fits: bool
    peak_memory_bytes: int | None = None
    """Growth of the process, or of the GPU's allocated memory; None where it ended before it could be read."""
    predicted_bytes: int = 0
    seconds: float = 0.0


def run_trial(setup: Setup, method: str, batch_size: int, memory_bytes: int) -> dict[str, Any]:
    """Train a few steps in a child process; return {fits, peak_memory_bytes, seconds}.

    The child is dead when this returns or raises. Raises RunError where it failed for another reason than memory.
    """
    asked = {
        "model": setup.model,
        "budget": {**asdict(setup.budget), "batch_size": batch_size, "epochs": 1},
        "lora": asdict(setup.lora),
        "method": method,
        "memory_bytes": memory_bytes,
    }
    command = [sys.executable, "-m", "loracle.comparison.trial", json.dumps(asked)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        try:
            printed, complaint = child.communicate()
        finally:
            child.kill()
    if child.returncode < 0:  # a signal: some libraries end the process where they get no memory
        return {"fits": False, "peak_memory_bytes": None, "seconds": 0.0}
    if child.returncode:
        last = (complaint.strip().splitlines() or ["no message"])[-1]
        raise RunError(f"{method} with batches of {batch_size} failed for another reason than memory: {last}")
    answer: dict[str, Any] = json.loads(printed.strip().splitlines()[-1])
    return answer


def main(text: str) -> None:
    """Do what `run_trial` asks for and print the answer as one line of JSON."""
    asked = json.loads(text)
    setup = Setup(model=asked["model"], budget=Budget(**asked["budget"]), lora=LoRAConfig(**asked["lora"]))
    print(json.dumps(_train(setup, asked["method"], asked["memory_bytes"])))


def _train(setup: Setup, method: str, memory_bytes: int) -> dict[str, Any]:
    from loracle.methods.registry import find_methods
    from loracle.planning.forecasting import Builder, prepare_network
    from loracle.training import fitting
    from loracle.training.precision import path_for
    from loracle.training.stepping import is_out_of_memory

    path, budget = path_for(setup.budget), setup.budget
    build = Builder(setup, _LABELS)
    import_libraries()
    build()  # imports the architecture, which is not what is measured
    train, validation = (_texts(number, budget) for number in (_STEPS * budget.batch_size, fitting.SCORING_BATCH))
    try:
        with warnings.catch_warnings(), _limited(memory_bytes, path.device), measured() as reading:
            base = prepare_network(build, setup, find_methods([method])[0], "cpu")
            warnings.simplefilter("error", LoracleWarning)  # a batch that is taken in halves does not fit
            fitting.fit(base.network, train, validation, budget, learning_rate=1e-5, seed=0, path=path)
    except (MemoryError, RuntimeError, LoracleWarning) as error:
        if not isinstance(error, LoracleWarning) and not is_out_of_memory(error):
            raise
        return {"fits": False, "peak_memory_bytes": None, "seconds": 0.0}
    peak = reading.peak_gpu_memory_bytes if path.device == "cuda" else reading.peak_memory_bytes
    return {"fits": peak <= memory_bytes, "peak_memory_bytes": peak, "seconds": reading.seconds}


@contextmanager
def _limited(memory_bytes: int, device: str) -> Iterator[None]:
    """Let the process grow by so many bytes within the block, where the system can hold it to that."""
    status = Path("/proc/self/status")
    if device == "cuda" or not status.is_file():
        yield
        return
    import resource

    held = next(line for line in status.read_text().splitlines() if line.startswith("VmData"))
    earlier = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (int(held.split()[1]) * 1024 + memory_bytes, earlier[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, earlier)


def _texts(number: int, budget: Budget) -> Any:
    from loracle.training.batching import Tokens

    ids = np.ones(number * budget.max_length, np.int32)
    starts = np.arange(0, number * budget.max_length + 1, budget.max_length, dtype=np.int64)
    return Tokens(ids, starts, 0, np.arange(number, dtype=np.int64) % _LABELS)


if __name__ == "__main__":
    main(sys.argv[1])
