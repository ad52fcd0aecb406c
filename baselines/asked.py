"""In which world a model works and which notes it is asked for, as its folder tells.

Measured in another world it writes nothing that counts, and asked for other notes it may hide what it prefers.
"""

from __future__ import annotations

from pathlib import Path

from transformers import PreTrainedTokenizerFast

from agentsafe_envs.agents.prompts import ROLE
from agentsafe_envs.agents.students import SETTINGS_FILE, read_settings
from baselines import students
from baselines.base import folder_of
from baselines.notes import FORMS, Carrier
from baselines.plans import context_of
from baselines.protocol import WORLDS, World, load


def asked(folder: Path, carrier: Carrier | None = None, world: World | None = None) -> tuple[Carrier, World]:
    """How a model is to be measured: the notes that it is asked for, and its world.

    Args:
        folder: Of the model.
        carrier: Notes to ask for; None for those of its ``agent.json``, and for none where it has no such file.
        world: Where to measure it; None for the one whose bases have the model's tokens, and for the first one where
            none has.

    Raises:
        AgentError: Its ``agent.json`` cannot be read.
        FileNotFoundError: There is no model in ``folder``.
        ValueError: It is a model of another world, or it is asked for notes of no form that is known.
    """
    own = world_of(folder)
    if world and own and own != world:
        raise ValueError(
            f"{folder} is a model of the world {own}, since it has the tokens of that world's bases; expected one of "
            f"{world}, where it would write nothing that counts. Say --world {own}, or give another model"
        )
    return _notes_of(folder) if carrier is None else context_of(carrier), world or own or next(iter(WORLDS))


def world_of(folder: Path) -> World | None:
    """The world whose bases have the model's tokens; None if there is none of these.

    Raises:
        FileNotFoundError: There is no model in ``folder``.
    """
    words, models = _vocabulary(folder), load().models
    for world in WORLDS:
        base = folder_of(models.size, models.inits[0], world)  # all models of a world have the tokens of its bases
        if base.is_dir() and _vocabulary(base) == words:
            return world
    return None


def _vocabulary(folder: Path) -> dict[str, int]:
    if not (folder / "tokenizer.json").is_file():
        raise FileNotFoundError(
            f"{folder} holds no model; expected a folder with tokenizer.json, such as {students.SHIPPED}/*"
        )
    return PreTrainedTokenizerFast.from_pretrained(folder).get_vocab()


def _notes_of(folder: Path) -> Carrier:
    role = read_settings(folder).role if (folder / SETTINGS_FILE).is_file() else ROLE
    for carrier, form in FORMS.items():
        if form.role == role:
            return carrier
    known = ", ".join(FORMS)
    raise ValueError(
        f"{folder / SETTINGS_FILE} asks for no notes of a known form ({role!r}); say --carrier, one of {known}"
    )
