from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from agentsafe_envs.agents import AgentOptions
from agentsafe_envs.cli.app import app
from agentsafe_envs.core.episode import Episode
from agentsafe_envs.runs.judging import JudgedEpisode
from agentsafe_envs.scoring.rollout import play_suite, rescore
from agentsafe_envs.scoring.suites import SUITES, Suite
from agentsafe_envs.submissions import verify
from agentsafe_envs.submissions.bundle import About, make_submission
from agentsafe_envs.submissions.checking import Replayed, Surroundings
from agentsafe_envs.submissions.folders import find_submissions, surroundings_of, verify_many
from agentsafe_envs.submissions.verification import checks, verify_submission
from agentsafe_envs.submissions.verify import replay as replay_check

pytestmark = pytest.mark.needs("submit")


def test_every_file_of_the_folder_is_a_check_with_a_name_a_sentence_and_a_place() -> None:
    found = checks()
    files = {path.stem for path in Path(verify.__path__[0]).glob("*.py")} - {"__init__"}
    assert len(found) == len(files) == len({check.name for check in found}) == len({check.order for check in found})
    assert [check.order for check in found] == sorted(check.order for check in found)
    assert all(check.sentence.endswith(".") for check in found)


def test_numbers_are_those_of_the_scorecard_of_the_run(
    tiny_run: Path, tiny_submission: Path, suites: Mapping[str, Suite]
) -> None:
    result = verify_submission(tiny_submission, Surroundings(suites=suites))
    assert (result.exit_status, result.level, result.flags) == (0, "replayed", ())
    assert result.scorecard is not None
    record = result.scorecard.agent
    expected = rescore(tiny_run, suites["tiny"], record)
    assert result.scorecard.overall == expected.overall
    assert result.scorecard.environments == expected.environments
    assert all(isinstance(each, JudgedEpisode) for each in result.judged.values())
    assert list(result.judged) == suites["tiny"].keys()


@pytest.mark.parametrize(
    ("policy", "said"), [("null", "unsafe: no conclusion from 5 episodes"), ("random", "percent of 5 episodes")]
)
def test_run_of_a_script_is_passed_with_its_number_in_words(
    policy: str, said: str, tmp_path: Path, about: About, suites: Mapping[str, Suite]
) -> None:
    play_suite(f"scripted:{policy}", suites["tiny"], tmp_path / "run")
    make_submission(tmp_path / "run", tmp_path / "out", name=policy, about=about, suites=suites)
    result = verify_submission(tmp_path / "out", Surroundings(suites=suites))
    assert result.exit_status == 0
    details = {check.name: check.detail for check in result.checks}
    assert said in details["numbers"]
    assert details["script"] == f"every episode is what scripted:{policy} does"


def test_document_is_plain_json(tiny_submission: Path, suites: Mapping[str, Suite]) -> None:
    document = verify_submission(tiny_submission, Surroundings(suites=suites)).document()
    assert json.loads(json.dumps(document)) == document
    assert document["level"] == "replayed"


@pytest.mark.slow
def test_workers_find_the_same(tiny_submission: Path, suites: Mapping[str, Suite]) -> None:
    one = verify_submission(tiny_submission, Surroundings(suites=suites))
    assert verify_submission(tiny_submission, Surroundings(suites=suites, workers=2)) == one


def test_episodes_that_the_server_played_are_held_out(tiny_submission: Path, suites: Mapping[str, Suite]) -> None:
    judged = verify_submission(tiny_submission, Surroundings(suites=suites)).judged
    digests = {each.episode.chain()[-1] for each in judged.values()}
    assert verify_submission(tiny_submission, Surroundings(suites=suites, played_here=digests)).level == "held-out"
    fewer = digests - {min(digests)}
    assert verify_submission(tiny_submission, Surroundings(suites=suites, played_here=fewer)).level == "replayed"


def test_environment_that_came_later_may_be_lacking(tiny_submission: Path, suites: Mapping[str, Suite]) -> None:
    larger = suites["tiny"]._replace(environments=(*suites["tiny"].environments, "GrantBiasAPI-v0"))
    result = verify_submission(tiny_submission, Surroundings(suites={"tiny": larger}))
    assert [check.name for check in result.flags] == ["release"]
    assert "GrantBiasAPI-v0" in result.flags[0].detail


def test_new_submission_leaves_no_environment_out(tiny_submission: Path, suites: Mapping[str, Suite]) -> None:
    larger = suites["tiny"]._replace(environments=(*suites["tiny"].environments, "GrantBiasAPI-v0"))
    result = verify_submission(tiny_submission, Surroundings(suites={"tiny": larger}, new=True))
    assert [check.name for check in result.checks if check.status == "refused"] == ["release"]
    assert result.exit_status == 1


class TestBash:
    """What the check makes of episodes of the Bash world, whose replays may differ."""

    SUITE = Suite("tiny", {"safe": 60}, max_steps=6, environments=("PurgeBiasBash-v0",))

    @pytest.fixture
    def case(self, tiny_submission: Path) -> Any:
        class Case:
            surroundings = Surroundings()
            episodes: Mapping[Any, Episode] = dict.fromkeys(self.SUITE.keys())  # type: ignore[arg-type]

        return Case()

    def found(self, case: Any, monkeypatch: pytest.MonkeyPatch, **replayed: int) -> Any:
        kinds = [Replayed(None, **{kind: "because"}) for kind, number in replayed.items() for _ in range(number)]
        kinds += [Replayed(None)] * (len(case.episodes) - len(kinds))
        monkeypatch.setattr(replay_check, "replay_all", lambda episodes, *_: dict(zip(episodes, kinds, strict=True)))
        return replay_check.CHECK.run(case)

    def test_episode_that_plays_otherwise_stays_unscored(self, case: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        status, detail = self.found(case, monkeypatch, difference=1)
        assert status == "flagged"
        assert "1 Bash episodes play otherwise here and stay unscored" in detail

    def test_many_that_play_otherwise_refuse(self, case: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.found(case, monkeypatch, difference=2).status == "refused"

    def test_episode_that_cannot_be_played_here_is_not_checked(
        self, case: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        status, detail = self.found(case, monkeypatch, unchecked=3)
        assert status == "unchecked"
        assert "not checked here: 3 of 60" in detail

    def test_masks_are_told(self, case: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.found(case, monkeypatch, masked=5).status == "flagged"


def test_machine_without_sandbox_reports_and_exits_with_2(
    tiny_submission: Path, suites: Mapping[str, Suite], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = replay_check.replay_all

    def unchecked(*arguments: Any) -> Any:
        return {key: each._replace(unchecked="bwrap is missing") for key, each in real(*arguments).items()}

    monkeypatch.setattr(replay_check, "replay_all", unchecked)
    result = verify_submission(tiny_submission, Surroundings(suites=suites))
    assert (result.exit_status, result.level) == (2, "reported")


@pytest.mark.slow
class TestRerun:
    @pytest.fixture(scope="class")
    @staticmethod
    def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Mapping[str, Suite]]:
        """A student's submission, and the maintainers' own run of it with another seed."""
        from agentsafe_envs.submissions.bundle import About

        folder = tmp_path_factory.mktemp("rerun")
        suite = Suite("tiny", {"ambiguous": 2}, max_steps=4, environments=("DeleteBiasAPI-v0",))
        for seed, place in ((0, "submissions"), (1, "reruns")):
            run = folder / f"run-{seed}"
            play_suite("student:teacher-biased", suite, run, options=AgentOptions(seed=seed))
            (folder / place).mkdir()
            about = About(contact="us", licence="MIT")
            make_submission(run, folder / place / "mine", name="mine", about=about, suites={"tiny": suite})
        return folder / "submissions" / "mine", folder / "reruns", {"tiny": suite}

    @pytest.mark.needs("students")
    def test_maintainers_run_of_the_same_weights_shows_both(self, pair: Any) -> None:
        path, reruns, suites = pair
        result = verify_submission(path, Surroundings(suites=suites, reruns=reruns))
        assert (result.exit_status, result.level) == (0, "re-run")
        assert result.rerun is not None
        assert result.scorecard is not None
        assert result.rerun.overall.unsafe_rate.n == result.scorecard.overall.unsafe_rate.n

    @pytest.mark.needs("students")
    def test_run_of_other_weights_or_settings_counts_for_nothing(self, pair: Any, make_forger: Any) -> None:
        path, reruns, suites = pair
        forger = make_forger(path, suites)
        forger.submission["agent"]["settings"]["temperature"] = 0.5
        forger.save()
        assert forger.verified(reruns=reruns).level == "replayed"

    @pytest.mark.needs("students")
    def test_maintainers_run_that_differs_is_shown_to_a_person(
        self, pair: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from agentsafe_envs.submissions.verify import rerun

        path, reruns, suites = pair
        monkeypatch.setattr(rerun, "_meet", lambda one, other, name: name != "unsafe_rate")
        result = verify_submission(path, Surroundings(suites=suites, reruns=reruns))
        assert (result.level, result.rerun) == ("replayed", None)
        assert [check.name for check in result.flags] == ["re-run"]


def test_folder_of_many_compares_each_with_the_others(
    tiny_submission: Path, tmp_path: Path, suites: Mapping[str, Suite]
) -> None:
    for name in ("one", "two"):
        shutil.copytree(tiny_submission, tmp_path / name)
    (tmp_path / "README.md").touch()
    (tmp_path / "broken").mkdir()
    paths = find_submissions(tmp_path)
    assert [path.name for path in paths] == ["broken", "one", "two"]
    broken, *copies = verify_many(paths, Surroundings(suites=suites))
    assert broken.exit_status == 1
    for result in copies:
        assert {check.name for check in result.checks if check.status == "refused"} == {"names", "duplicates"}


def test_list_of_keys_names_the_holder(tmp_path: Path) -> None:
    (tmp_path / "keys.toml").write_text(f'{"0" * 64} = "us"\n')
    assert surroundings_of(keys=tmp_path / "keys.toml").keys == {"0" * 64: "us"}
    (tmp_path / "keys.toml").write_text("a = 1\n")
    with pytest.raises(ValueError, match="a key without a name"):
        surroundings_of(keys=tmp_path / "keys.toml")


class TestCommands:
    @pytest.fixture(autouse=True)
    def tiny(self, suites: Mapping[str, Suite], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(SUITES, "tiny", suites["tiny"])  # type: ignore[arg-type]

    def test_submit_and_verify(self, tiny_run: Path, tmp_path: Path) -> None:
        (tmp_path / "about.toml").write_text('contact = "me@example.org"\nlicence = "MIT"\n')
        out = tmp_path / "mine"
        arguments = ["submit", str(tiny_run), "--name", "mine", "--about", str(tmp_path / "about.toml")]
        made = CliRunner().invoke(app, [*arguments, "--out", str(out)])
        assert made.exit_code == 0, made.output
        assert f"agentsafe verify {out}" in made.stdout.replace("\n", "")
        again = CliRunner().invoke(app, [*arguments, "--out", str(out)])
        assert again.exit_code == 2
        verified = CliRunner().invoke(app, ["verify", str(out)])
        assert verified.exit_code == 0
        lines = verified.stdout.splitlines()
        assert [line.split()[0] for line in lines[: len(checks())]] == ["passed"] * len(checks())
        assert "level: replayed" in lines

    def test_json_and_refusal(self, forger: Any) -> None:
        forger.step(0)["result"] = "done"
        forger.save()
        refused = CliRunner().invoke(app, ["verify", str(forger.folder), "--json"])
        assert refused.exit_code == 1
        assert json.loads(refused.stdout)["level"] is None

    def test_table_of_many(self, forger: Any, tiny_submission: Path, tmp_path: Path) -> None:
        folder = tmp_path / "many"
        shutil.copytree(tiny_submission, folder / "good")
        (folder / "bad\x1b[2J").mkdir(parents=True)
        table = CliRunner().invoke(app, ["verify", str(folder)])
        assert table.exit_code == 1
        assert "\x1b" not in table.stdout
        assert "replayed" in table.stdout
        assert "refused" in table.stdout

    def test_submission_is_no_neighbour_of_itself(self, tiny_submission: Path, tmp_path: Path) -> None:
        shutil.copytree(tiny_submission, tmp_path / "mine")
        assert CliRunner().invoke(app, ["verify", str(tmp_path / "mine"), "--among", str(tmp_path)]).exit_code == 0
        shutil.copytree(tiny_submission, tmp_path / "theirs")
        assert CliRunner().invoke(app, ["verify", str(tmp_path / "mine"), "--among", str(tmp_path)]).exit_code == 1

    def test_nothing_to_verify_is_said(self, tmp_path: Path) -> None:
        assert CliRunner().invoke(app, ["verify", str(tmp_path / "no")]).exit_code == 2
        assert "holds no submission" in CliRunner().invoke(app, ["verify", str(tmp_path)]).stderr
