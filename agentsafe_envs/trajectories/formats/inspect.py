"""Logs of Inspect AI: the samples of an evaluation, each with its conversation and scores.

Long texts stand once in a sample's ``attachments`` and are put back into its messages. Tools are those that
were offered to the model last; a log without events does not name them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from agentsafe_envs.trajectories.conversion import CallParts, Format, called, converted, said, tool_result
from agentsafe_envs.trajectories.schema import Trajectory

_ATTACHED = "attachment://"
_CORRECT = {"C": True, "I": False, 1: True, 0: False}
"""Values of a score that say whether a sample was solved; P (partial), N (no answer) and fractions do not count."""


class _Sample(NamedTuple):
    sample: Any
    evaluation: Mapping[str, Any]


def _recognises(value: Any) -> bool:
    return isinstance(value, dict) and (
        (isinstance(value.get("eval"), dict) and "samples" in value)
        or value.keys() >= {"id", "epoch", "messages", "target"}
    )


def _split(value: Any) -> Iterator[_Sample]:
    if not isinstance(value, dict) or "samples" not in value:
        yield _Sample(value, {})
        return
    evaluation = value.get("eval")
    samples = value["samples"] or ()
    yield from (_Sample(each, evaluation if isinstance(evaluation, dict) else {}) for each in samples)


def _convert(found: _Sample) -> Trajectory:
    sample, evaluation = found
    if not isinstance(sample, dict) or not isinstance(sample.get("messages"), list):
        raise ValueError(f"no list `messages`; expected {FORMAT.expected}")
    if sample.get("error"):
        raise ValueError("the sample ended with an error of the evaluation, so its conversation is not whole")
    attachments = sample.get("attachments") or {}
    messages = [
        _message(_attached(each, attachments), f"message {number}") for number, each in enumerate(sample["messages"])
    ]
    scores = sample.get("scores")
    return converted(
        messages,
        _tools(_attached(sample.get("events") or [], attachments)),
        {
            "task": evaluation.get("task"),
            "sample": str(sample.get("id")),
            "trial": sample.get("epoch"),
            "policy": evaluation.get("model"),
            "scores": {name: _value(score) for name, score in scores.items()} if isinstance(scores, dict) else None,
            "success": _success(scores),
            "terminated": not sample.get("limit"),
        },
        "inspect",
    )


def _message(message: Any, place: str) -> dict[str, Any]:
    role = message.get("role") if isinstance(message, dict) else None
    if role not in ("system", "user", "assistant", "tool"):
        raise ValueError(f"{place} has the role {role!r}, expected system, user, assistant or tool")
    content = _plain(message.get("content"))
    if role == "tool":
        error = message.get("error")
        shown = f"{error.get('message')}" if isinstance(error, dict) and not content else content
        return tool_result(shown, str(message.get("function") or ""), str(message.get("tool_call_id") or ""), place)
    parts: list[CallParts] = []
    for call in message.get("tool_calls") or ():
        if not isinstance(call, dict) or not isinstance(call.get("function"), str):
            raise ValueError(f"{place} has a call without `function`")
        if call.get("parse_error"):
            raise ValueError(f"{place} calls {call['function']} with arguments that Inspect could not parse")
        parts.append((call["function"], call.get("arguments"), str(call.get("id") or "")))
    if role == "assistant" and parts:
        return called(content, parts, place)
    return said(role, content, place)


def _plain(content: Any) -> Any:
    """Text where the content is text alone; reasoning in its tags, other parts as they came."""
    if not isinstance(content, list):
        return content
    texts = []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "text":
            texts.append(part.get("text") or "")
        elif kind == "reasoning":
            thought = part.get("summary") if part.get("redacted") else part.get("reasoning")
            texts.append(f"<think>{thought or ''}</think>")
        else:
            return content
    return "\n".join(texts)


def _attached(value: Any, attachments: Mapping[str, str]) -> Any:
    """``value`` with texts that the log keeps apart put back."""
    if not attachments:
        return value
    if isinstance(value, str) and value.startswith(_ATTACHED):
        return attachments.get(value.removeprefix(_ATTACHED), value)
    if isinstance(value, list):
        return [_attached(each, attachments) for each in value]
    if isinstance(value, dict):
        return {key: _attached(each, attachments) for key, each in value.items()}
    return value


def _tools(events: Any) -> list[dict[str, Any]]:
    offered = [each["tools"] for each in events if isinstance(each, dict) and isinstance(each.get("tools"), list)]
    return [
        {
            "type": "function",
            "function": {key: tool[key] for key in ("name", "description", "parameters") if key in tool},
        }
        for tool in (offered[-1] if offered else ())
        if isinstance(tool, dict)
    ]


def _value(score: Any) -> Any:
    return score.get("value") if isinstance(score, dict) else score


def _success(scores: Any) -> bool | None:
    """Whether the sample was solved, where its only score says so."""
    if not isinstance(scores, dict) or len(scores) != 1:
        return None
    value = _value(next(iter(scores.values())))
    return _CORRECT.get(value) if isinstance(value, str | int | float) else None


FORMAT = Format(
    'a log with "eval" and "samples": [{"id", "epoch", "messages", "scores"}]', _recognises, _convert, _split
)
