"""Do the agent's fields and its settings say the same?"""

from agentsafe_envs.submissions.checking import Case, Check, Outcome


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
    return Outcome("passed", "agent and settings agree")


CHECK = Check(70, "settings", "The agent's fields say the same as the settings that it was played with.", _check)
