"""What a reader needs to know of the machine that the times in docs/performance.md come from."""

from __future__ import annotations

import os
from typing import Any

LOAD_BEFORE = os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def pytest_benchmark_update_machine_info(config: object, machine_info: dict[str, Any]) -> None:
    """Add cores and how busy the machine was before the first measurement."""
    machine_info["cores"] = os.cpu_count()
    machine_info["load_before"] = LOAD_BEFORE
