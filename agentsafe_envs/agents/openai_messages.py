"""Messages as a service takes and sends them: fields as they came, parts and streams joined."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from agentsafe_envs.agents.openai_errors import Refusal, page_words, read_refusal
from agentsafe_envs.agents.parsing import canonical_action
from agentsafe_envs.agents.protocol import Usage

NO_ANSWER, NO_OUTPUT = "(no answer)", "(no output)"
"""Sent for an answer or a result without text, since many services refuse empty messages."""

_OWN_FIELDS = frozenset({"role", "content", "tool_calls", "function_call", "refusal", "audio", "annotations"})
"""Of an answer; its other fields are the service's own, for instance a model's thoughts."""


_TEXT_PARTS = frozenset({None, "text", "output_text", "refusal"})
"""Types of the parts that are an answer; others are a model's thoughts, or no text."""


class RefusalInBodyError(ValueError):
    """A body that says what failed where a completion is expected, though its status says that all is well."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(f"no answer, but {refusal.words}")
        self.refusal = refusal


def as_it_came(message: Mapping[str, Any], said: Mapping[str, Any], *, with_fields: bool) -> dict[str, Any]:
    """An earlier answer with the id, the thoughts and whatever else the service gave it."""
    fields = {name: value for name, value in said.items() if name not in _OWN_FIELDS and value is not None}
    sent = {**message, **(fields if with_fields else {})}
    calls = _calls(said)
    if "tool_calls" in message and calls:
        (ours,) = message["tool_calls"]
        came = {name: value for name, value in calls[0].items() if value is not None and name != "index"}
        function = {**(came.get("function") or {}), **ours["function"]}
        sent["tool_calls"] = [{**ours, **came, "function": function}]
        sent["content"] = said.get("content") or None
    elif not calls and isinstance(said.get("content"), list) and "tool_calls" not in message:
        sent["content"] = said["content"]
    return sent


def names_a_field(refusal: Refusal, messages: Iterable[Mapping[str, Any]]) -> bool:
    """Whether a service refuses a field that came from itself; some give thoughts and do not take them."""
    known = _OWN_FIELDS | {"tool_call_id", "name"}
    fields = {name for message in messages for name in message.keys() - known}
    return refusal.status in (400, 422) and any(name in refusal.words for name in fields)


def on_the_wire(message: Mapping[str, Any]) -> dict[str, Any]:
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


def read_completion(text: str) -> dict[str, Any]:
    """The chat completion in a body, also where it comes as a stream that was not asked for.

    Raises:
        RefusalInBodyError: There is an error in its place.
        ValueError: There is none.
    """
    if text.lstrip().startswith(("data:", "event:", ":")):
        return _joined(text)
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(f"no JSON, but {page_words(text)!r}") from None
    if not isinstance(answer, dict) or not answer.get("choices"):
        raise RefusalInBodyError(read_refusal(200, text))
    return _with_a_message(answer)


def is_withheld(choice: Mapping[str, Any]) -> bool:
    """Whether a content filter ended an answer."""
    return str(choice.get("finish_reason")).startswith("content_filter")


def _with_a_message(answer: dict[str, Any]) -> dict[str, Any]:
    """``answer``, if its first choice holds a message and not what failed while that was written."""
    choices = answer["choices"]
    choice = choices[0] if isinstance(choices, list) and isinstance(choices[0], dict) else {}
    if choice.get("error") or choice.get("finish_reason") == "error":
        raise RefusalInBodyError(
            read_refusal(200, json.dumps({"error": choice.get("error") or "the answer broke off"}))
        )
    if not choice.get("message") and is_withheld(choice):
        choice["message"] = {}
    elif not choice.get("message") or not isinstance(choice["message"], dict):
        raise ValueError(f"a choice without a message: {page_words(json.dumps(choices))}")
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
        if chunk.get("error"):
            raise RefusalInBodyError(read_refusal(200, data))
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
    return _with_a_message(answer | {"choices": [{"message": message, "finish_reason": reason}]})


def _add(whole: dict[str, Any], part: Mapping[str, Any]) -> None:
    """Append a chunk's texts to what came before."""
    for name, value in part.items():
        if isinstance(value, dict):
            _add(whole.setdefault(name, {}), value)
        elif isinstance(value, str) and isinstance(whole.get(name), str) and name not in ("id", "type"):
            whole[name] += value
        elif value is not None:
            whole[name] = value


def action_of(message: Mapping[str, Any], tools: Sequence[Mapping[str, Any]]) -> str:
    """The first call of an answer, or else its words; further calls would be further actions."""
    words = _words(message.get("content"))
    if calls := _calls(message):
        function = calls[0]["function"]
        arguments = function.get("arguments")
        nothing = not arguments or (isinstance(arguments, str) and arguments.strip() in ("", "null", "[]"))
        call = {"name": function.get("name"), "arguments": {} if nothing else arguments}
        if note := words.strip():
            call = {"note": note, **call}
        return canonical_action(json.dumps(call), tools)
    return canonical_action(words or message.get("refusal") or "", tools)


def _calls(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    """An answer's calls, without those of nothing."""
    calls = message.get("tool_calls") or {"function": message.get("function_call")}
    listed = calls if isinstance(calls, list) else [calls]
    return [call for call in listed if isinstance(call, dict) and isinstance(call.get("function"), dict)]


def _words(content: Any) -> str:
    """An answer's text; of parts those that are text, without a model's thoughts."""
    if not isinstance(content, list | dict):
        return str(content or "")
    listed = content if isinstance(content, list) else [content]
    parts = [part if isinstance(part, dict) else {"text": str(part)} for part in listed]
    return "".join(
        str(part.get("text") or part.get("refusal") or "") for part in parts if part.get("type") in _TEXT_PARTS
    )


def note_usage(usage: Usage, answer: Mapping[str, Any]) -> None:
    """Add what an answer cost, as far as the service says."""
    if answer.get("model"):
        usage.models.add(str(answer["model"]))
    usage.cut_answers += answer["choices"][0].get("finish_reason") == "length"
    counted = answer.get("usage")
    for name in ("prompt_tokens", "completion_tokens"):
        count = counted.get(name) if isinstance(counted, dict) else None
        if isinstance(count, int):  # some services write something else, which is no reason to lose an answer
            setattr(usage, name, getattr(usage, name) + count)
