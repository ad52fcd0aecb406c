"""Every tampering that ``leaderboard/THREATS.md`` names is refused, by the check that is there for it."""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agentsafe_envs.core.episode import Episode
from agentsafe_envs.submissions.checking import Neighbour
from agentsafe_envs.submissions.copies import episode_digest

pytestmark = pytest.mark.needs("submit")

OTHER_ACTION = json.dumps({"name": "list_resources", "arguments": {}})
CLEAN = {"first": "alternative", "harms": [], "unsafe": False, "success": True}


def changed_action(forger: Any) -> None:
    forger.step(0)["action"] = OTHER_ACTION
    forger.save()


def changed_observation(forger: Any) -> None:
    forger.step(0)["result"] = "volume vol-1 is not there"
    forger.save()


def changed_end(forger: Any) -> None:
    forger.episode(0)["terminated"] = forger.episode(0)["success"] = False
    forger.save()


def changed_success(forger: Any) -> None:
    forger.episode(0)["success"] = not forger.episode(0)["success"]
    forger.save()


def removed_step(forger: Any) -> None:
    del forger.episode(0)["steps"][1]  # the first one only reads: without it this is what another agent may have done
    forger.save()


def step_after_the_submission(forger: Any) -> None:
    forger.episode(0)["steps"].append(dict(forger.step(0)))
    forger.save()


def cut_short(forger: Any) -> None:
    episode = forger.episode(0)
    episode |= {"steps": episode["steps"][:1], "terminated": False, "success": False}
    forger.save()


def without_steps(forger: Any) -> None:
    forger.episode(0)["steps"] = []
    forger.save()


def smuggled_evidence(forger: Any) -> None:
    forger.step(0)["evidence"] = {"changes": {}, "calls": []}
    forger.save()


def changed_verdict(forger: Any) -> None:
    forger.rows[0]["verdict"] = CLEAN
    forger.save()


def own_template(forger: Any) -> None:
    forger.rows[0]["template"] = "over_quota/easy"
    forger.save()


def dropped_episode(forger: Any) -> None:
    del forger.rows[0]
    forger.save()


def doubled_episode(forger: Any) -> None:
    forger.rows[1] = forger.rows[0]
    forger.save()


def added_episode(forger: Any) -> None:
    forger.rows.append(forger.rows[0])
    forger.save()


def cherry_picked_episode(forger: Any) -> None:
    forger.rows[0]["key"]["seed"] = forger.episode(0)["seed"] = 41
    forger.save()


def second_trial(forger: Any) -> None:
    forger.rows[1] = {**forger.rows[0], "key": {**forger.rows[0]["key"], "trial": 1}}
    forger.save()


def reordered_episodes(forger: Any) -> None:
    forger.rows.reverse()
    forger.save()


def empty_run(forger: Any) -> None:
    forger.pack(b"")


def fraction_as_seed(forger: Any) -> None:
    forger.rows[0]["key"]["seed"] = 0.0
    forger.save()


def negative_trial(forger: Any) -> None:
    forger.rows[0]["key"]["trial"] = -1
    forger.save()


def number_as_success(forger: Any) -> None:
    forger.episode(0)["success"] = 1
    forger.save()


def odd_key(forger: Any) -> None:
    forger.rows[0]["key"]["seed"] = True
    forger.save()


def foreign_seed(forger: Any) -> None:
    forger.episode(0)["seed"] = 41
    forger.save()


def foreign_pool(forger: Any) -> None:
    forger.episode(0)["pool"] = "train"
    forger.save()


def foreign_tools(forger: Any) -> None:
    forger.episode(0)["toolset"] = "full"
    forger.save()


def edited_task(forger: Any) -> None:
    forger.episode(0)["task_digest"] = "0" * 64
    forger.save()


def another_release(forger: Any) -> None:
    forger.submission["suite"]["environments"] = {"DeleteBiasAPI-v0": "0" * 64}
    forger.save()


def another_suite(forger: Any) -> None:
    forger.submission["suite"]["name"] = "easy"
    forger.save()


def unknown_environment(forger: Any) -> None:
    forger.submission["suite"]["environments"]["EasyAPI-v0"] = "0" * 64
    forger.save()


def chain_left_as_it_was(forger: Any) -> None:
    forger.step(0)["result"] = "done"
    forger.save(chains=False)


def chain_of_other_steps(forger: Any) -> None:
    forger.step(0)["sha256"] = forger.step(1)["sha256"]
    forger.save(chains=False)


def hash_left_as_it_was(forger: Any) -> None:
    records = json.dumps(forger.submission)
    forger.step(0)["result"] = "done"
    forger.save()
    forger.put_submission(records)


def other_size(forger: Any) -> None:
    forger.submission["files"]["card.md"]["bytes"] += 1
    forger.put_submission(json.dumps(forger.submission))


def swapped_card(forger: Any) -> None:
    (forger.folder / "card.md").write_text("# somebody else\n")


def swapped_card_and_hash(forger: Any) -> None:
    forger.card = "# somebody else\n\nA careful agent.\n"
    forger.save()


def swapped_settings(forger: Any) -> None:
    forger.submission["agent"]["settings"] = {"policy": "cautious"}
    forger.save()


def swapped_weights(forger: Any) -> None:
    forger.submission["agent"] |= {"kind": "student", "weights_sha256": "0" * 64}
    forger.submission["agent"]["settings"] = {"weights_sha256": "1" * 64}
    forger.save()


def swapped_prompt_style(forger: Any) -> None:
    forger.submission["agent"] |= {"kind": "python", "prompt_style": "json"}
    forger.submission["agent"]["settings"] = {"prompt_style": "signature"}
    forger.save()


def script_of_another_policy(forger: Any) -> None:
    forger.submission["agent"] |= {"model": "cautious", "settings": {"policy": "cautious"}}
    forger.save()


def actions_passed_off_as_random(forger: Any) -> None:
    forger.submission["agent"] |= {"model": "random", "settings": {"policy": "random"}}
    forger.save()


def policy_that_is_not_there(forger: Any) -> None:
    forger.submission["agent"] |= {"model": "careful", "settings": {"policy": "careful"}}
    forger.save()


def truth_as_format(forger: Any) -> None:
    forger.submission["format"] = True
    forger.save()


def fraction_as_format(forger: Any) -> None:
    forger.submission["format"] = 1.0
    forger.save()


def inexact_size(forger: Any) -> None:
    forger.submission["files"]["card.md"]["bytes"] = 2**60
    forger.put_submission(json.dumps(forger.submission))


def inexact_number_of_parameters(forger: Any) -> None:
    forger.submission["agent"]["parameters"] = 10**400
    forger.save()


def own_score(forger: Any) -> None:
    forger.submission["unsafe_rate"] = 0.0
    forger.save()


def own_score_in_the_suite(forger: Any) -> None:
    forger.submission["suite"]["safe_success_rate"] = 1.0
    forger.save()


def own_level(forger: Any) -> None:
    forger.submission["level"] = "re-run"
    forger.save()


def level_among_the_settings(forger: Any) -> None:
    forger.submission["agent"] |= {"kind": "python", "settings": {"lora_rank": 8, "level": "re-run"}}
    forger.save()


def score_deep_in_the_settings(forger: Any) -> None:
    forger.submission["agent"] |= {"kind": "python", "settings": {"tuning": [{"safeSuccessRate": 1.0}]}}
    forger.save()


def weights_without_hash(forger: Any) -> None:
    forger.submission["agent"] |= {"kind": "hf"}
    forger.save()


def foreign_signature(forger: Any) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.from_private_bytes(bytes(32))
    public = key.public_key().public_bytes_raw().hex()
    forger.submission["signature"] = {"key": public, "signature": key.sign(b"something else").hex()}
    forger.save()


def look_alike_letters(forger: Any) -> None:
    forger.submission["agent"]["name"] = "bi\u0430sed"  # a Cyrillic a
    forger.save()


def script_in_name(forger: Any) -> None:
    forger.submission["agent"]["name"] = "<script>alert(1)</script>"
    forger.save()


def formula_in_name(forger: Any) -> None:
    forger.submission["agent"]["model"] = '=HYPERLINK("https://example.org")'
    forger.save()


def line_break_in_name(forger: Any) -> None:
    forger.submission["agent"]["name"] = "biased\n"
    forger.save()


def script_in_contact(forger: Any) -> None:
    forger.submission["contact"] = "javascript:alert(1)"
    forger.save()


def colours_in_settings(forger: Any) -> None:
    forger.submission["agent"]["settings"] = {"policy": "\x1b[2J"}
    forger.save()


def seal_in_name(forger: Any) -> None:
    forger.submission["agent"]["name"] = "biased (verified)"
    forger.card = "# biased (verified)\n"
    forger.save()


def seal_in_digits(forger: Any) -> None:
    forger.submission["agent"]["name"] = "0ff1c1al"
    forger.card = "# 0ff1c1al\n"
    forger.save()


def seal_in_model(forger: Any) -> None:
    forger.submission["agent"] |= {"kind": "python", "model": "officially verified", "settings": {}}
    forger.save()


def seal_in_licence(forger: Any) -> None:
    forger.submission["agent"]["licence"] = "verified by the maintainers"
    forger.save()


def rank_in_name(forger: Any) -> None:
    forger.submission["agent"]["name"] = "Rank1"
    forger.card = "# Rank1\n"
    forger.save()


def script_in_card(forger: Any) -> None:
    forger.card += "\n<img src=x onerror=alert(1)>\n"
    forger.save()


def link_to_script_in_card(forger: Any) -> None:
    forger.card += "\n[more](javascript:alert(1))\n"
    forger.save()


def hidden_link_in_card(forger: Any) -> None:
    forger.card += "\n[more](&#106;avascript:alert(1))\n"
    forger.save()


def picture_in_card(forger: Any) -> None:
    forger.card += "\n![](https://example.org/who-reads-this.png)\n"
    forger.save()


def formula_in_card(forger: Any) -> None:
    forger.card += "\n=1+1\n"
    forger.save()


def turned_line_in_card(forger: Any) -> None:
    forger.card += "\nsafe \u202e elif\n"
    forger.save()


def card_of_bytes(forger: Any) -> None:
    forger.put("card.md", b"# biased\n\xff\xfe\n")


def huge_json(forger: Any) -> None:
    forger.put_submission(json.dumps(forger.submission) + " " * 100_000)


def huge_card(forger: Any) -> None:
    forger.put("card.md", b"# biased\n" + b"a" * 100_000)


def deep_nesting(forger: Any) -> None:
    forger.put_submission("[" * 30_000 + "]" * 30_000)


def deep_nesting_in_a_row(forger: Any) -> None:
    forger.pack(b'{"key":' + b"[" * 100_000 + b"]" * 100_000 + b"}\n")


def moderate_nesting_in_settings(forger: Any) -> None:
    forger.submission["agent"]["settings"] = {"policy": [[[["biased"]]]]}
    forger.save()


def nan(forger: Any) -> None:
    forger.put_submission(json.dumps(forger.submission).replace('"format": 1', '"format": NaN'))


def infinity_in_a_row(forger: Any) -> None:
    forger.pack(json.dumps(forger.rows[0]).replace('"trial": 0', '"trial": 1e999').encode() + b"\n")


def huge_number(forger: Any) -> None:
    forger.put_submission(json.dumps(forger.submission).replace('"format": 1', f'"format": {"1" * 5_000}'))


def key_twice(forger: Any) -> None:
    forger.put_submission(json.dumps(forger.submission).replace("{", '{"format": 1, ', 1))


def key_twice_in_a_row(forger: Any) -> None:
    forger.pack(json.dumps(forger.rows[0]).replace("{", '{"key": {}, ', 1).encode() + b"\n")


def commands_to_a_terminal(forger: Any) -> None:
    forger.rows[0]["system"] = "\x1b]0;owned\x07"
    forger.save()


def note_as_system(forger: Any) -> None:
    forger.rows[0]["system"] = "verdict safe, score 1.0, level re-run"
    forger.save()


def system_of_a_cloud_episode(forger: Any) -> None:
    forger.rows[0]["system"] = "bubblewrap, bookworm, 164 packages, sha256 36681b9908db"
    forger.save()


def bomb_of_keys(forger: Any) -> None:
    """Two equal names at the end of tens of thousands."""
    forger.pack(b"{" + b",".join(b'"%d":1' % min(number, 65_000) for number in range(65_002)) + b"}\n")


def bomb_of_episodes(forger: Any) -> None:
    forger.pack(b"0" * 30_000_000)


def bomb_of_lines(forger: Any) -> None:
    forger.pack(b"{}\n" * 5_000_000)


def bomb_of_values(forger: Any) -> None:
    forger.pack(b'{"key":[' + b"[]," * 250_000 + b"[]]}\n")


def bomb_of_memory(forger: Any) -> None:
    import zstandard

    parameters = zstandard.ZstdCompressionParameters(window_log=30, compression_level=1)
    packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    forger.put(forger.episodes, packer.compress(b"{}\n") + packer.flush())


def damaged_episodes(forger: Any) -> None:
    forger.put(forger.episodes, (forger.folder / forger.episodes).read_bytes()[:-40])


def bytes_after_the_episodes(forger: Any) -> None:
    forger.save()
    forger.put(forger.episodes, (forger.folder / forger.episodes).read_bytes() + b"more")


def empty_line(forger: Any) -> None:
    forger.pack(b"\n" + json.dumps(forger.rows[0]).encode() + b"\n")


def byte_order_mark(forger: Any) -> None:
    forger.pack(b"\xef\xbb\xbf" + json.dumps(forger.rows[0]).encode() + b"\n")


def compression_under_another_name(forger: Any) -> None:
    (forger.folder / forger.episodes).rename(forger.folder / "episodes.jsonl.gz")
    del forger.submission["files"][forger.episodes]
    forger.put("episodes.jsonl.gz", (forger.folder / "episodes.jsonl.gz").read_bytes())


def wrong_checksum_of_gzip(forger: Any) -> None:
    packed = gzip.compress(b"".join(json.dumps(row).encode() + b"\n" for row in forger.rows))
    (forger.folder / forger.episodes).unlink()
    del forger.submission["files"][forger.episodes]
    forger.put("episodes.jsonl.gz", packed[:-8] + bytes(4) + packed[-4:])


def torn_line(forger: Any) -> None:
    forger.pack(json.dumps(forger.rows[0]).encode())


def link_in_the_folder(forger: Any) -> None:
    (forger.folder / "card.md").unlink()
    (forger.folder / "card.md").symlink_to("/etc/hostname")


def pipe_in_the_folder(forger: Any) -> None:
    (forger.folder / "card.md").unlink()
    os.mkfifo(forger.folder / "card.md")


def program_in_the_folder(forger: Any) -> None:
    (forger.folder / "conftest.py").write_text("raise SystemExit('executed')")


def folder_in_the_folder(forger: Any) -> None:
    (forger.folder / "more").mkdir()


def many_files(forger: Any) -> None:
    for number in range(20):
        (forger.folder / f"{number}.md").touch()


def missing_card(forger: Any) -> None:
    (forger.folder / "card.md").unlink()


TAMPERINGS: dict[str, tuple[Callable[[Any], None], str]] = {
    tampering.__name__.replace("_", " "): (tampering, check)
    for check, tamperings in {
        "replay": (
            changed_action,
            changed_observation,
            changed_success,
            removed_step,
            step_after_the_submission,
            smuggled_evidence,
            edited_task,
        ),
        "ends": (changed_end, cut_short, without_steps, foreign_tools),
        "rows": (
            changed_verdict,
            own_template,
            added_episode,
            deep_nesting_in_a_row,
            infinity_in_a_row,
            key_twice_in_a_row,
            commands_to_a_terminal,
            note_as_system,
            system_of_a_cloud_episode,
            bomb_of_keys,
            bomb_of_episodes,
            bomb_of_lines,
            bomb_of_values,
            bomb_of_memory,
            torn_line,
            bytes_after_the_episodes,
            empty_line,
            byte_order_mark,
            compression_under_another_name,
            wrong_checksum_of_gzip,
        ),
        "tasks": (
            dropped_episode,
            doubled_episode,
            cherry_picked_episode,
            second_trial,
            reordered_episodes,
            odd_key,
            empty_run,
            fraction_as_seed,
            negative_trial,
            damaged_episodes,
        ),
        "chains": (foreign_seed, foreign_pool, number_as_success, chain_left_as_it_was, chain_of_other_steps),
        "release": (another_release, another_suite, unknown_environment),
        "hashes": (hash_left_as_it_was, other_size, swapped_card),
        "card": (
            swapped_card_and_hash,
            script_in_card,
            link_to_script_in_card,
            hidden_link_in_card,
            picture_in_card,
            formula_in_card,
            turned_line_in_card,
            card_of_bytes,
        ),
        "script": (script_of_another_policy, policy_that_is_not_there, actions_passed_off_as_random),
        "settings": (
            swapped_settings,
            swapped_weights,
            swapped_prompt_style,
            level_among_the_settings,
            score_deep_in_the_settings,
        ),
        "schema": (
            own_score,
            own_score_in_the_suite,
            own_level,
            truth_as_format,
            fraction_as_format,
            inexact_size,
            inexact_number_of_parameters,
            weights_without_hash,
            look_alike_letters,
            script_in_name,
            formula_in_name,
            line_break_in_name,
            script_in_contact,
            colours_in_settings,
            deep_nesting,
            moderate_nesting_in_settings,
            nan,
            huge_number,
            key_twice,
        ),
        "signature": (foreign_signature,),
        "names": (seal_in_name, seal_in_digits, rank_in_name, seal_in_model, seal_in_licence),
        "files": (
            huge_json,
            huge_card,
            link_in_the_folder,
            pipe_in_the_folder,
            program_in_the_folder,
            folder_in_the_folder,
            many_files,
            missing_card,
        ),
    }.items()
    for tampering in tamperings
}


def refusing(result: Any) -> list[str]:
    return [check.name for check in result.checks if check.status == "refused"]


@pytest.mark.parametrize("name", TAMPERINGS)
def test_tampering_is_refused(name: str, forger: Any) -> None:
    tampering, check = TAMPERINGS[name]
    tampering(forger)
    result = forger.verified()
    assert check in refusing(result)
    assert (result.exit_status, result.level, result.scorecard, result.judged) == (1, None, None, {})


def test_what_the_forger_starts_from_is_passed(forger: Any) -> None:
    forger.save()
    result = forger.verified()
    assert result.exit_status == 0
    assert result.level == "replayed"


def test_episodes_of_another_submission_are_refused(forger: Any) -> None:
    theirs = Neighbour("somebody", frozenset(digests_of(forger)))
    assert refusing(forger.verified(neighbours=(theirs,))) == ["duplicates"]


@pytest.mark.parametrize(
    "spelt",
    [
        lambda call: json.dumps(call) + " ",
        lambda call: json.dumps(call, indent=1),
        lambda call: json.dumps({"note": "Aurora thinks.", **call}),
        lambda call: json.dumps(dict(reversed(call.items()))),
    ],
    ids=["spaces", "line breaks", "notes", "order of keys"],
)
def test_copy_that_spells_each_call_otherwise_is_refused(spelt: Callable[[Any], str], forger: Any) -> None:
    theirs = Neighbour("somebody", frozenset(digests_of(forger)))
    for row in forger.rows:
        for step in row["episode"]["steps"]:
            step["action"] = spelt(json.loads(step["action"]))
    forger.submission["agent"] |= {"name": "Aurora 1", "kind": "python", "model": "Aurora", "settings": {}}
    forger.card = "# Aurora 1\n"
    forger.save()
    assert refusing(forger.verified(neighbours=(theirs,))) == ["duplicates"]


def test_episodes_of_the_maintainers_own_run_are_refused_under_any_name(forger: Any) -> None:
    digests = frozenset(digests_of(forger))
    for name in ("somebody", forger.submission["agent"]["name"]):
        theirs = Neighbour(name, digests, rerun_of="0" * 64)
        assert refusing(forger.verified(neighbours=(theirs,))) == ["duplicates"]


def test_new_submission_mixed_from_several_others_is_refused(forger: Any) -> None:
    digests = digests_of(forger)
    theirs = [Neighbour(f"somebody {place}", frozenset(digests[place::2])) for place in (0, 1)]
    assert refusing(forger.verified(neighbours=theirs, new=True)) == ["duplicates"]
    there_already = forger.verified(neighbours=theirs)
    assert [check.name for check in there_already.flags] == ["duplicates"]


@pytest.mark.parametrize("really_greedy", [True, False])
def test_claim_to_be_greedy_excuses_no_copy_of_the_maintainers_own_run(really_greedy: bool, forger: Any) -> None:
    forger.submission["agent"] |= {"kind": "student", "weights_sha256": "0" * 64, "settings": {"temperature": 0}}
    forger.save()
    digests = frozenset(digests_of(forger))
    theirs = Neighbour("ours", digests, rerun_of="0" * 64, greedy=really_greedy)
    assert refusing(forger.verified(neighbours=(theirs,))) == ([] if really_greedy else ["duplicates"])


@pytest.mark.parametrize("name", ["Biased", "b-i-a-s-e-d", "b1ased", "bia5ed"])
def test_name_that_looks_like_another_is_refused(name: str, forger: Any) -> None:
    assert refusing(forger.verified(neighbours=(Neighbour(name, frozenset()),))) == ["names"]


def test_signature_over_other_settings_is_refused(forger: Any, tmp_path: Path) -> None:
    from agentsafe_envs.submissions.bundle import sign
    from agentsafe_envs.submissions.schema import Submission

    forger.save()
    forger.submission["signature"] = sign(Submission(**forger.submission), make_key(tmp_path)).model_dump()
    forger.save()
    assert forger.verified().exit_status == 0
    forger.submission["agent"]["licence"] = "proprietary"
    forger.save()
    assert refusing(forger.verified()) == ["signature"]


def digests_of(forger: Any) -> list[str]:
    return [episode_digest(Episode.from_dict(row["episode"])) for row in forger.rows]


def make_key(folder: Path) -> Path:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    private = Ed25519PrivateKey.generate()
    file = folder / "key.pem"
    file.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return file


def zipped(forger: Any, *entries: tuple[zipfile.ZipInfo | str, bytes]) -> Path:
    path = forger.folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in forger.folder.iterdir():
            archive.write(file, f"mine/{file.name}")
        for name, data in entries:
            archive.writestr(name, data)
    return path


def tarred(forger: Any, *entries: tarfile.TarInfo, mode: str = "w:gz", suffix: str = ".tar.gz") -> Path:
    path = forger.folder.with_suffix(suffix)
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        archive.add(forger.folder, "mine")
        for entry in entries:
            archive.addfile(entry, io.BytesIO(bytes(entry.size)))
    return path


def header_tarred(forger: Any, kind: bytes, body: bytes, times: int = 1) -> Path:
    """An archive that begins with extra headers of a ``kind``."""
    path = forger.folder.with_suffix(".tar")
    header = tar_entry("x", kind, len(body))
    header.linkname = ""
    filled = header.tobuf(format=tarfile.USTAR_FORMAT) + body + bytes(-len(body) % 512)
    path.write_bytes(times * filled + tar_entry("card.md").tobuf(format=tarfile.USTAR_FORMAT) + bytes(1024))
    return path


def tar_entry(name: str, kind: bytes = tarfile.REGTYPE, size: int = 0) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.size, entry.linkname = kind, size, "/etc/passwd"
    return entry


def zip_link(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    entry.external_attr = 0o120777 << 16
    return entry


ARCHIVES: dict[str, Callable[[Any], Path]] = {
    "path traversal in zip": lambda forger: zipped(forger, ("../../.bashrc", b"")),
    "absolute path in zip": lambda forger: zipped(forger, ("/etc/cron.d/x", b"")),
    "backslash in zip": lambda forger: zipped(forger, ("..\\x", b"")),
    "link in zip": lambda forger: zipped(forger, (zip_link("mine/link"), b"/etc/passwd")),
    "zip bomb": lambda forger: zipped(forger, ("mine/bomb.jsonl.gz", bytes(40_000_000))),
    "member without a name in zip": lambda forger: zipped(forger, (zipfile.ZipInfo(""), b"")),
    "many members": lambda forger: zipped(forger, *((f"mine/{number}", b"") for number in range(100))),
    "path traversal in tar": lambda forger: tarred(forger, tar_entry("../x")),
    "absolute path in tar": lambda forger: tarred(forger, tar_entry("/etc/x")),
    "symbolic link in tar": lambda forger: tarred(forger, tar_entry("mine/x", tarfile.SYMTYPE)),
    "hard link in tar": lambda forger: tarred(forger, tar_entry("mine/x", tarfile.LNKTYPE)),
    "device in tar": lambda forger: tarred(forger, tar_entry("mine/x", tarfile.CHRTYPE)),
    "pipe in tar": lambda forger: tarred(forger, tar_entry("mine/x", tarfile.FIFOTYPE)),
    "tar bomb": lambda forger: tarred(forger, tar_entry("mine/x", size=60_000_000)),
    "long header in tar": lambda forger: header_tarred(forger, tarfile.XHDTYPE, b"1" * 100_000),
    "long name in tar": lambda forger: header_tarred(forger, tarfile.GNUTYPE_LONGNAME, b"a" * 100_000),
    "nested headers in tar": lambda forger: header_tarred(forger, tarfile.GNUTYPE_LONGNAME, b"", times=3_000),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_archive_is_refused(name: str, forger: Any) -> None:
    path = ARCHIVES[name](forger)
    before = sorted(forger.folder.parent.rglob("*"))
    assert refusing(forger.verified(path)) == ["files"]
    assert sorted(forger.folder.parent.rglob("*")) == before


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_member_twice_in_zip_is_refused(forger: Any) -> None:
    assert refusing(forger.verified(zipped(forger, ("mine/card.md", b"# other\n")))) == ["files"]


@pytest.mark.parametrize(("mode", "suffix"), [("w:gz", ".tar.gz"), ("w", ".tar")])
def test_plain_tar_is_passed(mode: str, suffix: str, forger: Any) -> None:
    assert forger.verified(tarred(forger, mode=mode, suffix=suffix)).exit_status == 0


def test_plain_zip_is_passed(forger: Any) -> None:
    assert forger.verified(zipped(forger)).exit_status == 0


def test_zstandard_tar_is_passed(forger: Any) -> None:
    import zstandard

    path = tarred(forger, mode="w", suffix=".tar")
    packed = path.with_suffix(".tar.zst")
    packed.write_bytes(zstandard.ZstdCompressor().compress(path.read_bytes()))
    assert forger.verified(packed).exit_status == 0


def test_gzipped_episodes_are_passed(forger: Any) -> None:
    lines = b"".join(json.dumps(row).encode() + b"\n" for row in forger.rows)
    (forger.folder / forger.episodes).unlink()
    del forger.submission["files"][forger.episodes]
    forger.put("episodes.jsonl.gz", gzip.compress(lines))
    assert forger.verified().exit_status == 0


def test_link_to_a_submission_is_refused(forger: Any) -> None:
    link = forger.folder.with_name("link")
    link.symlink_to(forger.folder)
    assert refusing(forger.verified(link)) == ["files"]
