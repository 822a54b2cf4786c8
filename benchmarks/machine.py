"""One line that says where and when a figure was measured."""

from __future__ import annotations

import os
from datetime import UTC, datetime

from loracle.comparison.ledger import machine, versions


def describe_machine() -> str:
    """Return processor, cores, load, versions and date on one line."""
    found, used = machine(), versions()
    gpu = f", {found['gpu']}" if found["gpu"] else ""
    return (
        f"{found['processor']}, {found['cores']} cores{gpu}, load {os.getloadavg()[0]:.1f}; "
        f"Python {used['python']}, torch {used['torch']}, transformers {used['transformers']}; "
        f"{datetime.now(UTC):%d %B %Y}"
    )
