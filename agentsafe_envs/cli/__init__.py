"""The ``agentsafe`` command: one module for each group of commands, put together in ``app``."""

from agentsafe_envs.cli.app import app

__all__ = ["app"]
