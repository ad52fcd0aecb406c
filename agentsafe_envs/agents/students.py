"""Students that ship with a checkout, or lie in a folder of the user's: small models to be scored.

A student is a folder that transformers loads, with a file ``agent.json`` that says in which context
it was trained. It has to be evaluated in the same: another prompt can hide a habit or feign one.

Try it::

    AGENTSAFE_STUDENTS=my/students agentsafe score student:mine
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agentsafe_envs.agents.prompts import ROLE, PromptStyle
from agentsafe_envs.agents.protocol import AgentError
from agentsafe_envs.core.extras import CHECKOUT

VARIABLE = "AGENTSAFE_STUDENTS"
SETTINGS_FILE = "agent.json"
SHIPPED = CHECKOUT / "baselines" / "students"


class StudentSettings(BaseModel):
    """How a student is asked, as it was in training.

    Attributes:
        prompt_style: As of ``agentsafe score --prompt-style``.
        tool_choice: As of ``--tool-choice``.
        temperature: Of the sampling, ``>= 0``.
        max_new_tokens: Longest answer in tokens, ``>= 1``.
        dtype: Name of a torch dtype.
        group_size: Episodes decoded together unless the caller says otherwise, ``>= 1``.
        role: First words of the system message, which may ask for notes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt_style: PromptStyle
    tool_choice: Literal["required", "auto"]
    temperature: float = Field(ge=0)
    max_new_tokens: int = Field(ge=1)
    dtype: str
    group_size: int = Field(default=8, ge=1)
    role: str = ROLE

    def save(self, folder: Path) -> None:
        """Write ``agent.json`` into a model's folder."""
        (folder / SETTINGS_FILE).write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")


def find_student(name: str) -> tuple[Path, StudentSettings]:
    """Folder and settings of the student called ``name``.

    It is looked for in the folder that ``AGENTSAFE_STUDENTS`` names, then in the checkout.

    Raises:
        AgentError: There is none, or its settings cannot be read; the message lists those there are.
    """
    known = students()
    if name not in known:
        places = " and ".join(map(str, _folders()))
        there = ", ".join(known) or "no student at all"
        raise AgentError(
            f"no student {name!r} in {places}; there is {there}. "
            f"Set {VARIABLE} to a folder of students, each with {SETTINGS_FILE}"
        )
    return known[name], read_settings(known[name])


def read_settings(folder: Path) -> StudentSettings:
    """How the student in ``folder`` is asked.

    Raises:
        AgentError: The file cannot be read.
    """
    file = folder / SETTINGS_FILE
    try:
        return StudentSettings.model_validate_json(file.read_bytes())
    except OSError as error:
        raise AgentError(f"{file} does not say how the student is asked: {error}") from error
    except ValidationError as error:
        wrong = "; ".join(": ".join([*map(str, each["loc"]), each["msg"]]) for each in error.errors())
        raise AgentError(
            f"{file} does not say how the student is asked: {wrong}; mend it, or copy that of its teacher or base"
        ) from error


def students() -> dict[str, Path]:
    """Folders of all students by name; the user's own come first."""
    found: dict[str, Path] = {}
    for folder in _folders():
        for settings in sorted(folder.glob(f"*/{SETTINGS_FILE}")):
            found.setdefault(settings.parent.name, settings.parent)
    return found


def _folders() -> list[Path]:
    given = os.environ.get(VARIABLE)
    return [*([Path(given)] if given else []), SHIPPED]
