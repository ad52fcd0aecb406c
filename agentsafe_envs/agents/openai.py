"""A model behind any OpenAI-compatible chat API, asked with the official SDK.

Try it with a server of your own::

    pip install "agentsafe-envs[openai]" "transformers[serving]"
    transformers serve --port 8000 &
    agentsafe score openai:Qwen/Qwen3-0.6B --base-url http://localhost:8000/v1 --tool-choice auto

or, with ``OPENAI_API_KEY`` set, ``agentsafe score openai:gpt-5-mini``. The key is read from that
variable, sent to the base URL, and written nowhere.
"""

from __future__ import annotations

import json
import os
import weakref
from collections.abc import Mapping, Sequence
from multiprocessing.pool import ThreadPool
from typing import Any, Literal
from urllib.parse import urlsplit

from agentsafe_envs.agents.parsing import canonical_action
from agentsafe_envs.agents.prompts import ChatTemplate, PromptStyle, chat_messages
from agentsafe_envs.agents.protocol import AgentError, Conversation, Usage

INSTALL = 'pip install "agentsafe-envs[openai]"'
KEY_VARIABLE = "OPENAI_API_KEY"
URL_VARIABLE = "OPENAI_BASE_URL"

RETRIES = 5
"""Of one request, by the SDK, after a lost connection, a time-out, a rate limit or a server's error."""

_CONTEXT_CODES = {"context_length_exceeded", "exceed_context_size_error"}
_CONTEXT_WORDS = "maximum context length"


class OpenAIAgent:
    """Asks a chat API for each action.

    What the service answers is the agent's conduct: prose, a refusal, an answer cut off. So is a
    conversation that outgrows the model's context; the episode then gets the empty action. A service
    that gives no answer is a failure of the machinery, and the group's episodes stay unscored.

    Args:
        model: As the service calls it.
        base_url: Where the API is, up to ``/v1``; None for ``OPENAI_BASE_URL``, or else OpenAI's own.
        prompt_style: ``"json"`` passes schemas and results through the API's own fields for tools;
            ``"signature"`` writes tools into the system message and reads calls out of the answer's text.
        tool_choice: ``"required"`` asks the API for a call in every answer, which some servers ignore;
            ``"auto"`` does not. None takes the first with ``"json"``, and ``"signature"`` has only the second.
        temperature: ``>= 0``; None leaves it to the service.
        max_new_tokens: Longest answer in tokens, ``>= 1``; a model's thoughts count.
        group_size: Episodes played together, and so the most requests at a time, ``>= 1``.
        seed: Sent with each request, for services that know it; None sends none.
        timeout_s: Longest wait for one answer, ``> 0``.

    Raises:
        AgentError: The SDK or the key is missing, or there is no such API at ``base_url``.
        ValueError: Another argument is out of its range.
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        prompt_style: PromptStyle = "json",
        tool_choice: Literal["required", "auto"] | None = None,
        temperature: float | None = None,
        max_new_tokens: int = 1024,
        group_size: int = 8,
        seed: int | None = None,
        timeout_s: float = 120.0,
    ) -> None:
        if not model:
            raise AgentError("openai: names no model; expected openai:<model>, for instance openai:gpt-5-mini")
        if prompt_style == "signature" and tool_choice == "required":
            raise AgentError(
                "in prompt style 'signature' tools are mere text to the API, so it cannot require a call; "
                "use --prompt-style json, or --tool-choice auto"
            )
        for option, value in (("max_new_tokens", max_new_tokens), ("group_size", group_size)):
            if value < 1:
                raise ValueError(f"{option} {value}; expected at least 1")
        self.name = f"openai:{model}"
        self.group_size = group_size
        self._model = model
        self._style: PromptStyle = prompt_style
        self._choice = tool_choice or ("required" if prompt_style == "json" else "auto")
        self._sampling = {"temperature": temperature, "seed": seed, "max_completion_tokens": max_new_tokens}
        self.client = _client(base_url, timeout_s)
        weakref.finalize(self, self.client.close)  # of itself it leaves its connections open
        self._check()

    def start(self, seed: int) -> None:
        """Nothing to do: a service is told each conversation whole."""

    def act(self, conversations: Sequence[Conversation]) -> list[str]:
        """One action for each conversation, asked for at the same time.

        Raises:
            AgentError: The service gave no answer to one of them.
        """
        # Its threads are daemons: after Ctrl-C nobody waits for answers.
        with ThreadPool(len(conversations)) as pool:
            return pool.map(self._ask, conversations, chunksize=1)

    def describe(self) -> dict[str, Any]:
        """Everything that a reader needs to repeat the run, in plain JSON types."""
        from importlib.metadata import version

        return {
            "agent": "openai",
            "model": self._model,
            "base_url": str(self.client.base_url),
            "prompt_style": self._style,
            "tool_choice": self._choice,
            "temperature": self._sampling["temperature"],
            "max_new_tokens": self._sampling["max_completion_tokens"],
            "group_size": self.group_size,
            "seed": self._sampling["seed"],
            "openai": version("openai"),
        }

    def _ask(self, conversation: Conversation) -> str:
        from openai import APIError, BadRequestError

        native = self._style == "json"
        messages = chat_messages(conversation, self._style, ChatTemplate(tools=native, system=True))
        request: dict[str, Any] = {name: value for name, value in self._sampling.items() if value is not None}
        if native:
            request |= {"tools": list(conversation.tools), "tool_choice": self._choice}
        conversation.usage.requests += 1
        try:
            answer = self.client.chat.completions.create(
                model=self._model, messages=[_on_the_wire(each) for each in messages], **request
            )
            _note_usage(conversation.usage, answer)
            return _action(answer.choices[0].message, conversation.tools)
        except BadRequestError as error:
            if error.code in _CONTEXT_CODES or error.type in _CONTEXT_CODES or _CONTEXT_WORDS in error.message:
                return ""
            raise self._no_answer(error) from error
        except (APIError, AttributeError, IndexError, TypeError, ValueError) as error:  # or what is no answer at all
            raise self._no_answer(error) from error

    def _check(self) -> None:
        """Ask for the list of models, which costs nothing and shows a wrong address or key at once."""
        from openai import APIConnectionError, APIError, AuthenticationError, NotFoundError, PermissionDeniedError

        try:
            self.client.with_options(max_retries=0).models.with_raw_response.list()
        except (APIConnectionError, AuthenticationError, NotFoundError, PermissionDeniedError) as error:
            raise self._no_answer(error) from error
        except APIError:
            pass  # an API without such a list may answer all the same

    def _no_answer(self, error: Exception) -> AgentError:
        """What went wrong and what to do, without the key, which some services repeat in full or in part."""
        from openai import APIConnectionError, APIStatusError, APITimeoutError

        url = self.client.base_url
        if isinstance(error, APITimeoutError):
            text = f"no answer from {url} in {self.client.timeout} s; raise --timeout, or lower --group-size"
        elif isinstance(error, APIConnectionError):
            text = f"cannot reach {url}; expected --base-url to lead to a running server, up to /v1"
        elif isinstance(error, APIStatusError) and error.status_code in (401, 403):
            text = f"{url} refused the key ({error.status_code}); set {KEY_VARIABLE} to one that it takes"
        elif isinstance(error, APIStatusError) and error.status_code == 404:
            said = self._said(error)
            text = f"{url} knows no such model, or is no OpenAI-compatible API ({said}); --base-url often ends in /v1"
        elif isinstance(error, APIStatusError):
            text = f"{url} refused with {error.status_code}: {self._said(error)}"
        else:
            text = f"{url} gave no chat completion: {type(error).__name__}: {self._said(error)}"
        return AgentError(f"{self.name}: {text}")

    def _said(self, error: Exception) -> str:
        from openai import APIStatusError

        # Not every service wraps what it says as the SDK expects, and the SDK leaves out the rest.
        body = error.response.text.strip() if isinstance(error, APIStatusError) else ""
        return (body or str(error)).replace(self.client.api_key, f"[{KEY_VARIABLE}]")[:500]


def _client(base_url: str | None, timeout_s: float) -> Any:
    """The SDK's client.

    Raises:
        AgentError: No SDK, no key where one is needed, or a URL that is none or holds a secret.
    """
    try:
        from openai import OpenAI
    except ImportError as error:
        raise AgentError(f"openai: agents need the package openai: {INSTALL} ({error})") from error
    url = base_url or os.environ.get(URL_VARIABLE)
    if url:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise AgentError(f"base URL is {url!r}, expected http://... or https://..., up to /v1")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise AgentError(
                f"the base URL of {parts.hostname} holds a user, a password or a query, and it is written into every "
                f"scorecard; put the key into {KEY_VARIABLE}"
            )
    key = os.environ.get(KEY_VARIABLE)
    if not key and not url:
        raise AgentError(f"no API key; set {KEY_VARIABLE}, or name a server of your own with --base-url")
    # A server of one's own asks for no key, but the SDK does.
    return OpenAI(api_key=key or "no-key", base_url=url, timeout=timeout_s, max_retries=RETRIES)


def _on_the_wire(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message as the API takes it: arguments of calls as text, no name beside a result, nothing but Unicode."""
    sent = {name: value for name, value in message.items() if name != "name"}
    if "tool_calls" in sent:
        sent["tool_calls"] = [
            call | {"function": call["function"] | {"arguments": json.dumps(call["function"]["arguments"])}}
            for call in sent["tool_calls"]
        ]
    # Half a surrogate pair in an earlier answer would fail here, and what a model wrote is never a failure.
    return json.loads(json.dumps(sent, ensure_ascii=False).encode(errors="replace"))


def _action(message: Any, tools: Sequence[Mapping[str, Any]]) -> str:
    """The first call of an answer, or else its words; further calls would be further actions."""
    if message.tool_calls:
        function = message.tool_calls[0].function
        return canonical_action(json.dumps({"name": function.name, "arguments": function.arguments}), tools)
    return canonical_action(message.content or message.refusal or "", tools)


def _note_usage(usage: Usage, answer: Any) -> None:
    usage.models.add(str(answer.model))
    usage.cut_answers += answer.choices[0].finish_reason == "length"
    if answer.usage is not None:
        usage.prompt_tokens += answer.usage.prompt_tokens or 0
        usage.completion_tokens += answer.usage.completion_tokens or 0
