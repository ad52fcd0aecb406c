"""The agent against a real server that serves a real model, and against one that fails on purpose."""

from __future__ import annotations

import gc
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import sysconfig
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from agentsafe_envs.agents import AgentOptions, Conversation
from agentsafe_envs.agents.openai import FILTERED, OpenAIAgent
from agentsafe_envs.agents.protocol import AgentError, HopelessError
from agentsafe_envs.agents.students import students
from agentsafe_envs.core.episode import Step
from agentsafe_envs.core.extras import install_hint
from agentsafe_envs.runs.rows import read_failures, read_rows
from agentsafe_envs.scoring.rollout import play_suite, score_agent
from agentsafe_envs.scoring.suites import choose

pytestmark = pytest.mark.needs("openai")

KEY = "sk-a-secret-of-the-tests-0123456789"
SAFE = choose("quick", environments=["DeleteBiasAPI-v0"], split="safe", episodes=2)._replace(max_steps=2)


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("OPENAI_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01)
    monkeypatch.setattr("openai._base_client.MAX_RETRY_DELAY", 0.02)


# A service that answers as it is told to.

Answer = tuple[int, Any]


def completion(content: Any = None, *calls: tuple[str, Any], reason: str = "stop", **message: Any) -> Answer:
    """What the API sends: text, or calls as pairs of name and arguments."""
    message |= {"role": "assistant", "content": content}
    if calls:
        message["tool_calls"] = [
            {"id": f"c{number}", "type": "function", "function": {"name": name, "arguments": arguments}}
            for number, (name, arguments) in enumerate(calls)
        ]
    return 200, {
        "id": "1",
        "object": "chat.completion",
        "created": 1,
        "model": "served-2026",
        "choices": [{"index": 0, "finish_reason": reason, "message": message}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 3, "total_tokens": 13},
    }


def refusal(status: int, message: str = "no", **details: Any) -> Answer:
    return status, {"error": {"message": message, "type": "error", "param": None, "code": None} | details}


SUBMIT = completion(None, ("submit", "{}"), reason="tool_calls")


class Service(ThreadingHTTPServer):
    """Answers ``answer(request)`` and remembers what it was sent."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/v1"
        self.answer: Callable[[dict[str, Any]], Answer] = lambda request: SUBMIT
        self.models: Answer = (200, {"object": "list", "data": []})
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str | None] = []

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # clients that lost patience are part of the tests
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: Service
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.keys.append(self.headers["Authorization"])
        self._send(self.server.models if self.path == "/v1/models" else refusal(404))

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        body = self.rfile.read(length)
        if len(body) < length:
            raise ConnectionAbortedError("the client left in the middle of its request")
        request = json.loads(body)
        self.server.requests.append(request)
        self._send(self.server.answer(request) if self.path == "/v1/chat/completions" else refusal(404))

    def _send(self, answer: Answer) -> None:
        status, body = answer
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html" if isinstance(body, bytes) else "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def service() -> Iterator[Service]:
    with Service() as found:
        thread = threading.Thread(target=found.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield found
        found.shutdown()


def agent(service: Service, **options: Any) -> OpenAIAgent:
    return OpenAIAgent("wanted", base_url=service.url, **options)


def talk(tools: list[dict[str, Any]], *steps: Step) -> Conversation:
    return Conversation("Free some space.", tools, list(steps))


LIST = Step('{"name": "list_volumes", "arguments": {"page": 2}}', '{"items":[]}')
PROSE = Step("I would rather not.", '{"error":"invalid_argument"}')


def test_tools_calls_and_results_go_through_the_fields_of_the_api(service: Service, cloud_tools: Any) -> None:
    agent(service, temperature=0.5, seed=4, max_new_tokens=99).act([talk(cloud_tools, LIST, PROSE)])
    (sent,) = service.requests
    assert sent["tools"] == cloud_tools
    settings = {"temperature": 0.5, "seed": 4, "max_completion_tokens": 99, "tool_choice": "required"}
    assert sent | settings | {"model": "wanted"} == sent
    assert [message["role"] for message in sent["messages"]] == [
        "system",
        "user",
        "assistant",
        "tool",
        "assistant",
        "user",
    ]
    call, result = sent["messages"][2:4]
    (function,) = (each["function"] for each in call["tool_calls"])
    assert (function["name"], json.loads(function["arguments"])) == ("list_volumes", {"page": 2})
    assert result == {"role": "tool", "tool_call_id": call["tool_calls"][0]["id"], "content": LIST.result}


def test_signature_style_sends_text_only(service: Service, cloud_tools: Any) -> None:
    agent(service, prompt_style="signature").act([talk(cloud_tools, LIST)])
    (sent,) = service.requests
    assert sent.keys() == {"model", "messages", "max_completion_tokens"}
    assert "resize_volume(volume_id: str, size_gb: int)" in sent["messages"][0]["content"]
    assert [message["role"] for message in sent["messages"]] == ["system", "user", "assistant", "user"]


def test_settings_that_are_not_given_are_not_sent(service: Service, cloud_tools: Any) -> None:
    agent(service, tool_choice="auto").act([talk(cloud_tools)])
    (sent,) = service.requests
    assert sent.keys() == {"model", "messages", "max_completion_tokens", "tools", "tool_choice"}
    assert sent["tool_choice"] == "auto"


SUBMITTED = '{"name": "submit", "arguments": {}}'
QUOTING = 'I will not do {"name": "submit", "arguments": {}}: it is too early.'
SAID: dict[str, tuple[Answer, str]] = {
    "a call": (SUBMIT, '{"name": "submit", "arguments": {}}'),
    "the first of two calls": (
        completion(None, ("list_volumes", '{"page": 3}'), ("submit", "{}")),
        '{"name": "list_volumes", "arguments": {"page": 3}}',
    ),
    "a call without arguments": (completion(None, ("submit", "")), '{"name": "submit", "arguments": {}}'),
    "a call beside words": (
        completion("Done!", ("submit", "{}")),
        '{"note": "Done!", "name": "submit", "arguments": {}}',
    ),
    "a call in words": (
        completion('Sure:\n{"name": "submit", "args": {}}'),
        '{"note": "Sure:", "name": "submit", "arguments": {}}',
    ),
    "words": (completion("I would rather not."), "I would rather not."),
    "a refusal": (completion(None, refusal="I cannot help with that."), "I cannot help with that."),
    "nothing": (completion(None), ""),
    "a filter's cut": (completion(None, reason="content_filter"), FILTERED),
    "a filter's refusal": (refusal(400, "The prompt was filtered.", code="content_filter"), FILTERED),
    "a call with null for arguments": (completion(None, ("submit", None)), '{"name": "submit", "arguments": {}}'),
    "a call with an object for arguments": (
        completion(None, ("list_volumes", {"page": 3})),
        '{"name": "list_volumes", "arguments": {"page": 3}}',
    ),
    "a call with the word null for arguments": (completion(None, ("submit", "null")), SUBMITTED),
    "a call with a list of no arguments": (completion(None, ("submit", "[]")), SUBMITTED),
    "a call of nothing": (completion("No.", tool_calls=[{"id": "c", "type": "function", "function": None}]), "No."),
    "one part": (completion({"type": "text", "text": "No."}), "No."),
    "thoughts among parts": (
        completion([{"type": "reasoning", "text": "Yes?"}, {"type": "output_text", "text": "No."}]),
        "No.",
    ),
    "a filter's cut without a message": (
        (200, {"choices": [{"index": 0, "finish_reason": "content_filter", "message": None}]}),
        FILTERED,
    ),
    "a filter's refusal as no key problem": (refusal(403, "Content violates usage guidelines."), FILTERED),
    "a full context with status 200": (refusal(200, "too long", code="context_length_exceeded"), ""),
    "a stream of an error": ((200, b'data: {"error": {"code": "context_length_exceeded"}}\n\n'), ""),
    "parts": (
        completion(
            [{"type": "thinking", "thinking": []}, {"type": "text", "text": "No, "}, {"type": "text", "text": "no."}]
        ),
        "No, no.",
    ),
    "a call in thoughts": (completion("", reasoning_content='{"name": "submit", "arguments": {}}'), ""),
    "a quoted call": (completion(QUOTING), QUOTING),
    "no text": (completion(42), "42"),
    "one call that is in no list": (
        completion(None, tool_calls={"function": {"name": "submit", "arguments": "{}"}}),
        '{"name": "submit", "arguments": {}}',
    ),
    "calls that are none": (completion("I wait.", tool_calls=["submit", {"function": "submit"}]), "I wait."),
    "a filter with a reason and no message": (
        (200, {"choices": [{"finish_reason": "content_filter: PROHIBITED_CONTENT"}]}),
        FILTERED,
    ),
    "a stream": (
        (
            200,
            b'data: {"choices": [{"delta": {"role": "assistant", "content": "I "}}]}\n\n'
            b'data: {"choices": [{"delta": {"content": "do."}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n',
        ),
        "I do.",
    ),
    "a stream of a call": (
        (
            200,
            b'data: {"choices": [{"delta": {"tool_calls": [{"index": 0, "id": "a", "type": "function", "function": '
            b'{"name": "submit", "arguments": "{"}}]}}]}\n\n'
            b'data: {"choices": [{"delta": {"tool_calls": [{"index": 0, "function": {"arguments": "}"}}]}}]}\n\n',
        ),
        '{"name": "submit", "arguments": {}}',
    ),
    "too much": (completion("Let me think", reason="length"), "Let me think"),
    "OpenAI's word for a full context": (refusal(400, "too long", code="context_length_exceeded"), ""),
    "llama.cpp's": (refusal(400, "too long", type="exceed_context_size_error"), ""),
    "vLLM's": (refusal(400, "This model's maximum context length is 4096 tokens."), ""),
}


@pytest.mark.parametrize(("answer", "action"), SAID.values(), ids=SAID.keys())
def test_what_the_service_says_is_the_action(service: Service, cloud_tools: Any, answer: Answer, action: str) -> None:
    service.answer = lambda _: answer
    assert agent(service).act([talk(cloud_tools)]) == [action]


BROKEN_OFF = {
    "a choice's error": (
        {"finish_reason": "error", "error": {"code": 502, "message": "upstream idle"}, "message": {"content": ""}},
        "no answer, but upstream idle",
    ),
    "an answer that broke off": (
        {"finish_reason": "error", "message": {"content": "I will"}},
        "no answer, but the answer broke off",
    ),
    "no message": ({"finish_reason": "stop", "text": "hello"}, "a choice without a message: .*hello"),
    "a message of nothing": ({"finish_reason": "stop", "message": None}, "a choice without a message"),
}


@pytest.mark.parametrize(("choice", "words"), BROKEN_OFF.values(), ids=BROKEN_OFF.keys())
def test_choice_that_holds_no_whole_answer_is_a_failure_in_the_services_words(
    service: Service, cloud_tools: Any, choice: dict[str, Any], words: str
) -> None:
    service.answer = lambda _: (200, {"choices": [choice]})
    with pytest.raises(AgentError, match=words):
        agent(service).act([talk(cloud_tools)])


def test_count_of_tokens_that_is_no_number_costs_no_answer(service: Service, cloud_tools: Any) -> None:
    service.answer = lambda _: (200, SUBMIT[1] | {"usage": {"prompt_tokens": "10", "completion_tokens": 5}})
    conversation = talk(cloud_tools)
    agent(service).act([conversation])
    assert (conversation.usage.prompt_tokens, conversation.usage.completion_tokens) == (0, 5)


FULL = {
    "words alone": refusal(400, "The input (9000 tokens) is longer than the model's context length (8192 tokens)."),
    "an answer's room": refusal(400, "max_tokens is too large: 999. The maximum context length is 8192 tokens."),
    "a server's own status": refusal(413, "prompt is too long: 9000 tokens > 8192 maximum"),
    "no error object": (422, {"object": "error", "message": "Input length (9000) exceeds the maximum allowed length."}),
    "tokens counted": refusal(400, "The input token count (9000) exceeds the maximum number of tokens allowed (8192)."),
}


@pytest.mark.parametrize("answer", FULL.values(), ids=FULL.keys())
def test_full_context_is_the_agents_end_no_matter_the_words(service: Service, cloud_tools: Any, answer: Answer) -> None:
    service.answer = lambda _: answer
    assert agent(service).act([talk(cloud_tools, LIST)]) == [""]


@pytest.mark.parametrize(
    "answer", [refusal(413, "Limit on tokens per minute (TPM): 6000"), refusal(400, "max_tokens is too large: 99999")]
)
def test_limit_that_is_not_the_contexts_is_no_end_of_the_agent(
    service: Service, cloud_tools: Any, answer: Answer
) -> None:
    service.answer = lambda _: answer
    with pytest.raises(AgentError, match="refused with"):
        agent(service).act([talk(cloud_tools)])


def test_failure_in_one_conversation_leaves_the_others_their_actions(service: Service, cloud_tools: Any) -> None:
    service.answer = lambda request: refusal(400, "odd") if "task 3" in str(request["messages"]) else SUBMIT
    answers = agent(service).act([Conversation(f"task {number}", cloud_tools) for number in range(8)])
    assert [isinstance(each, AgentError) for each in answers] == [number == 3 for number in range(8)]


HOPELESS = {
    "a quota": refusal(429, "You exceeded your current quota", code="insufficient_quota"),
    "a bill": refusal(402, "Insufficient balance"),
    "a key": refusal(401),
    "a model": refusal(404, "no such model"),
    "a field": (422, {"message": {"detail": [{"loc": ["body", "max_completion_tokens"], "msg": "not permitted"}]}}),
    "a quota with status 200": refusal(200, "You exceeded your current quota", code="insufficient_quota"),
    "a key with status 400": refusal(400, "API key not valid. Please pass a valid API key."),
    "a server's missing flag": refusal(500, "tools param requires --jinja flag"),
    "a choice": refusal(400, "this model does not support this tool_choice"),
}


@pytest.mark.parametrize("answer", HOPELESS.values(), ids=HOPELESS.keys())
def test_failure_that_cannot_heal_is_told_apart_and_not_asked_for_again(
    service: Service, cloud_tools: Any, answer: Answer
) -> None:
    service.answer = lambda _: answer
    with pytest.raises(HopelessError):
        agent(service).act([talk(cloud_tools)])
    assert len(service.requests) == 1


def test_refused_field_names_the_option_that_changes_it(service: Service, cloud_tools: Any) -> None:
    service.answer = lambda request: HOPELESS["a field"] if "max_completion_tokens" in request else SUBMIT
    with pytest.raises(HopelessError, match="try --max-tokens-field max_tokens"):
        agent(service).act([talk(cloud_tools)])
    agent(service, max_tokens_field="max_tokens", max_new_tokens=7).act([talk(cloud_tools)])
    assert service.requests[-1]["max_tokens"] == 7


def play_on(hired: OpenAIAgent, conversation: Conversation, result: str = "done") -> None:
    """One more step."""
    (action,) = hired.act([conversation])
    assert isinstance(action, str)
    conversation.steps.append(Step(action, result))


def test_answer_is_sent_back_with_what_the_service_added_and_nothing_empty(service: Service, cloud_tools: Any) -> None:
    function = {"name": "submit", "arguments": None}
    call = {"id": "their-own", "function": function, "extra_content": {"signature": "s"}}
    service.answer = lambda _: completion("", tool_calls=[call, call], reasoning_content="I think.", annotations=[])
    hired, conversation = agent(service), talk(cloud_tools)
    play_on(hired, conversation, result="")
    service.answer = lambda _: completion("", reason="length")
    play_on(hired, conversation)
    play_on(hired, conversation)
    call_back, result, nothing = service.requests[2]["messages"][2:5]
    assert call_back == {
        "role": "assistant",
        "content": None,
        "reasoning_content": "I think.",
        "tool_calls": [
            {
                "id": "their-own",
                "type": "function",
                "function": {"name": "submit", "arguments": "{}"},
                "extra_content": {"signature": "s"},
            }
        ],
    }
    assert result == {"role": "tool", "tool_call_id": "their-own", "content": "(no output)"}
    assert nothing == {"role": "assistant", "content": "(no answer)"}


def test_word_that_a_server_of_ones_own_takes_for_a_key_garbles_no_message(
    service: Service, cloud_tools: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "x")
    service.answer = lambda _: refusal(400, "extra fields in the box")
    with pytest.raises(AgentError, match="extra fields in the box"):
        agent(service).act([talk(cloud_tools)])


def test_service_that_does_not_take_its_own_field_back_is_asked_without(service: Service, cloud_tools: Any) -> None:
    def answer(request: dict[str, Any]) -> Answer:
        refused = "thoughts" in str(request["messages"])
        return refusal(400, "unknown field thoughts") if refused else completion("Hm.", thoughts="Hm?")

    service.answer = answer
    hired, conversation = agent(service), talk(cloud_tools)
    for _ in range(3):
        play_on(hired, conversation)
    assert len(service.requests) == 4


def test_page_of_a_gateway_is_told_in_its_words(service: Service, cloud_tools: Any) -> None:
    service.answer = lambda _: (502, b"<html><head><title>502 Bad\n Gateway</title></head><body>long</body></html>")
    with pytest.raises(AgentError, match=r"refused with 502: 502 Bad Gateway$"):
        agent(service).act([talk(cloud_tools)])


@pytest.mark.parametrize("key", [f"{KEY}\n", f"{KEY} ", f"\u201c{KEY}\u201d"])
def test_key_with_what_no_key_has_is_refused_unseen(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    with pytest.raises(AgentError, match="OPENAI_API_KEY holds a") as caught:
        OpenAIAgent("m")
    assert KEY not in str(caught.value)


def test_proxy_that_does_not_connect_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        monkeypatch.setenv("HTTP_PROXY", f"http://me:secret@127.0.0.1:{port}")
        monkeypatch.setenv("NO_PROXY", "")
        monkeypatch.setenv("no_proxy", "")
        with pytest.raises(AgentError, match=f"the proxy 127.0.0.1:{port} of HTTP_PROXY does not connect") as caught:
            OpenAIAgent("m", base_url="http://model.example/v1")
    assert "secret" not in str(caught.value)


def test_certificate_that_nobody_signed_is_named_as_the_cause(tmp_path: Path, service: Service) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    subprocess.run([*made, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    service.socket = context.wrap_socket(service.socket, server_side=True)
    address = service.url.replace("http://", "https://")
    with pytest.raises(AgentError, match=r"certificate is not trusted .*self-signed.* SSL_CERT_FILE"):
        OpenAIAgent("m", base_url=address)


def test_call_with_arguments_that_cannot_be_read_is_passed_on_for_the_world_to_refuse(
    service: Service, cloud_tools: Any
) -> None:
    service.answer = lambda _: completion(None, ("submit", "{answer: vol"))
    (action,) = agent(service).act([talk(cloud_tools)])
    assert json.loads(action) == {"name": "submit", "arguments": "{answer: vol"}


@pytest.mark.parametrize("prompt_style", ["json", "signature"])
def test_half_a_character_in_an_answer_is_conduct_and_does_not_stop_the_next_request(
    service: Service, cloud_tools: Any, prompt_style: Any
) -> None:
    service.answer = lambda _: completion("half \ud83d")
    hired, conversation = agent(service, prompt_style=prompt_style), talk(cloud_tools)
    (action,) = hired.act([conversation])
    conversation.steps.append(Step(action, "not done"))
    assert (action, hired.act([conversation])) == ("half \ud83d", ["half \ud83d"])
    assert service.requests[1]["messages"][2]["content"] == "half ?"


def test_usage_is_counted_and_names_what_answered(service: Service, cloud_tools: Any) -> None:
    service.answer = lambda _: completion("Let me think", reason="length")
    hired, conversation = agent(service), talk(cloud_tools)
    hired.act([conversation])
    hired.act([conversation])
    assert conversation.usage.entry() == {
        "models": ["served-2026"],
        "requests": 2,
        "prompt_tokens": 20,
        "completion_tokens": 6,
        "cut_answers": 2,
    }


def test_answer_without_a_models_name_names_none(service: Service, cloud_tools: Any) -> None:
    service.answer = lambda _: (200, {**SUBMIT[1], "model": None})
    conversation = talk(cloud_tools)
    agent(service).act([conversation])
    assert conversation.usage.models == set()


def test_empty_thoughts_are_sent_back_as_they_came(service: Service, cloud_tools: Any) -> None:
    service.answer = lambda _: completion("", ("submit", "{}"), reasoning_content="", other=None)
    hired, conversation = agent(service), talk(cloud_tools)
    play_on(hired, conversation)
    hired.act([conversation])
    said = service.requests[1]["messages"][2]
    assert said["reasoning_content"] == ""
    assert "other" not in said


def test_answer_without_a_count_of_tokens_is_an_answer(service: Service, cloud_tools: Any) -> None:
    service.answer = lambda _: (200, SUBMIT[1] | {"usage": None})
    conversation = talk(cloud_tools)
    agent(service).act([conversation])
    assert (conversation.usage.requests, conversation.usage.prompt_tokens) == (1, 0)


def test_group_is_asked_about_at_once_and_never_more(service: Service, cloud_tools: Any) -> None:
    gate = threading.Barrier(4, timeout=30)

    def answer(request: dict[str, Any]) -> Answer:
        gate.wait()  # opens when four are in
        return completion(request["messages"][1]["content"])

    service.answer = answer
    conversations = [Conversation(f"task {number}", cloud_tools) for number in range(4)]
    assert agent(service, group_size=4).act(conversations) == [f"task {number}" for number in range(4)]


# Requests are tried again, actions are not.


def test_request_is_tried_again_and_its_action_done_once(service: Service, tmp_path: Path) -> None:
    faults = iter([refusal(429), refusal(500), (200, b"<html>"), SUBMIT, SUBMIT])
    service.answer = lambda _: next(faults, SUBMIT)
    options = AgentOptions(base_url=service.url, group_size=1)
    score_agent("openai:wanted", SAFE, tmp_path, options=options)
    rows = read_rows(tmp_path)
    assert [len(row["episode"]["steps"]) for row in rows] == [1]  # the page of HTML was no answer to the other
    assert len(service.requests) == 4
    assert rows[0]["usage"]["requests"] == 1


FAILURES: dict[str, tuple[Answer, str]] = {
    "a server's error": (refusal(500, "overloaded"), "refused with 500: .*overloaded"),
    "a limit": (refusal(429, "slow down"), "refused with 429: .*slow down"),
    "an unknown model": (refusal(404, "no model wanted"), "knows no such model.*no model wanted"),
    "an unknown field": (refusal(422, "tool_choice is not supported"), "refused with 422: .*tool_choice"),
    "a refused key": (refusal(401, f"Incorrect API key: {KEY[:9]}"), r"refused the key \(401\); set OPENAI_API_KEY"),
    "a page": ((200, b"<html>Welcome</html>"), "gave no chat completion"),
    "no choice": ((200, {"choices": []}), "gave no chat completion"),
    "nothing known": ((200, {"hello": "world"}), "gave no chat completion"),
    "a list": ((200, []), "gave no chat completion"),
    "a null": ((200, None), "gave no chat completion"),
}


@pytest.mark.parametrize(("answer", "complaint"), FAILURES.values(), ids=FAILURES.keys())
def test_no_answer_leaves_the_row_unscored_and_says_why(
    service: Service, tmp_path: Path, answer: Answer, complaint: str
) -> None:
    service.answer = lambda _: answer
    card = score_agent("openai:wanted", SAFE, tmp_path, options=AgentOptions(base_url=service.url))
    assert (card.overall.unscored, card.overall.valid) == (2, False)
    message = read_failures(tmp_path)[-1]["message"]
    assert message.startswith(f"openai:wanted: {service.url}/")
    assert re.search(complaint, message)


def test_silence_is_timed_out(service: Service, cloud_tools: Any) -> None:
    over = threading.Event()
    service.answer = lambda _: (over.wait(30) and SUBMIT) or SUBMIT
    hired = agent(service, timeout_s=0.2)
    with pytest.raises(AgentError, match=r"no answer from .* in 0\.2 s; raise --timeout"):
        hired.act([talk(cloud_tools)])
    over.set()


def test_interrupt_does_not_wait_for_answers(service: Service, tmp_path: Path) -> None:
    over, asked = threading.Event(), threading.Event()
    service.answer = lambda _: (asked.set(), over.wait(600), SUBMIT)[2]
    command = [str(Path(sysconfig.get_path("scripts"), "agentsafe")), "score", "openai:wanted"]
    process = subprocess.Popen(
        [*command, "--base-url", service.url, "--out", str(tmp_path / "run")],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert asked.wait(300)  # a busy machine takes its time to start
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    over.set()
    assert process.returncode == 130
    assert "the same command goes on from here" in said


def test_connections_end_with_the_agent(service: Service, cloud_tools: Any) -> None:
    hired = agent(service)
    hired.act([talk(cloud_tools)])
    client = hired.client
    del hired
    gc.collect()
    assert client.is_closed()


# Loading.


def test_key_is_read_from_the_environment_and_written_nowhere(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    answers = iter([SUBMIT, refusal(400, f"bad request with key {KEY}"), refusal(401, f"key {KEY[:9]}*** is wrong")])
    service.answer = lambda _: next(answers, SUBMIT)
    options = AgentOptions(base_url=service.url, group_size=1)
    suite = choose("quick", environments=["DeleteBiasAPI-v0"], split="safe", episodes=3)
    assert play_suite("openai:wanted", suite, tmp_path, options=options).unscored == 2
    assert service.keys == [f"Bearer {KEY}"]
    assert "bad request with key [OPENAI_API_KEY]" in read_failures(tmp_path)[0]["message"]
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert KEY[:9].encode() not in written


def test_server_of_ones_own_needs_no_key(service: Service) -> None:
    agent(service)
    assert service.keys == ["Bearer no-key"]


@pytest.mark.parametrize(
    ("status", "complaint"),
    [
        (401, r"refused the key \(401\); set OPENAI_API_KEY"),
        (403, r"refused the key \(403\)"),
        (404, r"no OpenAI-compatible API .*--base-url often ends in /v1"),
    ],
)
def test_wrong_address_or_key_is_noticed_before_the_first_episode(
    service: Service, tmp_path: Path, status: int, complaint: str
) -> None:
    service.models = refusal(status)
    with pytest.raises(AgentError, match=complaint):
        score_agent("openai:wanted", SAFE, tmp_path / "run", options=AgentOptions(base_url=service.url))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("answer", [refusal(500), refusal(405), (200, b"<html>")])
def test_api_without_a_list_of_models_may_answer_all_the_same(
    service: Service, cloud_tools: Any, answer: Answer
) -> None:
    service.models = answer
    assert agent(service).act([talk(cloud_tools)]) == ['{"name": "submit", "arguments": {}}']


def test_address_without_a_server_is_an_error_at_once() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/v1"
        with pytest.raises(AgentError, match=r"cannot reach .*; expected --base-url to lead to a running server"):
            OpenAIAgent("wanted", base_url=url)


@pytest.mark.parametrize(
    ("model", "options", "complaint"),
    [
        ("", {}, "names no model"),
        ("m", {}, "no API key; set OPENAI_API_KEY, or name a server of your own with --base-url"),
        ("m", {"base_url": "localhost:8000"}, "expected http://"),
        ("m", {"base_url": "ftp://host/v1"}, "expected http://"),
        ("m", {"base_url": "http://"}, "expected http://"),
        ("m", {"base_url": f"http://user:{KEY}@host/v1"}, "base URL of host holds a user, a password or a query"),
        ("m", {"base_url": f"http://host/v1?key={KEY}"}, "base URL of host holds a user, a password or a query"),
        ("m", {"prompt_style": "signature", "tool_choice": "required"}, "use --prompt-style json, or --tool-choice"),
    ],
)
def test_agent_that_cannot_work_is_refused(model: str, options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(AgentError, match=re.escape(complaint)) as caught:
        OpenAIAgent(model, **options)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("option", ["max_new_tokens", "group_size"])
def test_number_out_of_range_is_refused(service: Service, option: str) -> None:
    with pytest.raises(ValueError, match=f"{option} 0; expected at least 1"):
        agent(service, **{option: 0})


def test_missing_sdk_names_its_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(AgentError, match=re.escape(install_hint("openai"))):
        OpenAIAgent("m", base_url="http://localhost:1/v1")


def test_description_is_what_a_reader_needs(service: Service) -> None:
    described = agent(service, temperature=0.0).describe()
    assert described.pop("openai")
    assert len(described.pop("identity")) == 64
    assert described == {
        "agent": "openai",
        "model": "wanted",
        "base_url": f"{service.url}/",
        "prompt_style": "json",
        "tool_choice": "required",
        "temperature": 0.0,
        "max_new_tokens": 1024,
        "max_tokens_field": "max_completion_tokens",
        "group_size": 8,
        "seed": None,
    }


def test_identity_is_of_what_decides_an_answer_and_not_of_where_it_comes_from(service: Service) -> None:
    first, same, other = (
        agent(service, **options).describe()["identity"]
        for options in ({}, {"timeout_s": 9, "group_size": 2, "max_tokens_field": "max_tokens"}, {"temperature": 0.5})
    )
    assert first == same != other


# The real thing: SmolLM2 behind `transformers serve`.


@contextmanager
def served(model: str, log: Path) -> Iterator[str]:
    """URL of a server of ``model`` that answers; stopped afterwards."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sysconfig.get_path("scripts"), "transformers")), "serve", "--port", str(port), model]
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1"],
            stdout=out,
            stderr=out,
            env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        )
    try:
        deadline = time.monotonic() + 600
        while not answers(f"http://127.0.0.1:{port}/health"):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(scope="module")
def smollm2_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """URL and model."""
    from agentsafe_envs.agents.smollm2 import folder

    model = str(folder())
    with served(model, tmp_path_factory.mktemp("server") / "log") as url:
        yield url, model


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except (OSError, urllib.error.URLError):
        return False


@pytest.mark.slow
@pytest.mark.needs("smollm2", "serving")
@pytest.mark.parametrize(
    ("env_id", "tools_tokens"),
    [
        ("DeleteBiasAPI-v0", 250),  # twelve signatures are about 280 tokens long
        ("ChmodBiasBash-v0", 60),  # there are three
    ],
)
def test_real_model_behind_a_real_server_is_scored(
    smollm2_server: tuple[str, str], tmp_path: Path, env_id: str, tools_tokens: int
) -> None:
    url, model = smollm2_server
    suite = choose("quick", environments=[env_id], split="safe", episodes=2)._replace(max_steps=2)
    options = AgentOptions(
        base_url=url, prompt_style="signature", temperature=0.0, max_new_tokens=24, group_size=2, timeout_s=600
    )
    card = score_agent(f"openai:{model}", suite, tmp_path, options=options)
    assert (card.overall.episodes, card.overall.unscored, card.overall.valid) == (2, 0, True)
    rows = read_rows(tmp_path)
    assert all(step["action"] for row in rows for step in row["episode"]["steps"])
    assert card.usage is not None
    assert card.usage.requests == sum(len(row["episode"]["steps"]) for row in rows)
    # The system message is read anew at every step.
    assert card.usage.prompt_tokens > tools_tokens * card.usage.requests
    assert 0 < card.usage.completion_tokens <= 24 * card.usage.requests
    assert model in card.usage.models[0]
    assert card.agent.settings["model"] == model


@pytest.mark.slow
@pytest.mark.needs("smollm2", "serving")
def test_real_server_takes_schemas_and_results_in_the_fields_of_the_api(
    smollm2_server: tuple[str, str], cloud_tools: Any
) -> None:
    url, model = smollm2_server
    hired = OpenAIAgent(model, base_url=url, temperature=0.0, max_new_tokens=8, timeout_s=600)
    assert len(hired.act([talk(cloud_tools, LIST, PROSE)])) == 1


@pytest.mark.slow
@pytest.mark.needs("serving", "lm")
@pytest.mark.usefixtures("one_thread")
def test_same_weights_are_scored_alike_by_name_by_folder_and_behind_a_real_server(tmp_path: Path) -> None:
    teacher = tmp_path / "mine"
    shutil.copytree(students()["teacher-biased"], teacher)
    suite = choose("quick", environments=["DeleteBiasAPI-v0"], split="ambiguous", episodes=4)
    with served(str(teacher), tmp_path / "log") as url:
        ways = {
            "student:teacher-biased": AgentOptions(),
            f"hf:{teacher}": AgentOptions(),
            f"openai:{teacher}": AgentOptions(base_url=url),
        }
        cards = [
            score_agent(spec, suite, tmp_path / str(number), options=options)
            for number, (spec, options) in enumerate(ways.items())
        ]
    for score in (card.environments[0] for card in cards):
        assert (score.unscored, score.biased_first_rate.estimate, score.invalid_action_rate.estimate) == (0, 1.0, 0.0)
    assert {card.agent.settings["prompt_style"] for card in cards} == {"json"}


@pytest.mark.slow
@pytest.mark.needs("smollm2", "serving")
def test_model_that_the_real_server_does_not_serve_leaves_rows_unscored(
    smollm2_server: tuple[str, str], tmp_path: Path
) -> None:
    url, _ = smollm2_server
    card = score_agent("openai:another", SAFE, tmp_path, options=AgentOptions(base_url=url))
    assert (card.overall.unscored, card.overall.valid) == (2, False)
    assert "requested 'another'" in read_failures(tmp_path)[-1]["message"]


@pytest.mark.slow
@pytest.mark.needs("smollm2", "serving")
def test_address_of_the_real_server_without_v1_is_noticed(smollm2_server: tuple[str, str]) -> None:
    url, model = smollm2_server
    with pytest.raises(AgentError, match="--base-url often ends in /v1"):
        OpenAIAgent(model, base_url=url.removesuffix("/v1"))


def test_scorecard_of_a_service_has_its_usage(service: Service, tmp_path: Path) -> None:
    card = score_agent("openai:wanted", SAFE, tmp_path, options=AgentOptions(base_url=service.url), workers=2)
    assert card.usage is not None
    assert card.usage.model_dump() == {
        "models": ["served-2026"],
        "requests": 2,
        "prompt_tokens": 20,
        "completion_tokens": 6,
        "cut_answers": 0,
    }
