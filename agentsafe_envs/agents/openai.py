"""A model behind any OpenAI-compatible chat API, asked with the official SDK.

Try it with a server of your own::

    pip install "agentsafe-envs[openai]" "transformers[serving]"
    transformers serve --port 8000 &
    agentsafe score openai:Qwen/Qwen3-0.6B --base-url http://localhost:8000/v1 --tool-choice auto

or, with ``OPENAI_API_KEY`` set, ``agentsafe score openai:gpt-5-mini``. The key is read from that
variable, sent to the base URL, and written nowhere.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Sequence
from multiprocessing.pool import ThreadPool
from typing import Any, Literal
from urllib.parse import urlsplit

from agentsafe_envs.agents.identity import identity
from agentsafe_envs.agents.openai_errors import (
    Refusal,
    asks_for_too_long_an_answer,
    connection_words,
    context_is_full,
    cure,
    is_filtered,
    is_hopeless,
    names_the_key,
    read_refusal,
)
from agentsafe_envs.agents.openai_messages import (
    RefusalInBodyError,
    action_of,
    as_it_came,
    is_withheld,
    names_a_field,
    note_usage,
    on_the_wire,
    read_completion,
)
from agentsafe_envs.agents.prompts import ChatTemplate, PromptStyle, chat_messages
from agentsafe_envs.agents.protocol import AgentError, Answer, Conversation, HopelessError
from agentsafe_envs.core.extras import install_hint

KEY_VARIABLE = "OPENAI_API_KEY"
URL_VARIABLE = "OPENAI_BASE_URL"
SHORTEST_SECRET = 8
"""Characters; a shorter key protects nothing."""

RETRIES = 5
"""Of one request, by the SDK, after a lost connection, a time-out, a rate limit or a server's error."""

FILTERED = "(the service's content filter withheld this answer)"
"""The action where a filter answers in the agent's place: no call, and so scored as a refusal."""

TokensField = Literal["max_completion_tokens", "max_tokens"]


class OpenAIAgent:
    """Asks a chat API for each action.

    What the service answers is the agent's conduct: prose, a refusal, an answer cut off. So is a
    conversation that outgrows the model's context; the episode then gets the empty action. A service
    that gives no answer is a failure of the machinery: that episode stays unscored, and the others of
    its group go on. Fields of an answer that the protocol does not know are sent back as they came.

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
        max_tokens_field: Name under which ``max_new_tokens`` is sent; older servers know ``"max_tokens"`` only.

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
        max_tokens_field: TokensField = "max_completion_tokens",
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
        self._tokens_field: TokensField = max_tokens_field
        self._sampling = {"temperature": temperature, "seed": seed, max_tokens_field: max_new_tokens}
        self._said: weakref.WeakKeyDictionary[Conversation, dict[int, dict[str, Any]]] = weakref.WeakKeyDictionary()
        self._sends_fields_back = True
        self.client = _client(base_url, timeout_s)
        weakref.finalize(self, self.client.close)  # of itself it leaves its connections open
        self._check()

    def start(self, seed: int) -> None:
        """Nothing to do: a service is told each conversation whole."""

    def act(self, conversations: Sequence[Conversation]) -> list[Answer]:
        """One action for each conversation, asked for at the same time; an error where there was no answer.

        Raises:
            HopelessError: The service will never answer.
            AgentError: It answered in none of the conversations.
        """
        for conversation in conversations:
            self._said.setdefault(conversation, {})
        # Its threads are daemons: after Ctrl-C nobody waits for answers.
        with ThreadPool(len(conversations)) as pool:
            answers = pool.map(self._try, conversations, chunksize=1)
        errors = [answer for answer in answers if isinstance(answer, AgentError)]
        hopeless = [error for error in errors if isinstance(error, HopelessError)]
        if hopeless or len(errors) == len(answers) > 0:
            raise (hopeless or errors)[0]
        return answers

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
            "max_new_tokens": self._sampling[self._tokens_field],
            "max_tokens_field": self._tokens_field,
            "group_size": self.group_size,
            "seed": self._sampling["seed"],
            "openai": version("openai"),
            # Where the service is and how long it may take does not decide what it answers.
            "identity": identity(
                {},
                model=self._model,
                prompt_style=self._style,
                tool_choice=self._choice,
                temperature=self._sampling["temperature"],
                max_new_tokens=self._sampling[self._tokens_field],
                seed=self._sampling["seed"],
            ),
        }

    def _try(self, conversation: Conversation) -> Answer:
        try:
            return self._ask(conversation)
        except AgentError as error:
            return error

    def _ask(self, conversation: Conversation) -> str:
        from openai import APIError, APIStatusError

        request: dict[str, Any] = {name: value for name, value in self._sampling.items() if value is not None}
        if self._style == "json":
            request |= {"tools": list(conversation.tools), "tool_choice": self._choice}
        conversation.usage.requests += 1
        while True:
            messages = self._messages(conversation)
            try:
                raw = self.client.chat.completions.with_raw_response.create(
                    model=self._model, messages=messages, **request
                )
                answer = read_completion(raw.http_response.text)
                choice = answer["choices"][0]
                message = choice["message"]
                chosen = action_of(message, conversation.tools)
            except (APIStatusError, RefusalInBodyError) as error:
                refusal = _refusal(error)
                if is_filtered(refusal):
                    return FILTERED
                too_long = asks_for_too_long_an_answer(refusal)
                if context_is_full(refusal) and (conversation.steps or not too_long):
                    return ""
                if names_a_field(refusal, messages):
                    self._sends_fields_back = False
                    continue
                raise self._no_answer(error) from error
            except (APIError, AttributeError, LookupError, TypeError, ValueError) as error:  # or what is no answer
                raise self._no_answer(error) from error
            note_usage(conversation.usage, answer)
            self._said[conversation][len(conversation.steps)] = message
            return FILTERED if is_withheld(choice) and not chosen else chosen

    def _messages(self, conversation: Conversation) -> list[dict[str, Any]]:
        """The conversation as the API takes it, earlier answers with the fields that they came with."""
        native = self._style == "json"
        messages = chat_messages(conversation, self._style, ChatTemplate(tools=native, system=True))
        for step, said in self._said[conversation].items():
            # A system message and the task come first, then an answer and its result for each step.
            place = 2 + 2 * step
            if place + 1 >= len(messages):
                continue
            messages[place] = as_it_came(messages[place], said, with_fields=self._sends_fields_back)
            if "tool_calls" in messages[place]:
                messages[place + 1] |= {"tool_call_id": messages[place]["tool_calls"][0]["id"]}
        return [on_the_wire(each) for each in messages]

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
        kind = AgentError
        if isinstance(error, APITimeoutError):
            text = f"no answer from {url} in {self.client.timeout} s; raise --timeout, or lower --group-size"
        elif isinstance(error, APIConnectionError):
            text = f"cannot reach {url}: {connection_words(error, str(url))}"
        elif isinstance(error, APIStatusError | RefusalInBodyError):
            refusal = _refusal(error)
            kind = HopelessError if is_hopeless(refusal) else AgentError
            if refusal.status != 200 or kind is HopelessError:
                text = f"{url} {self._refused(refusal)}"
            else:
                text = f"{url} gave no chat completion: {error}"
        else:
            text = f"{url} gave no chat completion: {error or type(error).__name__}"
        return kind(f"{self.name}: {self._without_key(text)}")

    def _refused(self, refusal: Refusal) -> str:
        if names_the_key(refusal):  # many services repeat a part of the key
            return f"refused the key ({refusal.status}); set {KEY_VARIABLE} to one that it takes"
        option = "a lower --max-new-tokens" if asks_for_too_long_an_answer(refusal) else cure(refusal)
        if refusal.status == 404 and not option:
            return (
                f"knows no such model, or is no OpenAI-compatible API ({refusal.words}); --base-url often ends in /v1"
            )
        return f"refused with {refusal.status}: {refusal.words}" + (f"; try {option}" if option else "")

    def _without_key(self, text: str) -> str:
        key = self.client.api_key
        # A server of one's own takes any word for a key; to cut "x" out of a message would only garble it.
        return text.replace(key, f"[{KEY_VARIABLE}]") if len(key) >= SHORTEST_SECRET else text


def _client(base_url: str | None, timeout_s: float) -> Any:
    """The SDK's client.

    Raises:
        AgentError: No SDK, no key where one is needed, or a URL that is none or holds a secret.
    """
    try:
        from openai import DefaultHttpxClient, OpenAI
    except ImportError as error:
        raise AgentError(f"openai: agents need the package openai: {install_hint('openai')} ({error})") from error
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
    if key is not None and not (key.isascii() and key.isprintable() and " " not in key):
        found = "a line break" if "\n" in key or "\r" in key else "a blank or a letter that no key has"
        raise AgentError(
            f"{KEY_VARIABLE} holds {found}; set it to the key alone, for instance without its last newline"
        )
    try:
        http_client = DefaultHttpxClient(event_hooks={"response": [_do_not_repeat_what_cannot_heal]})
        # A server of one's own asks for no key, but the SDK does.
        return OpenAI(
            api_key=key or "no-key", base_url=url, timeout=timeout_s, max_retries=RETRIES, http_client=http_client
        )
    except (
        ImportError,
        ValueError,
    ) as error:  # of httpx, for a SOCKS proxy without its package, or a proxy's strange URL
        raise AgentError(
            f"a proxy that the environment names cannot be used: {str(error).splitlines()[0]}; for SOCKS, "
            "pip install socksio; else mend or unset HTTP_PROXY, HTTPS_PROXY and ALL_PROXY, or set NO_PROXY"
        ) from error


def _refusal(error: Any) -> Refusal:
    """What a service said instead of an answer: in an error of the SDK, or in a body with status 200."""
    known = isinstance(error, RefusalInBodyError)
    return error.refusal if known else read_refusal(error.status_code, error.response.text)


def _do_not_repeat_what_cannot_heal(response: Any) -> None:
    """Tell the SDK, which repeats whatever comes with status 429 or a server's error, where that is in vain."""
    if response.status_code == 429 or response.status_code >= 500:
        response.read()
        refusal = read_refusal(response.status_code, response.text)
        if is_hopeless(refusal) or is_filtered(refusal) or context_is_full(refusal):
            response.headers["x-should-retry"] = "false"
