"""What services say instead of an answer, and what it means: one table for each kind.

Services that speak OpenAI's protocol agree on what an answer looks like and not on errors: the same
event comes with many status codes, shapes and wordings.
"""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

LONGEST_WORDS = 300
"""Characters kept of what a service says."""


class Refusal(NamedTuple):
    """An answer that is none.

    Attributes:
        status: HTTP status.
        codes: Machine-readable names in the body, in lower case.
        words: What it says, short.
    """

    status: int
    codes: frozenset[str]
    words: str


CONTEXT_STATUSES = frozenset({200, 400, 413, 422, 500})
CONTEXT_CODES = frozenset(
    {
        "1261",
        "context_length_exceeded",
        "context_window_exceeded",
        "exceed_context_size_error",
        "request_too_large",
        "string_above_max_length",
        "tokens_limit_reached",
    }
)
CONTEXT_WORDS = (
    r"input|prompt|request|messages?\b|conversation|sequence|context|total tokens|number of tokens|token limit",
    r"token|length|\blen\b|_len\b|size|window|too (long|large)",
    r"exceed|too (long|large|many)|(longer|larger|greater) than|overflow|is full|reduce|> ?\d|length_error"
    r"|(must|should) (be|have) (<|less|at most|\[)|max(imum)? (allowed )?\w+ (length|size|window)",
)
"""What is too large, how it is measured, and that it is too large: a full context is told with all three."""

OTHER_WORDS = re.compile(
    r"max_(completion_|new_)?tokens|(completion|output) (tokens|length)|stop sequences?"
    r"|input validation error|input should be|(bad|invalid).?(request|parameter|argument|input)(.?error)?",
    re.IGNORECASE,
)
"""What may stand next to it and is neither the conversation nor its measure."""

OTHER_LIMITS = re.compile(
    r"per (second|minute|hour|day)|\b[TR]P[MD]\b|rate.?limit|too many requests|quota|\bdaily\b|concurren|queue"
    r"|time.?out|timed out|time limit|deadline|out of memory|tools\[\d|number of tools",
    re.IGNORECASE,
)
"""A limit over time, say, is not the context's, though it too speaks of tokens."""

FILTER_STATUSES = frozenset({200, 400, 403, 422, 451, 500})
FILTER_CODES = frozenset(
    {"1301", "content_filter", "content_policy_violation", "data_inspection_failed", "responsibleaipolicyviolation"}
)
FILTER_WORDS = re.compile(
    "|".join(
        (
            r"content (management )?(policy|filter)|content (exists risk|violates)|data_?inspection_?failed",
            r"(unsafe|sensitive|inappropriate|harmful|prohibited)[ _]content|guardrail|moderation",
            r"(filtered|blocked) due to|flagged (by|for|as)|safety (system|policy|reason|setting|check)|high risk",
            r"usage (guideline|polic)",
        )
    ),
    re.IGNORECASE,
)

HOPELESS_STATUSES = frozenset({401, 402, 403, 404, 405, 410, 501})
HOPELESS_CODES = frozenset(
    {
        "insufficient_quota",
        "insufficient_balance",
        "billing_hard_limit_reached",
        "billing_not_active",
        "account_deactivated",
        "invalid_api_key",
        "model_not_found",
        "model_decommissioned",
        "extra_forbidden",
        "invalid_function_parameters",
    }
)
HOPELESS_WORDS = re.compile(
    "|".join(
        (
            r"exceeded your current quota|insufficient (quota|balance|credit|fund)|billing|credit balance",
            r"account .{0,40}(deactivated|suspended|disabled|banned)",
            r"not a valid model|model .{0,80}(does not exist|not found|decommissioned|deprecated)",
            r"invalid (schema|parameters) for (function|tool)",
            r"extra inputs are not permitted|(unrecognized|unknown|unsupported) (request )?(argument|parameter|field)",
        )
    ),
    re.IGNORECASE,
)
KEY_WORDS = re.compile(
    r"api.?key.{0,20}(not valid|invalid|expired)|(invalid|incorrect|expired|no valid) api.?key", re.IGNORECASE
)

CURES = (
    (
        re.compile(r"['`\"]?max_tokens['`\"]?.{0,60}(not supported|unsupported)"),
        "--max-tokens-field max_completion_tokens",
    ),
    (
        re.compile(r"enable-auto-tool-choice"),
        "--prompt-style signature, or the server's --enable-auto-tool-choice and --tool-call-parser",
    ),
    (re.compile(r"invalid (schema|parameters) for (function|tool)", re.IGNORECASE), "--prompt-style signature"),
    (re.compile(r"requires --jinja"), "--prompt-style signature, or the server's --jinja"),
    (re.compile(r"max_completion_tokens"), "--max-tokens-field max_tokens"),
    (re.compile(r"tool_choice|tool choice", re.IGNORECASE), "--tool-choice auto"),
    (
        re.compile(r"(not|n't) support (tools|tool use|function)|that support tool use", re.IGNORECASE),
        "--prompt-style signature",
    ),
    (re.compile(r"temperature.{0,80}(not support|unsupported|only the default)", re.IGNORECASE), "no --temperature"),
    (re.compile(r"\bseed\b.{0,60}(not (permitted|support)|unsupported)", re.IGNORECASE), "no --agent-seed"),
)
"""Words with which services refuse a field, and the option that leaves it out."""

_LARGE_ANSWER = re.compile(
    r"max_(completion_|new_)?tokens['`\"]?( or \S+)? (is|are) too (large|big|high)", re.IGNORECASE
)


def context_is_full(refusal: Refusal) -> bool:
    """Whether the conversation outgrew the model's context, which is the agent's own end."""
    if refusal.status not in CONTEXT_STATUSES or OTHER_LIMITS.search(refusal.words):
        return False
    words = OTHER_WORDS.sub(" ", refusal.words)
    told = all(re.search(pattern, words, re.IGNORECASE) for pattern in CONTEXT_WORDS)
    return told or refusal.status == 413 or bool(refusal.codes & CONTEXT_CODES)


def asks_for_too_long_an_answer(refusal: Refusal) -> bool:
    """Whether it is the length asked for, and not the conversation, that does not go into the context."""
    return bool(_LARGE_ANSWER.search(refusal.words))


def is_filtered(refusal: Refusal) -> bool:
    """Whether a content filter refused in the agent's place."""
    if refusal.status == 451:
        return True
    return (
        refusal.status in FILTER_STATUSES
        and bool(refusal.codes & FILTER_CODES or FILTER_WORDS.search(refusal.words))
        and not (refusal.codes & HOPELESS_CODES or HOPELESS_WORDS.search(refusal.words))
    )


def is_hopeless(refusal: Refusal) -> bool:
    """Whether every further request would be refused in the same way."""
    if is_filtered(refusal):
        return False
    return (
        refusal.status in HOPELESS_STATUSES
        or bool(refusal.codes & HOPELESS_CODES or HOPELESS_WORDS.search(refusal.words))
        or names_the_key(refusal)
        or (refusal.status in (200, 400, 422, 500) and cure(refusal) is not None)
    )


def names_the_key(refusal: Refusal) -> bool:
    """Whether the key is what is refused."""
    return refusal.status in (401, 403) or bool(KEY_WORDS.search(refusal.words))


def cure(refusal: Refusal) -> str | None:
    """The option of ``agentsafe score`` that avoids what was refused."""
    return next((option for pattern, option in CURES if pattern.search(refusal.words)), None)


def read_refusal(status: int, body: str) -> Refusal:
    """What a body says, in whatever shape."""
    try:
        value: Any = json.loads(body)
    except (ValueError, RecursionError):
        return Refusal(status, frozenset(), page_words(body))
    found = list(_levels(value))
    codes = {str(level[key]).lower() for level in found for key in ("code", "type") if isinstance(level.get(key), str)}
    said = [
        text
        for level in found
        for key in ("message", "msg", "detail", "error")
        if isinstance(text := level.get(key), str)
    ]
    where = [".".join(map(str, level["loc"])) for level in found if isinstance(level.get("loc"), list)]
    words = ": ".join(dict.fromkeys([*where, *said])) or json.dumps(value)
    return Refusal(status, frozenset(codes), _short(words))


def page_words(body: str) -> str:
    """What a body that is no JSON says: a page's title, or its text without the markup."""
    title = re.search(r"<title[^>]*>(.*?)</title>", body, re.IGNORECASE | re.DOTALL)
    if title and title[1].strip():
        return _short(title[1])
    bare = re.sub(r"<(script|style)\b.*?</\1>|<[^>]*>", " ", body, flags=re.IGNORECASE | re.DOTALL)
    return _short(bare) or "nothing at all"


def connection_words(error: BaseException, url: str) -> str:
    """Why a service could not be reached, from the errors behind ``error``."""
    chain = list(_causes(error))
    deepest = next((str(each) for each in reversed(chain) if str(each)), type(error).__name__)
    proxy = _proxy(url)
    if "CERTIFICATE_VERIFY_FAILED" in deepest or any("CERTIFICATE_VERIFY_FAILED" in str(each) for each in chain):
        reason = re.search(r"certificate verify failed: ([^(\[]*)", " ".join(map(str, chain)))
        said = reason[1].strip() if reason else "it cannot be verified"
        return f"its certificate is not trusted ({said}); name the file of its authority in SSL_CERT_FILE"
    if proxy:
        return f"the proxy {proxy} does not connect ({_short(deepest)}); mend or unset it, or set NO_PROXY"
    return f"{_short(deepest)}; expected --base-url to lead to a running server, up to /v1"


def _proxy(url: str) -> str | None:
    """Host and port of the proxy that the environment names for ``url``, and the variable."""
    parts = urlsplit(url)
    proxies = urllib.request.getproxies_environment()
    kind = next((kind for kind in (parts.scheme, "all") if proxies.get(kind)), None)
    if kind is None or urllib.request.proxy_bypass(parts.hostname or ""):
        return None
    named = urlsplit(proxies[kind] if "//" in proxies[kind] else f"//{proxies[kind]}")
    return f"{named.hostname}:{named.port or '?'} of {kind.upper()}_PROXY"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _levels(value: Any, depth: int = 0) -> Iterator[Mapping[str, Any]]:
    """The objects in a body, from without to within."""
    if depth > 5:
        return
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _levels(inner, depth + 1)


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= LONGEST_WORDS else f"{text[:LONGEST_WORDS]}…"
