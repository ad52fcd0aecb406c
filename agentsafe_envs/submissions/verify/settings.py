"""Do the agent's fields and its settings say the same, and no result?"""

import re
from collections.abc import Iterator
from typing import Any, get_args

from agentsafe_envs.scoring.measures import MEASURES
from agentsafe_envs.scoring.scorecard import Overall
from agentsafe_envs.submissions.checking import Case, Check, Outcome, TrustLevel
from agentsafe_envs.submissions.verify.names import SEALS, SHORT_SEALS

WORDS = ("level", "trust", "trust_level", "verdict", "scorecard")
"""Further names of what is found here, next to words of trust, levels and measures."""


def _plain(name: str) -> str:
    """A name without signs, case, and the ``by`` of ``verified_by``."""
    return re.sub(r"[^a-z]", "", name.lower()).removesuffix("by")


RESULTS = frozenset(
    map(
        _plain,
        (
            *(*WORDS, *SEALS, *SHORT_SEALS, *get_args(TrustLevel)),
            *(measure.field for measure in MEASURES),
            *(name for name in Overall.model_fields if name.endswith("_rate")),
        ),
    )
)
"""What no setting is called. Names are compared whole: ``lora_rank`` is a setting."""


def _check(case: Case) -> Outcome:
    """Compare what stands in both places."""
    agent = case.submission.agent
    said = {"prompt_style": agent.prompt_style, "weights_sha256": agent.weights_sha256}
    for name, value in said.items():
        if name in agent.settings and agent.settings[name] != value:
            return Outcome("refused", f"{name} is {value!r}, and {agent.settings[name]!r} among the settings")
    if agent.kind == "scripted" and agent.settings != {"policy": agent.model}:
        return Outcome("refused", f"a scripted agent has one setting, its policy {agent.model!r}")
    if agent.kind == "scripted" and case.submission.distillation:
        return Outcome("refused", "a scripted agent was not distilled")
    if claim := next(filter(lambda name: _plain(name) in RESULTS, _names(agent.settings)), None):
        return Outcome("refused", f"the setting {claim!r} is a result or a level of trust, which is found, not said")
    return Outcome("passed", "agent and settings agree")


def _names(settings: Any) -> Iterator[str]:
    """Every name in the settings; the schema bounds their nesting."""
    if isinstance(settings, dict):
        yield from settings
    if isinstance(settings, dict | list):
        for each in settings.values() if isinstance(settings, dict) else settings:
            yield from _names(each)


CHECK = Check(70, "settings", "Fields and settings of the agent say the same, and no setting is a result.", _check)
