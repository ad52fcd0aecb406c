"""Agents: scripted ones, any Python callable, and language models."""

from agentsafe_envs.agents.load import AgentOptions, load_agent
from agentsafe_envs.agents.protocol import Agent, AgentError, Conversation

__all__ = ["Agent", "AgentError", "AgentOptions", "Conversation", "load_agent"]
