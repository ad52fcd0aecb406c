from __future__ import annotations

import json
import os
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentsafe_envs.agents.process import MAX_LINE_BYTES, ProcessAgent
from agentsafe_envs.agents.protocol import AgentError, Conversation
from agentsafe_envs.core.episode import Step
from agentsafe_envs.runs.rows import read_failures
from agentsafe_envs.scoring.rollout import play_suite
from agentsafe_envs.scoring.suites import choose

SUBMIT = '{"action": {"name": "submit", "arguments": {}}}'
TASK = Conversation("Tidy up.", [{"type": "function", "function": {"name": "submit"}}])


def later(conversation: Conversation, *results: str) -> Conversation:
    return Conversation(conversation.instruction, conversation.tools, [Step("?", result) for result in results])


@pytest.fixture
def hire(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., ProcessAgent]:
    """An agent in Python; its program has ``say(text)`` and ``messages``, the lines of its input."""
    monkeypatch.chdir(tmp_path)

    def hire(program: str, timeout_s: float = 120.0) -> ProcessAgent:
        head = "import json, os, sys, time\ndef say(text): print(text, flush=True)\nmessages = sys.stdin\n"
        Path("agent.py").write_text(head + program)
        return ProcessAgent(shlex.join([sys.executable, "agent.py"]), timeout_s=timeout_s)

    return hire


def told(line: str) -> dict[str, Any]:
    """What an echoing program was told, from the action that it made of it."""
    return json.loads(line)


ECHO = "for line in messages: say(json.dumps({'action': line.rstrip()}))"


def test_program_is_told_the_conversation_and_no_more(hire: Any) -> None:
    agent = hire(ECHO)
    agent.start(7)
    (first,) = agent.act([TASK])
    assert list(told(first).items()) == [
        ("type", "task"),
        ("protocol", 1),
        ("seed", 7),
        ("instruction", "Tidy up."),
        ("tools", TASK.tools),
    ]
    (second,) = agent.act([later(TASK, "one", "two\n\x1b☃")])
    assert list(told(second).items()) == [("type", "result"), ("result", "two\n\x1b☃")]
    assert second.isascii()


def test_call_written_as_an_object_is_sent_as_its_text(hire: Any) -> None:
    call = {"name": "submit", "arguments": {"answer": "☃"}}
    (action,) = hire(f"for line in messages: say(json.dumps({{'action': {call!r}}}))").act([TASK])
    assert json.loads(action) == call


@settings(deadline=None, max_examples=20)
@given(st.text())
def test_any_text_is_an_action_and_arrives_as_it_was_written(text: str) -> None:
    program = "import sys\nfor line in sys.stdin: print(sys.argv[1], flush=True)"
    answer = json.dumps({"action": text})
    agent = ProcessAgent(shlex.join([sys.executable, "-c", program, answer]), timeout_s=120)
    assert agent.act([TASK]) == [text]


def test_one_program_plays_many_episodes(hire: Any) -> None:
    agent = hire("for line in messages: say(json.dumps({'action': str(os.getpid())}))")
    pids = set()
    for seed in range(3):
        agent.start(seed)
        pids.update(agent.act([TASK]))
    assert len(pids) == 1


def test_program_gets_few_variables_and_no_secret(hire: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "AGENTSAFE_TEMPLATES", "AGENTSAFE_STUDENTS", "AGENT_KEY"):
        monkeypatch.setenv(name, "x")
    (action,) = hire("for line in messages: say(json.dumps({'action': json.dumps(dict(os.environ))}))").act([TASK])
    got = set(told(action)) - {"LC_CTYPE"}  # Python's own addition
    assert got <= {"PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "AGENT_KEY"}
    assert {"PATH", "AGENT_KEY"} <= got


BROKEN = {
    "no JSON": ("for line in messages: say('hello')", "answered b'hello'; expected {\"action\":"),
    "half a line": ("messages.readline(); sys.stdout.write('{\"acti'); sys.stdout.flush()", "left with status 0"),
    "an array": ("for line in messages: say('[]')", "answered b'[]'"),
    "no action": ("for line in messages: say('{}')", "answered b'{}'"),
    "a number": ("for line in messages: say('{\"action\": 3}')", "answered"),
    "other fields": ('for line in messages: say(\'{"action": "x", "note": "y"}\')', "answered"),
    "not UTF-8": ('messages.readline(); os.write(1, b\'{"action": "\\xff"}\\n\'); time.sleep(60)', "answered"),
    "UTF-16": (
        "messages.readline(); os.write(1, '{\"action\": \"x\"}\\n'.encode('utf-16-le')); time.sleep(60)",
        "answered",
    ),
    "closed input": ("os.close(0); time.sleep(60)", "did not answer within 1.5 s"),
    "nested too deep": ("for line in messages: say('['*99999)", "answered"),
    "an empty line": ("for line in messages: say('')", "answered b''"),
    "early exit": (
        "print('out of luck', file=sys.stderr); sys.exit(3)",
        "left with status 3 before it answered; it said: out of luck",
    ),
    "exit at a message": ("messages.readline()", "left with status 0"),
    "a signal": ("messages.readline(); os.kill(os.getpid(), 9)", "was killed by signal 9"),
    "closed output": ("messages.readline(); os.close(1); time.sleep(60)", "closed its output"),
    "silence": ("messages.readline(); time.sleep(60)", "did not answer within 1.5 s"),
    "deafness": ("time.sleep(60)", "did not answer within 1.5 s"),
    "endless complaints": ("while True: os.write(2, b'x' * 65536)", "did not answer within 1.5 s"),
    "a huge line": ("messages.readline()\nwhile True: os.write(1, b'x' * 65536)", "more than 1,000,000 bytes"),
}


@pytest.mark.parametrize(("program", "complaint"), BROKEN.values(), ids=BROKEN.keys())
def test_program_that_breaks_the_protocol_is_ended_and_named(hire: Any, program: str, complaint: str) -> None:
    agent = hire(program, timeout_s=1.5 if "1.5" in complaint else 120.0)
    with pytest.raises(AgentError) as caught:
        agent.act([TASK])
    assert str(caught.value).startswith("process:")
    assert complaint in str(caught.value)
    assert len(str(caught.value)) < 3_000


def test_longest_line_is_still_read(hire: Any) -> None:
    room = MAX_LINE_BYTES - len('{"action": ""}\n')
    (action,) = hire(f"for line in messages: say(json.dumps({{'action': 'x' * {room}}}))").act([TASK])
    assert len(action) == room


def test_second_line_for_one_message_is_noticed(hire: Any) -> None:
    agent = hire(f"for line in messages: say({SUBMIT!r} + chr(10) + {SUBMIT!r})")
    agent.act([TASK])
    with pytest.raises(AgentError, match=r"wrote b'\{\"action\".* without being asked"):
        agent.act([later(TASK, "")])


def test_program_that_never_reads_a_long_message_is_timed_out(hire: Any) -> None:
    agent = hire(f"say({SUBMIT!r}); time.sleep(60)", timeout_s=1.5)
    with pytest.raises(AgentError, match=r"without being asked|did not answer within 1\.5 s"):
        agent.act([Conversation("x" * 1_000_000, [])])


def test_next_episode_starts_a_broken_program_afresh(hire: Any, tmp_path: Path) -> None:
    agent = hire(
        f"if not os.path.exists('seen'):\n    open('seen', 'w').close()\n    sys.exit(1)\n"
        f"for line in messages: say({SUBMIT!r})"
    )
    with pytest.raises(AgentError):
        agent.act([TASK])
    agent.start(1)
    assert agent.act([TASK]) == ['{"name": "submit", "arguments": {}}']


def test_everything_that_a_program_started_ends_with_it(hire: Any, tmp_path: Path) -> None:
    agent = hire(
        "import subprocess\nchild = subprocess.Popen(['sleep', '300'])\nopen('pid', 'w').write(str(child.pid))\n"
        "for line in messages: say('garbage')"
    )
    with pytest.raises(AgentError):
        agent.act([TASK])
    pid = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 10
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not alive(pid)


def test_program_ends_with_its_agent(hire: Any) -> None:
    agent = hire("for line in messages: say(json.dumps({'action': str(os.getpid())}))")
    pid = int(agent.act([TASK])[0])
    assert alive(pid)
    del agent
    assert not alive(pid)


def alive(pid: int) -> bool:
    """Whether it runs; a zombie does not."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        ("", "names no program that can be run"),
        ("no-such-program-here", "names no program that can be run"),
        ("bash 'agent.sh", "No closing quotation"),
    ],
)
def test_command_that_cannot_be_run_is_refused(command: str, complaint: str) -> None:
    with pytest.raises(AgentError, match=complaint):
        ProcessAgent(command)


def test_program_that_the_system_refuses_to_start_is_an_agent_error(tmp_path: Path) -> None:
    script = tmp_path / "agent"
    script.write_text("no interpreter is named here\n")
    script.chmod(0o755)
    with pytest.raises(AgentError, match="cannot be started"):
        ProcessAgent(str(script)).act([TASK])


def test_crash_in_one_episode_leaves_that_one_unscored(hire: Any, tmp_path: Path) -> None:
    hire(
        "number = 0\nfor line in messages:\n    number += '\"task\"' in line\n    if number == 2: sys.exit(7)\n"
        f"    say({SUBMIT!r})"
    )
    suite = choose("quick", environments=["DeleteBiasAPI-v0"], split="ambiguous", episodes=3)
    spec = f"process:{sys.executable} agent.py"
    assert play_suite(spec, suite, tmp_path / "run").unscored == 1
    (failure,) = read_failures(tmp_path / "run")
    assert failure["key"] == suite.keys()[1]._asdict()
    assert "left with status 7" in failure["message"]
    # Its count begins anew, so the one that is missing is its first.
    assert play_suite(spec, suite, tmp_path / "run").unscored == 0
