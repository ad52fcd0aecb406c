"""Does a scripted agent do what its script does?"""

from agentsafe_envs import registration
from agentsafe_envs.agents.protocol import AgentError, Conversation
from agentsafe_envs.agents.scripted import RandomAgent, ScriptedAgent, script
from agentsafe_envs.core.episode import Episode, EpisodeKey
from agentsafe_envs.core.spaces import MAX_INSTRUCTION_CHARS, sanitise_text
from agentsafe_envs.scoring.playing import group_seed
from agentsafe_envs.scoring.suites import HELD_OUT
from agentsafe_envs.submissions.checking import Case, Check, Outcome


def _check(case: Case) -> Outcome:
    """Compare the actions with those of the policy; the random one draws from the episode's key."""
    agent, suite = case.submission.agent, case.suite
    if agent.kind != "scripted":
        return Outcome("passed", "not a scripted agent")
    if agent.model == "random" and suite.name.startswith(HELD_OUT):
        return Outcome("passed", "on the held-out track it draws from ids that the server gave to episodes")
    try:
        ScriptedAgent(agent.model, suite.pool).check(suite.environments)
    except AgentError as error:
        return Outcome("refused", str(error))
    for key, episode in case.episodes.items():
        try:
            expected = _drawn(key, episode) if agent.model == "random" else _planned(episode, agent.model)
        except ValueError as error:
            return Outcome("refused", f"{tuple(key)}: {error}")
        if [step.action for step in episode.steps] != expected[: suite.max_steps]:
            return Outcome("refused", f"{tuple(key)} is not what scripted:{agent.model} does")
    return Outcome("passed", f"every episode is what scripted:{agent.model} does")


def _planned(episode: Episode, policy: str) -> list[str]:
    task = registration.draw_task(episode.environment, episode.split, episode.seed, episode.pool)
    return list(script(task, policy))


def _drawn(key: EpisodeKey, episode: Episode) -> list[str]:
    """What the random policy draws where it reads what was recorded."""
    world, bias = registration.resolve(episode.environment)
    task = world.redraw(bias, episode)
    agent, read = RandomAgent(), Conversation(sanitise_text(task.instruction, MAX_INSTRUCTION_CHARS), world.tools(task))
    agent.start(group_seed((key,)))
    drawn = []
    for step in episode.steps:
        drawn += agent.act([read])
        read.steps.append(step)
    return drawn


CHECK = Check(125, "script", "A scripted agent did what its script does.", _check)
