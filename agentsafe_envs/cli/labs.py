"""``agentsafe grade``: runs the grader of a checkout's labs, which the library itself knows nothing of."""

from __future__ import annotations

import os
import subprocess
import sys

import typer

from agentsafe_envs.core.extras import CHECKOUT

FORWARDED = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}
"""Every option is the grader's, ``--help`` too."""


def grade(context: typer.Context) -> None:
    """Grade submissions of a course lab: `agentsafe grade LAB FILE|FOLDER`; `--help` lists the options.

    Hidden cases run in a sandbox. The exit status is that of the grader: 1 where a submission could not be graded.
    """
    if not (CHECKOUT / "labs" / "__main__.py").is_file():
        raise FileNotFoundError(f"{CHECKOUT} holds no labs; they come with a checkout of the repository, so clone it")
    paths = [str(CHECKOUT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-m", "labs", "grade", *context.args]
    raise typer.Exit(subprocess.run(command, env=environment, check=False).returncode)
