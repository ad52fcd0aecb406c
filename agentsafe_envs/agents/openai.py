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
from collections.abc import Iterable, Mapping, Sequence
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
    page_words,
    read_refusal,
)
from agentsafe_envs.agents.parsing import canonical_action
from agentsafe_envs.agents.prompts import ChatTemplate, PromptStyle, chat_messages
from agentsafe_envs.agents.protocol import AgentError, Answer, Conversation, HopelessError, Usage
from agentsafe_envs.core.extras import install_hint

KEY_VARIABLE = "OPENAI_API_KEY"
URL_VARIABLE = "OPENAI_BASE_URL"

RETRIES = 5
"""Of one request, by the SDK, after a lost connection, a time-out, a rate limit or a server's error."""

FILTERED = "(the service's content filter withheld this answer)"
"""The action where a filter answers in the agent's place: no call, and so scored as a refusal."""

NO_ANSWER, NO_OUTPUT = "(no answer)", "(no output)"
"""Sent for an answer or a result without text, since many services refuse empty messages."""

TokensField = Literal["max_completion_tokens", "max_tokens"]

_OWN_FIELDS = frozenset({"role", "content", "tool_calls", "function_call", "refusal", "audio", "annotations"})
"""Of an answer; its other fields are the service's own, for instance a model's thoughts."""


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
                answer = _read_completion(raw.http_response.text)
                message, choice = answer["choices"][0]["message"], answer["choices"][0]
                action = _action(message, conversation.tools)
            except APIStatusError as error:
                refusal = read_refusal(error.status_code, error.response.text)
                if is_filtered(refusal):
                    return FILTERED
                too_long = asks_for_too_long_an_answer(refusal)
                if context_is_full(refusal) and (conversation.steps or not too_long):
                    return ""
                if self._sends_fields_back and _names_a_field(refusal, messages):
                    self._sends_fields_back = False
                    continue
                raise self._no_answer(error) from error
            except (APIError, AttributeError, LookupError, TypeError, ValueError) as error:  # or what is no answer
                raise self._no_answer(error) from error
            _note_usage(conversation.usage, answer)
            self._said[conversation][len(conversation.steps)] = message
            filtered = choice.get("finish_reason") == "content_filter" and not action
            return FILTERED if filtered else action

    def _messages(self, conversation: Conversation) -> list[dict[str, Any]]:
        """The conversation as the API takes it, earlier answers with the fields that they came with."""
        native = self._style == "json"
        messages = chat_messages(conversation, self._style, ChatTemplate(tools=native, system=True))
        for step, said in self._said[conversation].items():
            # A system message and the task come first, then an answer and its result for each step.
            place = 2 + 2 * step
            if place + 1 >= len(messages):
                continue
            messages[place] = _as_it_came(messages[place], said, with_fields=self._sends_fields_back)
            if "tool_calls" in messages[place]:
                messages[place + 1] |= {"tool_call_id": messages[place]["tool_calls"][0]["id"]}
        return [_on_the_wire(each) for each in messages]

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
        elif isinstance(error, APIStatusError):
            refusal = read_refusal(error.status_code, error.response.text)
            kind = HopelessError if is_hopeless(refusal) else AgentError
            text = f"{url} {self._refused(refusal)}"
        else:
            text = f"{url} gave no chat completion: {error or type(error).__name__}"
        return kind(f"{self.name}: {self._without_key(text)}")

    def _refused(self, refusal: Refusal) -> str:
        if refusal.status in (401, 403):  # many services repeat a part of the key
            return f"refused the key ({refusal.status}); set {KEY_VARIABLE} to one that it takes"
        if refusal.status == 404:
            return (
                f"knows no such model, or is no OpenAI-compatible API ({refusal.words}); --base-url often ends in /v1"
            )
        option = "a lower --max-new-tokens" if asks_for_too_long_an_answer(refusal) else cure(refusal)
        return f"refused with {refusal.status}: {refusal.words}" + (f"; try {option}" if option else "")

    def _without_key(self, text: str) -> str:
        return text.replace(self.client.api_key, f"[{KEY_VARIABLE}]")


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


def _do_not_repeat_what_cannot_heal(response: Any) -> None:
    """Tell the SDK, which repeats whatever comes with status 429, where that is in vain."""
    if response.status_code == 429:
        response.read()
        if is_hopeless(read_refusal(429, response.text)):
            response.headers["x-should-retry"] = "false"


def _as_it_came(message: Mapping[str, Any], said: Mapping[str, Any], *, with_fields: bool) -> dict[str, Any]:
    """An earlier answer with the id, the thoughts and whatever else the service gave it."""
    fields = {
        name: value for name, value in said.items() if name not in _OWN_FIELDS and value not in (None, "", [], {})
    }
    sent = {**message, **(fields if with_fields else {})}
    calls = said.get("tool_calls") or []
    if "tool_calls" in message and calls:
        (ours,) = message["tool_calls"]
        came = {name: value for name, value in calls[0].items() if value is not None and name != "index"}
        function = {**(came.get("function") or {}), **ours["function"]}
        sent["tool_calls"] = [{**ours, **came, "function": function}]
        sent["content"] = said.get("content") or None
    elif not calls and isinstance(said.get("content"), list) and "tool_calls" not in message:
        sent["content"] = said["content"]
    return sent


def _names_a_field(refusal: Refusal, messages: Iterable[Mapping[str, Any]]) -> bool:
    """Whether a service refuses a field that came from itself; some give thoughts and do not take them."""
    known = _OWN_FIELDS | {"tool_call_id", "name"}
    fields = {name for message in messages for name in message.keys() - known}
    return refusal.status in (400, 422) and any(name in refusal.words for name in fields)


def _on_the_wire(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message as the API takes it: arguments as text, nothing empty, no name next to a result, Unicode only."""
    sent = {name: value for name, value in message.items() if name != "name"}
    if "tool_calls" in sent:
        sent["tool_calls"] = [
            call | {"function": call["function"] | {"arguments": json.dumps(call["function"]["arguments"])}}
            for call in sent["tool_calls"]
        ]
        sent["content"] = sent["content"] or None
    elif isinstance(sent["content"], str) and not sent["content"].strip():
        sent["content"] = NO_ANSWER if sent["role"] == "assistant" else NO_OUTPUT
    # Half a surrogate pair in an earlier answer would fail here, and what a model wrote is never a failure.
    return json.loads(json.dumps(sent, ensure_ascii=False).encode(errors="replace"))


def _read_completion(text: str) -> dict[str, Any]:
    """The chat completion in a body, also where it comes as a stream that was not asked for.

    Raises:
        ValueError: There is none.
    """
    if text.lstrip().startswith(("data:", "event:", ":")):
        return _joined(text)
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(f"no JSON, but {page_words(text)!r}") from None
    if not isinstance(answer, dict) or not answer.get("choices"):
        raise ValueError(f"no choices, but {read_refusal(200, text).words}")
    return answer


def _joined(stream: str) -> dict[str, Any]:
    """The completion that the chunks of a stream add up to."""
    message: dict[str, Any] = {"role": "assistant", "content": None}
    calls: dict[int, dict[str, Any]] = {}
    answer: dict[str, Any] = {}
    reason = None
    for line in stream.splitlines():
        data = line.removeprefix("data:").strip()
        if not line.startswith("data:") or data == "[DONE]":
            continue
        chunk = json.loads(data)
        answer |= {name: chunk[name] for name in ("model", "usage") if chunk.get(name)}
        for choice in chunk.get("choices") or []:
            reason = choice.get("finish_reason") or reason
            for name, value in (choice.get("delta") or {}).items():
                if name == "tool_calls":
                    for call in value or []:
                        _add(calls.setdefault(call.get("index", 0), {}), call)
                elif name != "role":
                    _add(message, {name: value})
    if calls:
        message["tool_calls"] = [calls[index] for index in sorted(calls)]
    if message["content"] is None and not calls:
        raise ValueError(f"a stream without an answer: {page_words(stream)!r}")
    return answer | {"choices": [{"message": message, "finish_reason": reason}]}


def _add(whole: dict[str, Any], part: Mapping[str, Any]) -> None:
    """Append a chunk's texts to what came before."""
    for name, value in part.items():
        if isinstance(value, dict):
            _add(whole.setdefault(name, {}), value)
        elif isinstance(value, str) and isinstance(whole.get(name), str) and name not in ("id", "type"):
            whole[name] += value
        elif value is not None:
            whole[name] = value


def _action(message: Mapping[str, Any], tools: Sequence[Mapping[str, Any]]) -> str:
    """The first call of an answer, or else its words; further calls would be further actions."""
    calls = message.get("tool_calls") or (
        [{"function": message["function_call"]}] if message.get("function_call") else []
    )
    if calls:
        function = calls[0]["function"]
        arguments = function.get("arguments")
        call = {"name": function["name"], "arguments": {} if arguments is None else arguments}
        return canonical_action(json.dumps(call), tools)
    return canonical_action(_words(message.get("content")) or message.get("refusal") or "", tools)


def _words(content: Any) -> str:
    """An answer's text; of parts those that are text, without a model's thoughts."""
    if not isinstance(content, list):
        return content or ""
    parts = [part if isinstance(part, dict) else {"type": "text", "text": str(part)} for part in content]
    return "".join(
        str(part.get("text") or part.get("refusal") or "") for part in parts if part.get("type") != "thinking"
    )


def _note_usage(usage: Usage, answer: Mapping[str, Any]) -> None:
    usage.models.add(str(answer.get("model")))
    usage.cut_answers += answer["choices"][0].get("finish_reason") == "length"
    counted = answer.get("usage") or {}
    usage.prompt_tokens += counted.get("prompt_tokens") or 0
    usage.completion_tokens += counted.get("completion_tokens") or 0
