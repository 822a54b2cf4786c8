"""How many threads compute, and what they do while they wait: set before torch is imported, since it asks only once."""

from __future__ import annotations

import os

IDLE = 0.5
"""Load a core up to which a machine counts as idle."""


def prepare_threads() -> None:
    """Use one thread a physical core; where other programs are at work, let waiting threads sleep.

    On an idle machine threads that spin while they wait take two thirds of the time for a step of a small network;
    where another program has one of the cores, one and a half times as long. What the environment says is kept.
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(count_cores()))
    if _load() > IDLE * count_cores():
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def count_cores() -> int:
    """Return how many physical cores this process may use."""
    import psutil

    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(psutil.cpu_count(logical=False) or usable, usable))


def _load() -> float:
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
