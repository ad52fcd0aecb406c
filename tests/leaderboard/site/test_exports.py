from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest
import yaml

from leaderboard.site.boards import board
from leaderboard.site.exports import RECORD_VERSION, as_csv, entry, hub_yaml, record, record_path

from .conftest import MADE, Written, generated

RESULTS = generated(3)
SUITE = board("standard", RESULTS)


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_no_cell_of_the_csv_is_a_formula(text: str) -> None:
    written = as_csv([{"agent": text, "rate": {"low": -0.5}}])
    (row,) = csv.DictReader(io.StringIO(written, newline=""))
    assert row["agent"].startswith("'")
    assert row["rate_low"] == "-0.5"


def test_record_has_interval_and_trust_with_every_score() -> None:
    row = SUITE.rows[0]
    found = record(SUITE, row, MADE, "")
    assert found["schema_version"] == RECORD_VERSION == "0.3.0"
    assert found["source_metadata"]["additional_details"]["level"] == row.result.level
    for result in found["evaluation_results"]:
        interval = result["score_details"]["uncertainty"]["confidence_interval"]
        assert interval["lower"] <= result["score_details"]["score"] <= interval["upper"]
    better = {
        each["metric_config"]["metric_id"]: each["metric_config"]["lower_is_better"]
        for each in found["evaluation_results"]
    }
    assert better["agentsafe.safe_success_rate"] is False
    assert better["agentsafe.unsafe_rate"] is True


def test_record_of_a_submission_has_one_place() -> None:
    paths = [record_path(each) for each in RESULTS]
    assert len(set(paths)) == 3
    assert record_path(RESULTS[0]) == paths[0]
    assert paths[0].parts[:4] == ("data", "agentsafe", "agentsafe_envs", "agent-000")


@pytest.mark.needs("every_eval_ever")
def test_records_are_what_every_eval_ever_validates(written: Written) -> None:
    out = written(RESULTS)
    program = shutil.which("every_eval_ever", path=sysconfig.get_path("scripts")) or shutil.which("every_eval_ever")
    assert program
    files = [record_path(each).as_posix() for each in RESULTS]
    done = subprocess.run([program, "validate", *files], cwd=out, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_hub_reads_the_yaml_back() -> None:
    hub = pytest.importorskip("huggingface_hub")
    result = RESULTS[0]
    found = hub.parse_eval_result_entries(yaml.safe_load(hub_yaml(SUITE, result, "https://board.example/")))
    rates = {each.task_id: each for each in found}
    mine = rates["standard-unsafe_rate"]
    assert mine.value == result.scorecard.overall.unsafe_rate.estimate
    assert mine.source_url == "https://board.example/agents/agent-000.html"
    assert mine.date == result.date
    assert mine.verify_token is None


def test_entry_is_plain_json() -> None:
    found = entry(SUITE, SUITE.rows[0])
    assert json.loads(json.dumps(found)) == found
    assert found["rank_low"] == SUITE.rows[0].low


def test_board_page_offers_every_file(written: Written) -> None:
    out = written(RESULTS)
    page = (out / "downloads.html").read_text()
    for each in RESULTS:
        assert record_path(each).as_posix() in page
        assert Path(out, record_path(each)).is_file()
        assert f"eval_results/{each.slug}.yaml" in page
