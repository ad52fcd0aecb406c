"""What can be taken away: JSON, CSV, `every_eval_ever` records, and YAML for a model's page on a hub."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import uuid
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import agentsafe_envs
from agentsafe_envs.scoring.measures import MEASURES, Summary
from leaderboard.site.boards import Placed, SuiteBoard
from leaderboard.site.results import Result

RECORD_VERSION = "0.3.0"
"""Version of the schema of `every_eval_ever` that records follow."""

BENCHMARK = "agentsafe"
PROJECT = "https://github.com/agentsafe/agentsafe_envs"

SUMMARIES: tuple[Summary, ...] = tuple(measure.overall for measure in MEASURES if measure.overall)

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_HIGHER_IS_BETTER = {"safe_success_rate", "required_success_rate"}
_HOSTED = {"openai": "externally_managed", "hf": "self_deployed", "student": "self_deployed"}


class Download(NamedTuple):
    """Files of one agent.

    Attributes:
        name: Of the agent.
        slug: Of its page.
        record: File of its `every_eval_ever` record.
        yaml: File for its model's page.
    """

    name: str
    slug: str
    record: str
    yaml: str


def write_downloads(found: Sequence[SuiteBoard], out: Path, made: date, home: str) -> list[Download]:
    """Write every file below ``out``.

    Args:
        found: Every suite's board.
        out: Folder of the board.
        made: Day on which it was made.
        home: Public address of the board; empty where it has none.

    Returns:
        The files of each agent.
    """
    rows = [(suite, row) for suite in found for row in suite.rows]
    document = {
        "made": made.isoformat(),
        "release": agentsafe_envs.__version__,
        "agents": [entry(*each) for each in rows],
    }
    (out / "board.json").write_text(json.dumps(document, indent=1, allow_nan=False) + "\n")
    (out / "board.csv").write_text(as_csv(document["agents"]))
    downloads = []
    for suite, row in rows:
        path = record_path(row.result)
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        (out / path).write_text(json.dumps(record(suite, row, made, home), indent=2, allow_nan=False) + "\n")
        lines = Path("eval_results") / f"{row.result.slug}.yaml"
        (out / lines).parent.mkdir(exist_ok=True)
        (out / lines).write_text(hub_yaml(suite, row.result, home))
        downloads.append(Download(row.result.name, row.result.slug, path.as_posix(), lines.as_posix()))
    return downloads


def entry(suite: SuiteBoard, row: Placed) -> dict[str, Any]:
    """One agent with its numbers, in plain JSON types."""
    result = row.result
    agent = result.submission.agent
    found: dict[str, Any] = {
        "slug": result.slug,
        "agent": agent.name,
        "kind": row.kind,
        "model": agent.model,
        "base_model": agent.base_model,
        "parameters": agent.parameters,
        "suite": suite.name,
        "environments": sorted(result.submission.suite.environments),
        "level": result.level,
        "date": result.date,
        "submission": result.digest,
        "rank_low": row.low,
        "rank_high": row.high,
        "episodes": len(result.episodes),
    }
    for summary in SUMMARIES:
        rate = getattr(result.scorecard.overall, summary.field)
        found[summary.field] = {name: getattr(rate, name) for name in ("estimate", "low", "high", "n", "method")}
    found["done_rate"] = result.done.model_dump()
    return found


def as_csv(entries: Sequence[dict[str, Any]]) -> str:
    """The same as a table, a line an agent; no cell is taken for a formula by a spreadsheet."""
    out = io.StringIO()
    lines = [dict(_flat(each)) for each in entries]
    names = list(lines[0]) if lines else ["agent"]
    writer = csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow(names)
    writer.writerows([_plain(line[name]) for name in names] for line in lines)
    return out.getvalue()


def record(suite: SuiteBoard, row: Placed, made: date, home: str) -> dict[str, Any]:
    """The `every_eval_ever` record of an agent."""
    result = row.result
    agent = result.submission.agent
    stamp = str((made - date(1970, 1, 1)).days * 86_400)
    model = model_id(result)
    return {
        "schema_version": RECORD_VERSION,
        "evaluation_id": f"{BENCHMARK}/{model.replace('/', '_')}/{stamp}",
        "retrieved_timestamp": stamp,
        **({"evaluation_timestamp": result.date} if result.date else {}),
        "source_metadata": {
            "source_name": "agentsafe board",
            "source_type": "evaluation_run",
            "source_organization_name": "agentsafe_envs",
            "source_organization_url": home or PROJECT,
            "evaluator_relationship": "third_party",
            "additional_details": {
                "level": result.level,
                "submission_digest": result.digest,
                "rank": row.rank,
                "unproved": "replay proves what the actions did, not which model chose them",
            },
        },
        "eval_library": {"name": "agentsafe_envs", "version": result.submission.suite.release},
        "model_info": {
            "name": agent.name,
            "id": model,
            **({"inference_platform": agent.api} if agent.api else {}),
            "additional_details": {
                "deployment_type": _HOSTED.get(agent.kind, "unknown"),
                "model_availability": "open_weights" if agent.weights_sha256 else "unknown",
                "kind": agent.kind,
                **({"weights_sha256": agent.weights_sha256} if agent.weights_sha256 else {}),
                **({"base_model": agent.base_model} if agent.base_model else {}),
                **({"parameters": str(agent.parameters)} if agent.parameters else {}),
            },
        },
        "evaluation_results": list(_results(suite, result)),
    }


def record_path(result: Result) -> Path:
    """Where the record belongs in a store of such records; equal submissions have equal paths."""
    developer, _, name = model_id(result).partition("/")
    random = bytearray(hashlib.sha256(result.digest.encode()).digest()[:16])
    number = uuid.UUID(bytes=bytes(random), version=4)
    return Path("data") / BENCHMARK / developer / name / f"{number}.json"


def model_id(result: Result) -> str:
    """Developer and name; what is no model of a hub stands under the project's own name."""
    return f"agentsafe_envs/{result.slug}"


def hub_yaml(suite: SuiteBoard, result: Result, home: str) -> str:
    """Lines for the folder ``.eval_results`` of a model; JSON strings are YAML strings."""
    address = f"{home.rstrip('/')}/agents/{result.slug}.html" if home else PROJECT
    lines = [
        f"# {suite.name} suite of agentsafe_envs {result.submission.suite.release}; level {result.level}.",
        "# The data set's id takes effect once a hub lists this benchmark.",
    ]
    for summary in SUMMARIES:
        rate = getattr(result.scorecard.overall, summary.field)
        if rate.estimate is None:
            continue
        notes = f"{summary.sentence} 95% interval {rate.low} to {rate.high}, {rate.n} episodes"
        lines += [
            f"- dataset: {{id: agentsafe/agentsafe_envs, task_id: {json.dumps(f'{suite.name}-{summary.field}')}}}",
            f"  value: {rate.estimate}",
            *([f"  date: {json.dumps(result.date)}"] if result.date else []),
            f"  source: {{url: {json.dumps(address)}, name: agentsafe board}}",
            f"  notes: {json.dumps(notes)}",
        ]
    return "\n".join(lines) + "\n"


def _results(suite: SuiteBoard, result: Result) -> Iterator[dict[str, Any]]:
    for summary in SUMMARIES:
        rate = getattr(result.scorecard.overall, summary.field)
        if rate.estimate is None:
            continue
        interval = {"lower": rate.low, "upper": rate.high, "confidence_level": 0.95, "method": rate.method}
        yield {
            "evaluation_result_id": f"{suite.name}.{summary.field}",
            "evaluation_name": f"agentsafe {suite.name}: {summary.heading}",
            "source_data": {
                "dataset_name": f"agentsafe_envs suite {suite.name}",
                "source_type": "url",
                "url": [PROJECT],
                "additional_details": {
                    f"digest {name}": digest for name, digest in result.submission.suite.environments.items()
                },
            },
            "metric_config": {
                "evaluation_description": summary.sentence,
                "metric_id": f"{BENCHMARK}.{summary.field}",
                "metric_name": summary.heading,
                "metric_kind": "rate",
                "metric_unit": "proportion",
                "lower_is_better": summary.field not in _HIGHER_IS_BETTER,
                "score_type": "continuous",
                "min_score": 0.0,
                "max_score": 1.0,
            },
            "score_details": {
                "score": rate.estimate,
                "uncertainty": {"confidence_interval": interval, "num_samples": rate.n},
            },
        }


def _flat(entry: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in entry.items():
        if isinstance(value, dict):
            yield from ((f"{name}_{part}", each) for part, each in value.items())
        else:
            yield name, " ".join(value) if isinstance(value, list) else value


def _plain(value: Any) -> Any:
    """A cell; text that a spreadsheet would run as a formula gets an apostrophe before it."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
