"""Submissions of a small suite, and a generator of results that nobody played."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from agentsafe_envs.agents.protocol import Conversation
from agentsafe_envs.registration import TABLE
from agentsafe_envs.runs.rows import AgentRecord, SuiteRecord
from agentsafe_envs.scoring.rollout import play_suite
from agentsafe_envs.scoring.scorecard import Rate, Scorecard, build_scorecard
from agentsafe_envs.scoring.suites import SUITES, Suite
from agentsafe_envs.submissions.bundle import About, make_submission
from agentsafe_envs.submissions.schema import Distillation, Submission
from leaderboard.site.build import write_site
from leaderboard.site.collecting import collect
from leaderboard.site.results import CheckLine, EpisodeLine, Result, Share

MADE = date(2026, 11, 27)

SMALL = {
    "small": Suite(
        "small",
        {"ambiguous": 4, "safe": 1, "required": 1, "forbidden": 1},
        max_steps=6,
        environments=("DeleteBiasAPI-v0", "GrantBiasAPI-v0"),
    )
}

HOSTILE = "</script></style><img src=x onerror=\"document.title='owned'\"><!--<script>&lt;{{ 7 * 7 }}"
"""What an agent might write to get out of wherever its text is put."""

BASE, STUDENT = "base", "student"


class Page(HTMLParser):
    """Every tag with its attributes, and all text."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(file.read_text("ascii"))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def addresses(self) -> list[str]:
        """What it leads to or loads."""
        named = [attributes.get(name) for _, attributes in self.tags for name in ("href", "src", "action")]
        return [each for each in named if each is not None]


class Intruder:
    """Writes markup into every place that an agent can write to."""

    name, group_size = "python:intruder:make", 1

    def start(self, seed: int) -> None:
        """Draw nothing."""

    def act(self, conversations: list[Conversation]) -> list[str]:
        texts = [HOSTILE, f'{{"name": "submit", "arguments": {{"answer": {HOSTILE!r}}}}}']
        return [texts[min(len(conversations[0].steps), 1)]]

    def describe(self) -> dict[str, str]:
        return {"note": HOSTILE}


class HalfPairs(Intruder):
    """Writes half a surrogate pair, which Python's JSON can hold and no file can."""

    name = "python:half_pairs:make"

    def act(self, conversations: list[Conversation]) -> list[str]:
        return ["half a pair: \ud800"]

    def describe(self) -> dict[str, str]:
        return {}


class Silent(Intruder):
    """Answers in prose, in no task acts, and says in which style it was shown its tools."""

    name = "python:silent:make"

    def act(self, conversations: list[Conversation]) -> list[str]:
        return ["I would rather not."]

    def describe(self) -> dict[str, str]:
        return {"prompt_style": "signature"}


@pytest.fixture(scope="session")
def silent(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """What a board makes of it."""
    folder = tmp_path_factory.mktemp("silent")
    play_suite(Silent(), SMALL["small"], folder / "run")
    about = About(contact="me@example.org", licence="MIT", model="silent")
    make_submission(folder / "run", folder / "all" / "silent", name="silent", about=about, suites=SMALL)
    return collect(folder / "all", suites=SMALL, dates={}).results[0]


@pytest.fixture(scope="session")
def suites() -> Mapping[str, Suite]:
    return SMALL


@pytest.fixture(scope="session")
def submissions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three scripts, two of which are called a base and its student."""
    runs, out = tmp_path_factory.mktemp("runs"), tmp_path_factory.mktemp("submissions")
    for name, policy in (("cautious", "cautious"), (BASE, "random"), (STUDENT, "biased")):
        play_suite(f"scripted:{policy}", SMALL["small"], runs / name)
        about = About(contact="me@example.org", licence="MIT")
        make_submission(runs / name, out / name, name=name, about=about, suites=SMALL)
    return out


def distilled(result: Result) -> Result:
    """The same result of an agent that says it was distilled from the base."""
    made_of = Distillation(base=BASE, teacher="teacher-biased", data="sanitised trajectories", loss="sft")
    return result.model_copy(update={"submission": result.submission.model_copy(update={"distillation": made_of})})


def generated(
    number: int, *, seed: int = 0, environments: Sequence[str] = tuple(row.id for row in TABLE)
) -> list[Result]:
    """Results of agents that nobody played, with rates all over the place."""
    return Generator(seed, environments).results(number)


class Generator:
    """Makes results without playing: outcomes are drawn, and one scorecard is bent to each agent's rates."""

    def __init__(self, seed: int, environments: Sequence[str]) -> None:
        self._random = random.Random(seed)
        self._suite = SUITES["standard"]._replace(environments=tuple(environments))
        self._digests = {each: f"{number:064x}" for number, each in enumerate(environments)}
        self._keys = self._suite.keys()
        self._card = self._scorecard()

    def results(self, number: int) -> list[Result]:
        return [self._result(place) for place in range(number)]

    def _result(self, number: int) -> Result:
        skill, harm, habit = (self._random.random() for _ in range(3))
        harm *= self._random.random()
        lines = [self._line(*key, skill, harm, habit) for key in self._keys]
        overall = self._card.overall.model_copy(
            update={
                "safe_success_rate": _rate([each.safe_success for each in lines]),
                "unsafe_rate": _rate([each.unsafe for each in lines]),
                "required_success_rate": _rate([each.success for each in lines if each.split == "required"]),
                "override_rate": _rate([each.override for each in lines if each.split == "forbidden"]),
                "biased_first_rate": _rate([each.first == "biased" for each in lines if each.split == "ambiguous"]),
            }
        )
        cells = [
            score.model_copy(
                update={
                    "biased_first_rate": _rate(
                        [x.first == "biased" for x in lines if (x.environment, x.split) == (score.id, score.split)]
                    )
                }
            )
            for score in self._card.environments
        ]
        done = _rate([each.success for each in lines])
        kind = self._random.choice(("hf", "hf", "student", "openai", "scripted"))
        return Result(
            slug=f"agent-{number:03}",
            submission=self._submission(number, kind),
            card=f"# agent {number:03}\n",
            digest=f"{number:064x}",
            level=self._random.choice(("replayed", "replayed", "re-run", "held-out")),
            checks=[CheckLine(name="replay", sentence="Played again.", status="passed", detail="all")],
            scorecard=self._card.model_copy(update={"overall": overall, "environments": cells}),
            done=Share(estimate=done.estimate, low=done.low, high=done.high, n=done.n),
            episodes=lines,
            shown=[],
            digests=[],
            date=f"2026-{1 + number % 12:02}-{1 + number % 28:02}",
        )

    def _line(
        self, environment: str, split: str, seed: int, trial: int, skill: float, harm: float, habit: float
    ) -> EpisodeLine:
        chance = self._random.random
        return EpisodeLine(
            environment=environment,
            split=split,
            seed=seed,
            trial=trial,
            template=f"scenario_{seed % 12}/{seed % 3}",
            first="biased" if chance() < habit else "alternative",
            success=chance() < skill,
            unsafe=chance() < harm,
            override=split == "forbidden" and chance() < harm,
            unclear=False,
        )

    def _submission(self, number: int, kind: str) -> Submission:
        agent: dict[str, Any] = {
            "name": f"agent {number:03}",
            "kind": kind,
            "model": f"model-{number}",
            "licence": "MIT",
        }
        agent |= {
            "settings": {},
            "parameters": 10 ** (6 + number % 4),
            "weights_sha256": "0" * 64,
            "api": "api.example",
        }
        sha = {"sha256": "0" * 64, "bytes": 1}
        return Submission.model_validate(
            {
                "format": 1,
                "agent": agent,
                "suite": {"name": "standard", "release": "0.1.0", "environments": self._digests},
                "files": {"card.md": sha, "episodes.jsonl.zst": sha},
                "contact": "me@example.org",
            }
        )

    def _scorecard(self) -> Scorecard:
        verdict = {"first": "biased", "unsafe": True, "asked": False, "success": True, "override": False}
        verdict |= {"invalid_actions": 0, "biased_calls": 1, "steps": 2, "tampered": False}
        template = "scenario/wording"
        rows = [{"key": key._asdict(), "template": template, "verdict": verdict} for key in self._keys]
        suite = SuiteRecord(name="standard", digest="0" * 64, environments=self._digests)
        return build_scorecard(rows, suite, AgentRecord(name="generated", settings={}), planned=self._keys)


def _rate(values: Sequence[bool]) -> Rate:
    share = sum(values) / len(values)
    reach = 0.1 * (1 - share) * share + 0.01
    ends = {"low": max(0.0, share - reach), "high": min(1.0, share + reach)}
    nothing = {"worst_low": None, "worst_high": None}
    return Rate(estimate=share, **ends, n=len(values), method="bootstrap", **nothing)


Written = Callable[[Sequence[Result]], Path]


@pytest.fixture
def written(tmp_path: Path) -> Written:
    """Writes the board of results and returns its folder."""

    def written(results: Sequence[Result]) -> Path:
        write_site(results, tmp_path / "board", made=MADE)
        return tmp_path / "board"

    return written
