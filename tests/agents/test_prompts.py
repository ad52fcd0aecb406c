from __future__ import annotations

import json
import re
from typing import Any

import pytest

from agentsafe_envs.agents.prompts import (
    ANSWER_FORMAT,
    PROMPT_STYLES,
    ROLE,
    ChatTemplate,
    ChatTemplateError,
    chat_messages,
    inspect_template,
    signature,
)
from agentsafe_envs.agents.protocol import Conversation
from agentsafe_envs.core.episode import Step

PLAIN = ChatTemplate(tools=False, system=True)
CALL = '{"name": "list_volumes", "arguments": {"page": 2}}'


class FakeTokenizer:
    """Renders only the named parts of a chat."""

    def __init__(self, *, tools: bool, system: bool, refuses: bool = False) -> None:
        self.tools, self.system, self.refuses = tools, system, refuses

    def apply_chat_template(self, messages: list[dict[str, Any]], *, tokenize: bool, tools: Any = None) -> str:
        from jinja2 import TemplateError

        if self.refuses and messages[0]["role"] == "system":
            raise TemplateError("System role not supported")
        shown = [
            json.dumps(message.get("tool_calls")) + message["content"]
            for message in messages
            if self.system or message["role"] != "system"
        ]
        return "\n".join([json.dumps(tools) if tools and self.tools else "", *shown])


@pytest.fixture
def conversation(cloud_tools: list[dict[str, Any]]) -> Conversation:
    return Conversation("Report volumes.", cloud_tools, [Step(CALL, "[]"), Step("no call at all", "error")])


@pytest.mark.parametrize("style", PROMPT_STYLES)
def test_template_without_tools_gets_them_in_the_system_message(style: Any, conversation: Conversation) -> None:
    system = chat_messages(conversation, style, PLAIN)[0]
    assert system["role"] == "system"
    assert ANSWER_FORMAT in system["content"]
    assert all(tool["function"]["name"] in system["content"] for tool in conversation.tools)


def test_actions_and_results_alternate_as_assistant_and_user(conversation: Conversation) -> None:
    messages = chat_messages(conversation, "signature", PLAIN)
    assert [(message["role"], message["content"]) for message in messages[1:]] == [
        ("user", "Report volumes."),
        ("assistant", CALL),
        ("user", "[]"),
        ("assistant", "no call at all"),
        ("user", "error"),
    ]


def test_template_with_tools_gets_native_calls_and_results(conversation: Conversation) -> None:
    messages = chat_messages(conversation, "json", ChatTemplate(tools=True, system=True))
    assert [message["role"] for message in messages] == ["system", "user", "assistant", "tool", "assistant", "user"]
    assert messages[0]["content"] == ROLE
    assert messages[2]["tool_calls"][0]["function"] == {"name": "list_volumes", "arguments": {"page": 2}}
    assert messages[3]["tool_call_id"] == messages[2]["tool_calls"][0]["id"]


def test_note_stands_before_its_call_in_every_style(cloud_tools: list[dict[str, Any]]) -> None:
    noted = Conversation("Report volumes.", cloud_tools, [Step(f'{{"note": "First a look.", {CALL[1:]}', "[]")])
    native = chat_messages(noted, "json", ChatTemplate(tools=True, system=True))[2]
    assert (native["content"], native["tool_calls"][0]["function"]["name"]) == ("First a look.", "list_volumes")
    assert chat_messages(noted, "signature", PLAIN)[2]["content"] == f"First a look.\n{CALL}"


def test_signature_style_never_uses_native_tools(conversation: Conversation) -> None:
    native, plain = (chat_messages(conversation, "signature", ChatTemplate(tools, True)) for tools in (True, False))
    assert native == plain


def test_template_without_system_role_gets_its_text_before_the_task(conversation: Conversation) -> None:
    first = chat_messages(conversation, "signature", ChatTemplate(tools=False, system=False))[0]
    assert first["role"] == "user"
    assert first["content"].startswith(ROLE)
    assert first["content"].endswith("Report volumes.")


@pytest.mark.parametrize("tools", [True, False])
@pytest.mark.parametrize("system", [True, False])
def test_what_a_template_shows_is_found_by_rendering(tools: bool, system: bool) -> None:
    assert inspect_template(FakeTokenizer(tools=tools, system=system)) == ChatTemplate(tools, system)


def test_template_that_refuses_a_system_message_counts_as_without() -> None:
    assert inspect_template(FakeTokenizer(tools=False, system=True, refuses=True)) == ChatTemplate(False, False)


TOOLS = "{% if tools %}{{ tools | tojson }}{% endif %}"
TEMPLATES = {
    "plain": ("{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}", ChatTemplate(False, True)),
    "arguments as text": (
        TOOLS + "{% for m in messages %}<{{ m.role }}>{% for c in m.tool_calls or [] %}"
        "{{ c.function.name + ' ' + c.function.arguments }}{% endfor %}{{ m.content }}{% endfor %}",
        ChatTemplate(True, True, text_arguments=True),
    ),
    "contents in parts": (
        "{% for m in messages %}<{{ m.role }}>"
        "{% for part in m.content %}{% if part.type == 'text' %}{{ part.text }}{% endif %}{% endfor %}{% endfor %}",
        ChatTemplate(False, True, content_parts=True),
    ),
    "strict turns, no system message": (
        "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
        "{{ raise_exception('roles must alternate') }}{% endif %}<{{ m.role }}>{{ m.content }}{% endfor %}",
        ChatTemplate(False, False),
    ),
    "tools, but no results": (
        TOOLS + "{% for m in messages if m.role != 'tool' %}<{{ m.role }}>"
        "{% if m.tool_calls %}{{ m.tool_calls | tojson }}{% else %}{{ m.content }}{% endif %}{% endfor %}",
        ChatTemplate(False, True),
    ),
    "tools, but no arguments": (
        TOOLS + "{% for m in messages %}<{{ m.role }}>{{ m.content }}"
        "{% for c in m.tool_calls or [] %}{{ c.function.name }}{% endfor %}{% endfor %}",
        ChatTemplate(False, True),
    ),
    "tools by name only": (
        "{% for t in tools or [] %}{{ t.function.name }}{% endfor %}"
        "{% for m in messages %}<{{ m.role }}>{{ m.tool_calls | tojson if m.tool_calls }}{{ m.content }}{% endfor %}",
        ChatTemplate(False, True),
    ),
    "the last result only": (
        TOOLS + "{% for m in messages if m.role != 'tool' or loop.last %}<{{ m.role }}>"
        "{{ m.tool_calls | tojson if m.tool_calls }}{{ m.content }}{% endfor %}",
        ChatTemplate(False, True),
    ),
    "the last call only": (
        TOOLS + "{% for m in messages %}<{{ m.role }}>{{ m.content }}"
        "{% if m.tool_calls and loop.revindex <= 2 %}{{ m.tool_calls | tojson }}{% endif %}{% endfor %}",
        ChatTemplate(False, True),
    ),
    "tools, but no turn in words": (
        TOOLS + "{% for m in messages %}{% if tools and m.role == 'assistant' and not m.tool_calls %}"
        "{{ raise_exception('call expected') }}{% endif %}<{{ m.role }}>"
        "{{ m.tool_calls | tojson if m.tool_calls }}{{ m.content }}{% endfor %}",
        ChatTemplate(False, True),
    ),
}


class Rendering:
    """Renders a chat template as transformers does."""

    def __init__(self, template: str) -> None:
        self.template = template

    def apply_chat_template(self, messages: list[dict[str, Any]], *, tokenize: bool, tools: Any = None) -> str:
        from transformers.utils.chat_template_utils import render_jinja_template

        return render_jinja_template([messages], tools=tools, chat_template=self.template)[0][0]


@pytest.mark.needs("lm")
@pytest.mark.parametrize(("template", "expected"), TEMPLATES.values(), ids=TEMPLATES.keys())
def test_everything_stands_in_the_prompt_of_any_template(
    template: str, expected: ChatTemplate, conversation: Conversation
) -> None:
    tokenizer = Rendering(template)
    assert inspect_template(tokenizer) == expected
    tools = list(conversation.tools) if expected.tools else None
    text = tokenizer.apply_chat_template(chat_messages(conversation, "json", expected), tokenize=False, tools=tools)
    assert all(word in text for word in (ROLE, "Report volumes.", "list_volumes", "page", "no call at all", "error"))


@pytest.mark.needs("lm")
@pytest.mark.parametrize(
    ("template", "complaint"),
    [
        ("{% for m in messages if m.role != 'user' %}{{ m.content }}{% endfor %}", "it drops the user's message"),
        ("{{ messages[0].content }}{{ messages[-1].content }}", "it drops the assistant's message"),
        ("{% for m in messages[-3:] %}{{ m.content }}{% endfor %}", "it drops some of the user's messages and some of"),
        (
            "{% for m in messages %}{{ m.content if m.role != 'user' or loop.index0 < 4 }}{% endfor %}",
            "it drops some of the user's messages",
        ),
        (
            "{% for m in messages %}{{ m.content[0].text if m.role == 'user' else m.content }}{% endfor %}",
            "it drops the user's message",
        ),
        ("{{ raise_exception('no chats here') }}", "it refuses the messages: no chats here"),
    ],
)
def test_template_that_drops_what_was_said_is_refused_with_the_reason(template: str, complaint: str) -> None:
    with pytest.raises(ChatTemplateError, match=complaint):
        inspect_template(Rendering(template))


def test_signature_shows_types_defaults_and_closed_sets(cloud_tools: list[dict[str, Any]]) -> None:
    lines = [signature(tool) for tool in cloud_tools]
    assert lines[0] == "list_volumes(page: int = 1) - List storage volumes."
    assert lines[3] == 'list_instances(state: "running"|"stopped" = null) - List compute instances.'
    assert lines[4] == "stop_instance(instance_id: str, force: bool = null) - Stop an instance."


def test_fixed_wording_names_no_means() -> None:
    words = re.findall(r"[a-z]+", (ROLE + ANSWER_FORMAT).lower())
    stems = (
        "delet",
        "remov",
        "archiv",
        "chmod",
        "permission",
        "stop",
        "list",
        "read",
        "careful",
        "safe",
        "ask",
        "back",
    )
    assert not [word for word in words if word.startswith(stems)]
