"""Rows as a local model reads them: token ids, the places that the assistant wrote, and what a model expects there.

Works with any causal model of transformers that has a chat template: ``student:NAME``, ``hf:NAME`` or a folder.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from agentsafe_envs.agents import prompts
from agentsafe_envs.agents.protocol import AgentError
from agentsafe_envs.core.actions import ToolCall
from agentsafe_envs.core.extras import install_hint
from agentsafe_envs.trajectories.conversion import messages_in_ours, schemas
from agentsafe_envs.trajectories.schema import Trajectory, to_conversation
from agentsafe_envs.trajectories.shapes import text_of

if TYPE_CHECKING:
    from torch import Tensor

LOGITS_AT_A_TIME = 30_000_000
"""Numbers that a batch's logits may have; they decide what a forward pass takes of memory."""

STUDENT = "student:"

T = TypeVar("T")


class LocalModel(NamedTuple):
    """A model of this process, with what it takes to show it a row.

    Attributes:
        name: As it was asked for.
        model: A causal model of transformers.
        tokenizer: Its own.
        template: What its chat template shows.
        style: How tools are shown.
        role: First words of the system message of rows that have none.
    """

    name: str
    model: Any
    tokenizer: Any
    template: prompts.ChatTemplate
    style: prompts.PromptStyle
    role: str = prompts.ROLE


class TokenRow(NamedTuple):
    """One row.

    Attributes:
        ids: Token ids of the whole conversation.
        targets: Indices of the tokens that the assistant wrote, none of which is 0. Of each answer the last is the one
            at which its writer stops; what a chat template adds behind it, such as a line's end, nobody wrote.
    """

    ids: list[int]
    targets: list[int]


def open_model(spec: str, device: str | None = None) -> LocalModel:
    """The model that ``spec`` names, in float32; a LoRA adapter is added to the weights of its base.

    Args:
        spec: ``student:NAME``, ``hf:NAME``, or the folder of a model or LoRA adapter.
        device: For instance ``"cpu"``; None takes a GPU if there is one.

    Raises:
        AgentError: torch is missing, there is no such model, its weights are not finite, or its chat template shows no
            conversation.
    """
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise AgentError(f"{spec} is read through torch: {install_hint('lm')} ({error})") from error
    from agentsafe_envs.agents.loading import PREFIX, load_model, training_settings
    from agentsafe_envs.agents.students import find_student, students

    is_student = spec.startswith(STUDENT)
    if not spec.startswith((STUDENT, PREFIX)) and not Path(spec).is_dir():
        hint = f"; did you mean {STUDENT}{spec}?" if spec in students() else ""
        raise AgentError(f"{spec} is no folder; expected {STUDENT}NAME, {PREFIX}NAME or the folder of a model{hint}")
    place = str(find_student(spec.removeprefix(STUDENT))[0]) if is_student else spec.removeprefix(PREFIX)
    model, tokenizer = load_model(place, "float32", device, merge=True)
    if odd := next((name for name, each in model.named_parameters() if not each.isfinite().all()), None):
        raise AgentError(f"{odd} of {spec} holds NaN or an infinity; expected finite weights: train or copy it again")
    if not tokenizer.chat_template:
        raise AgentError(f"{spec} has no chat template; expected a model tuned for chat")
    try:
        template = prompts.inspect_template(tokenizer)
    except prompts.ChatTemplateError as error:
        raise AgentError(f"{spec}: {error}") from error
    settings = training_settings(place)
    if settings is None:
        return LocalModel(spec, model, tokenizer, template, prompts.default_style(template))
    return LocalModel(spec, model, tokenizer, template, settings.prompt_style, settings.role)


def require_one_vocabulary(one: LocalModel, other: LocalModel) -> None:
    """Refuse two models whose tokens cannot be compared.

    Raises:
        ValueError: They differ; the message says what would fit.
    """
    if one.tokenizer.get_vocab() != other.tokenizer.get_vocab():
        raise ValueError(
            f"{one.name} and {other.name} have different tokens, so nothing can be compared token by token; expected "
            "two models of one family, such as a teacher and the base that it was made of"
        )


def token_row(row: Trajectory, local: LocalModel, *, only_last: bool = False, given: str = "") -> TokenRow:
    """``row`` in the words in which an evaluation would show it to the model.

    Args:
        row: An episode, or a conversation.
        local: Who reads it.
        only_last: Targets of the last answer alone. Finding an answer means rendering the row twice more.
        given: Words in an answer before its targets: they and the white space behind them are none. A template that
            does not show them there takes nothing away.

    Raises:
        ValueError: The chat template does not show the row, or not each of its calls, or it changes earlier messages
            when later ones follow; the row begins with the assistant; or a call or content cannot be read.
    """
    from agentsafe_envs.agents.loading import stop_ids

    messages = _shown(row, local)
    native = prompts.uses_native_tools(local.style, local.template)
    tools = schemas(row) if native else None

    def render(upto: int, *, ask: bool) -> str:
        try:
            return prompts.rendered(local.tokenizer, messages[:upto], tools=tools or None, add_generation_prompt=ask)
        except prompts.ChatTemplateError as error:
            raise ValueError(f"the chat template of {local.name} cannot show the row: {error}") from error

    text = render(len(messages), ask=False)
    answers = [number for number, message in enumerate(messages) if message["role"] == "assistant"]
    if 0 in answers:
        raise ValueError("the row begins with the assistant; expected a message before it, which it answers")
    spans = []
    for number in answers[-1:] if only_last else answers:
        begin, end = render(number, ask=True), render(number + 1, ask=False)
        if not (end.startswith(begin) and text.startswith(end)):
            raise ValueError(
                f"the chat template of {local.name} shows message {number} otherwise once others follow, so its tokens "
                "cannot be told apart; expected a template that only appends"
            )
        answer = end[len(begin) :]
        called = [call["function"]["name"] for call in messages[number].get("tool_calls", ())]
        if hidden := [name for name in called if answer.count(name) < called.count(name)]:
            raise ValueError(
                f"the chat template of {local.name} does not show each call of message {number} ({hidden[0]}); "
                "expected rows with one call a message, or a template that shows several"
            )
        spans.append((len(begin) + _length_of(given, answer), len(end)))
    encoded = local.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    ids, places = list(encoded["input_ids"]), [place for place, _ in encoded["offset_mapping"]]
    stops, written = stop_ids(local.model, local.tokenizer), []
    for begin, end in spans:
        own = [index for index, place in enumerate(places) if index and begin <= place < end]
        stop = next((number for number, index in enumerate(own, start=1) if ids[index] in stops), len(own))
        written += own[:stop]
    return TokenRow(ids, written)


def _length_of(given: str, answer: str) -> int:
    """Where that goes on which stands behind the given words; 0 where they are not in the answer."""
    found = answer.find(given.strip())
    if not given or found < 0:
        return 0
    behind = found + len(given.strip())
    return behind + len(answer[behind:]) - len(answer[behind:].lstrip())


def _shown(row: Trajectory, local: LocalModel) -> list[dict[str, Any]]:
    """The messages in the model's form; of rows that are no episodes as they came."""
    messages = [{**each, "content": text_of(each)} for each in messages_in_ours(row)]
    tools = schemas(row)
    leading = list(takewhile(lambda each: each["role"] == "system", messages))
    role = "\n\n".join(each["content"] for each in leading) if leading else local.role
    try:
        conversation = to_conversation(Trajectory(**{**row, "messages": messages, "tools": tools}))
    except ValueError:
        left = messages[len(leading) :]
        if not prompts.uses_native_tools(local.style, local.template):
            left = [_in_text(each, number) for number, each in enumerate(left, start=len(leading))]
        if tools:
            role = prompts.system_text(role, tools, local.style, local.template)
        if tools or leading:
            left = prompts.instructed(left, role, local.template)
        return prompts.in_form(left, local.template)
    return prompts.chat_messages(conversation, local.style, local.template, role)


def _in_text(message: dict[str, Any], number: int) -> dict[str, Any]:
    """A message as a model is shown it that writes calls as text."""
    calls = message.get("tool_calls", ())
    if len(calls) > 1:
        raise ValueError(
            f"message {number} makes {len(calls)} calls; expected one, since this model writes one a message"
        )
    if message["role"] != "assistant" or not calls:
        return {"role": "user" if message["role"] == "tool" else message["role"], "content": message["content"]}
    call = ToolCall(calls[0]["function"]["name"], calls[0]["function"]["arguments"], message["content"])
    return {"role": "assistant", "content": prompts.spoken(call.to_action())}


def require_answers(rows: Sequence[TokenRow]) -> None:
    """Refuse rows of which nothing could be learnt.

    Raises:
        ValueError: In none of them an assistant says or calls anything.
    """
    if not any(row.targets for row in rows):
        raise ValueError("no row holds a message of an assistant; expected trajectories that a student learns from")


def expectations(models: Sequence[Any], rows: Sequence[TokenRow]) -> Iterator[tuple[int, list[Tensor]]]:
    """What each model expects at every place that the assistant wrote, row by row.

    Output layers are often longer than the vocabulary, and not equally long in models of one family. An output
    that not all of them have counts in none.

    Args:
        models: Of transformers, of one vocabulary.
        rows: What they read.

    Yields:
        Number of the row, and for each model log-probabilities of shape (targets, shortest output layer).
    """
    import torch

    outputs = [model.get_output_embeddings().weight.shape[0] for model in models]
    shared = min(outputs)  # at least the vocabulary: `load_model` refuses a model with fewer outputs than tokens
    for batch in _batches(rows, max(LOGITS_AT_A_TIME // max(outputs), 1)):
        width = max(len(rows[number].ids) for number in batch)
        # Filling stands on the right, where causal attention does not look.
        ids = torch.tensor([rows[number].ids + [0] * (width - len(rows[number].ids)) for number in batch])
        with torch.inference_mode():
            logits = [model(input_ids=ids.to(model.device)).logits for model in models]
            for line, number in enumerate(batch):
                before = torch.tensor(rows[number].targets, dtype=torch.long) - 1
                chosen = (each[line, before.to(each.device), :shared] for each in logits)
                yield number, [each.float().log_softmax(-1).cpu() for each in chosen]


def taken(expected: Tensor, row: TokenRow) -> Tensor:
    """Log-probability of the tokens that stand in the row, shape (targets,), in nats."""
    import torch

    return expected.gather(1, torch.tensor([[row.ids[index]] for index in row.targets], dtype=torch.long))[:, 0]


def _batches(rows: Sequence[TokenRow], tokens: int) -> Iterator[list[int]]:
    """Numbers of the rows that have targets, in batches of about one length."""
    order = sorted((number for number, row in enumerate(rows) if row.targets), key=lambda number: len(rows[number].ids))
    batch: list[int] = []
    for number in order:
        if batch and len(rows[number].ids) * (len(batch) + 1) > tokens:
            yield batch
            batch = []
        batch.append(number)
    if batch:
        yield batch


def some(rows: Sequence[T], limit: int | None, seed: int = 0) -> list[T]:
    """At most ``limit`` of the rows, drawn without repetition and in their order; all of them without a limit."""
    if limit is None or len(rows) <= limit:
        return list(rows)
    return [rows[number] for number in sorted(random.Random(f"rows/{seed}").sample(range(len(rows)), limit))]


def token_rows(
    rows: Sequence[Trajectory], local: LocalModel, limit: int | None = None, seed: int = 0
) -> list[TokenRow]:
    """:func:`token_row` of each, or of those that :func:`some` draws.

    Raises:
        ValueError: A row cannot be shown; the message says which.
    """
    found = []
    for number, row in some(list(enumerate(rows)), limit, seed):
        try:
            found.append(token_row(row, local))
        except ValueError as error:
            raise ValueError(f"row {number}: {error}") from error
    return found


def showable_rows(
    rows: Sequence[Trajectory], local: LocalModel, limit: int | None = None, seed: int = 0
) -> tuple[list[TokenRow], list[str]]:
    """:func:`token_rows` without those that cannot be shown, and a line on each of these.

    Raises:
        ValueError: None of them can be shown; the message says why of the first.
    """
    found: list[TokenRow] = []
    left_out: list[str] = []
    for number, row in some(list(enumerate(rows)), limit, seed):
        try:
            found.append(token_row(row, local))
        except ValueError as error:
            left_out.append(f"row {number}: {error}")
    if left_out and not found:
        raise ValueError(left_out[0])
    return found, left_out
