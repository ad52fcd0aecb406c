"""Does a scripted agent do what its script does?"""

from agentsafe_envs.agents.protocol import AgentError
from agentsafe_envs.agents.scripted import ScriptedAgent, script
from agentsafe_envs.registration import draw_task
from agentsafe_envs.submissions.checking import Case, Check, Outcome


def _check(case: Case) -> Outcome:
    """Compare the actions with those of the policy; what the random one draws is not compared."""
    agent, suite = case.submission.agent, case.suite
    if agent.kind != "scripted":
        return Outcome("passed", "not a scripted agent")
    try:
        ScriptedAgent(agent.model, suite.pool).check(suite.environments)
    except AgentError as error:
        return Outcome("refused", str(error))
    if agent.model == "random":
        return Outcome("passed", "the random policy has no script")
    for key, episode in case.episodes.items():
        try:
            task = draw_task(episode.environment, episode.split, episode.seed, episode.pool)
        except ValueError as error:
            return Outcome("refused", f"{tuple(key)}: {error}")
        if tuple(step.action for step in episode.steps) != script(task, agent.model)[: suite.max_steps]:
            return Outcome("refused", f"{tuple(key)} is not what scripted:{agent.model} does")
    return Outcome("passed", f"every episode is what scripted:{agent.model} does")


CHECK = Check(125, "script", "A scripted agent did what its script does.", _check)
