"""Where and when a figure was measured."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from loracle.comparison.ledger import machine, versions

_PACKAGES = ("torch", "transformers", "peft", "accelerate", "scikit-learn", "numpy")
_NO_NAME = re.compile(r"\((?:r|tm)\)|\bcpu\b|@.*$|\d+-core\b|\bprocessor\b")


def describe_machine() -> str:
    """Return processor, cores, load, versions and date on one line."""
    found, used = machine(), versions()
    gpu = f", {found['gpu']}" if found["gpu"] else ""
    return (
        f"{found['processor']}, {found['cores']} cores{gpu}, load {os.getloadavg()[0]:.1f}; "
        f"Python {used['python']}, torch {used['torch']}, transformers {used['transformers']}; "
        f"{datetime.now(UTC):%d %B %Y}"
    )


def name_machine(found: Mapping[str, Any]) -> str:
    """Return a name for files from processor, cores and GPU.

    >>> name_machine({"processor": "Intel(R) Xeon(R) CPU @ 2.20GHz", "cores": 8, "gpu": "NVIDIA H100 80GB HBM3"})
    'intel-xeon-8-cores-nvidia-h100-80gb-hbm3'
    """
    processor = _NO_NAME.sub(" ", str(found["processor"]).lower())
    words = f"{processor} {found['cores']} cores {found.get('gpu') or ''}".lower()
    return re.sub(r"[^a-z0-9]+", "-", words).strip("-")


def describe_circumstances() -> dict[str, Any]:
    """Return date, load, threads, versions and commit, of now."""
    import torch

    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "load": round(os.getloadavg()[0], 2),
        "threads": torch.get_num_threads(),
        "waiting_threads": os.environ.get("OMP_WAIT_POLICY", "default"),
        "versions": {"python": platform.python_version(), **_find_versions()},
        "commit": _find_commit(),
    }


def _find_versions() -> dict[str, str]:
    """Return the versions of those packages that are installed; on a borrowed machine not all are."""
    found = {}
    for name in _PACKAGES:
        with suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def _find_commit() -> str:
    """Return the short name of this checkout's commit, with a plus sign where files were changed; "" without git."""
    here = Path(__file__).parent
    try:
        name = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=here, capture_output=True, text=True, check=True
        ).stdout.strip()
        changed = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=no", "--", "../src"],
            cwd=here,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
    return f"{name}+" if changed else name


class Neighbours:
    """Tells how many cores other programs kept busy since it was made, this process and its dead children left out."""

    MANY = 0.2

    def __init__(self) -> None:
        self._started, self._busy = time.monotonic(), self._others()

    def count_busy_cores(self) -> float:
        """Return how many cores were busy with something else, on average."""
        return max(0.0, (self._others() - self._busy) / (time.monotonic() - self._started))

    @staticmethod
    def _others() -> float:
        """Return the seconds of computing of all programs but this one and those of its children that have ended."""
        import psutil

        system = psutil.cpu_times()
        own = os.times()
        return float(
            sum(getattr(system, kind, 0.0) for kind in ("user", "nice", "system", "irq", "softirq", "steal"))
            - (own.user + own.system + own.children_user + own.children_system)
        )
