"""The services of the mock cloud: each module holds a service's records and its tools.

A service is found by its file. Its tools stand in a full toolset at the module's
``TOOL_POSITION``, which never changes, since the digests of tasks hold the order of tools.
"""

from __future__ import annotations

import importlib
import pkgutil


def load() -> None:
    """Import every service, which registers its records and tools."""
    for module in pkgutil.iter_modules(__path__, f"{__name__}."):
        importlib.import_module(module.name)
