"""Seconds and peak memory, measured by the same code for every method."""

from __future__ import annotations

import gc
import importlib
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from loracle.training.allocation import give_back_memory

_SAMPLING_SECONDS = 0.005


@dataclass
class Reading:
    """Filled in when the measured block ends: its wall time, and how far memory grew above its start."""

    seconds: float = 0.0
    peak_memory_bytes: int = 0
    peak_gpu_memory_bytes: int = 0


@contextmanager
def measured() -> Iterator[Reading]:
    """Measure the block: its wall time, the resident memory of this process, and what it allocates on a GPU.

    Resident memory is sampled every 5 ms from a thread; what earlier blocks freed is first given back to the
    system, so that a block cannot hide its growth in memory that another one left behind.
    """
    _give_back_memory()
    reading = Reading()
    gpu = _GPUMeter() if _cuda_in_use() else None
    resident = _ResidentMeter()
    start = time.perf_counter()
    try:
        yield reading
    finally:
        reading.seconds = time.perf_counter() - start
        reading.peak_memory_bytes = max(0, resident.stop())
        reading.peak_gpu_memory_bytes = max(0, gpu.stop()) if gpu else 0


def import_libraries(*, quantised: bool = False) -> None:
    """Import what methods import when they are first used, so that no method's figures hold another's imports.

    `quantised` says whether one of them holds its base in 8 or 4 bits.
    """
    for name in ("sklearn.feature_extraction.text", "sklearn.linear_model", "torch", "transformers"):
        importlib.import_module(name)
    if quantised:
        from loracle.models.quantising import import_library

        import_library()


class _ResidentMeter:
    def __init__(self) -> None:
        import psutil

        self._process = psutil.Process()
        self._start: int = self._process.memory_info().rss
        self._peak = self._start
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def stop(self) -> int:
        self._ended.set()
        self._thread.join()
        return int(self._peak - self._start)

    def _sample(self) -> None:
        while True:
            self._peak = max(self._peak, self._process.memory_info().rss)
            if self._ended.wait(_SAMPLING_SECONDS):
                return


class _GPUMeter:
    def __init__(self) -> None:
        import torch

        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        self._start = torch.cuda.memory_allocated()

    def stop(self) -> int:
        import torch

        torch.cuda.synchronize()
        peak: int = torch.cuda.max_memory_allocated()
        return peak - self._start


def _cuda_in_use() -> bool:
    torch = sys.modules.get("torch")
    return bool(torch and torch.cuda.is_available())


def _give_back_memory() -> None:
    gc.collect()
    give_back_memory()
