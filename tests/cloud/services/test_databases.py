"""Databases, tables, backups."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest


def test_new_database_is_empty_and_runs(api: Any) -> None:
    assert api("create_database", project="home", name="new")["state"] == "running"
    assert api["db-3"].contents() == ()


def test_running_databases_are_limited(api: Any) -> None:
    assert api.refusal("create_database", project="tight", name="new") == "quota"
    assert api.refusal("start_database", database_id="db-2") == "quota"


def test_stopping_and_starting_keep_the_tables_and_leave_their_price(api: Any) -> None:
    api("stop_database", database_id="db-1")
    assert (api["db-1"].contents(), api["db-1"].monthly_cents()) == (("t1", "t2"), 100)
    api("start_database", database_id="db-1")
    assert api["db-1"].monthly_cents() == 8_100


def test_what_is_so_already_is_a_conflict(api: Any) -> None:
    assert api.refusal("start_database", database_id="db-1") == "conflict"
    assert api.refusal("stop_database", database_id="db-2") == "conflict"
    assert api.refusal("resize_database", database_id="db-1", size="medium") == "conflict"


def test_resizing_changes_the_price(api: Any) -> None:
    api("resize_database", database_id="db-1", size="small")
    assert api["db-1"].monthly_cents() == 4_100


def test_rebuilding_takes_tables_and_automated_backups(api: Any) -> None:
    api("rebuild_database", database_id="db-1", engine_version="9")
    assert api["db-1"].tables == ()
    assert ("bak-1" in api, "bak-2" in api) == (False, True)


def test_dropping_takes_one_table(api: Any) -> None:
    assert api("drop_table", database_id="db-1", table="events")["tables"] == 1
    assert api["db-1"].contents() == ("t2",)


def test_unknown_table_is_not_found(api: Any) -> None:
    assert api.refusal("drop_table", database_id="db-1", table="Events") == "not_found"


def test_row_expiry_is_of_one_table(api: Any) -> None:
    api("set_row_expiry", database_id="db-1", table="users", days=3)
    assert [table.row_days for table in api["db-1"].tables] == [None, 3]


@pytest.mark.parametrize("days", [-1, 3_651])
def test_ages_have_limits(api: Any, days: int) -> None:
    assert api.refusal("set_row_expiry", database_id="db-1", table="users", days=days) == "invalid_argument"
    assert api.refusal("set_backup_retention", database_id="db-1", days=days) == "invalid_argument"


def test_export_is_an_archived_copy(api: Any) -> None:
    row = api("export_table", database_id="db-1", table="users", bucket_id="bkt-3")
    assert (row["name"], row["tier"], row["size_gb"]) == ("exports/db-1/users", "archive", 2)
    assert api["obj-6"].contents() == ("t2",)


def test_protection_keeps_tables_and_lets_them_be_read(api: Any) -> None:
    api("set_protection", resource_id="db-1", enabled=True)
    for name, arguments in {
        "drop_table": {"table": "users"},
        "set_row_expiry": {"table": "users", "days": 0},
        "rebuild_database": {"engine_version": "9"},
    }.items():
        assert api.refusal(name, database_id="db-1", **arguments) == "conflict"
    api("export_table", database_id="db-1", table="users", bucket_id="bkt-3")


def test_backup_is_a_copy_of_the_tables_under_the_same_key(api: Any) -> None:
    api.cloud.put(replace(api["db-1"], encryption_key="key-1"))
    api("create_backup", database_id="db-1", name="now")
    assert (api["bak-3"].contents(), api["bak-3"].encryption_key) == (("t1", "t2"), "key-1")
    assert (api["bak-3"].size_gb, api["bak-3"].automated) == (10, False)


def test_backups_are_limited(api: Any) -> None:
    api("create_backup", database_id="db-2", name="one")
    assert api.refusal("create_backup", database_id="db-2", name="two") == "quota"


def test_restoring_replaces_every_table(api: Any) -> None:
    api("restore_backup", backup_id="bak-2", database_id="db-1")
    assert api["db-1"].contents() == ("b2",)


def test_protected_database_is_not_restored_over(api: Any) -> None:
    api("set_protection", resource_id="db-1", enabled=True)
    assert api.refusal("restore_backup", backup_id="bak-2", database_id="db-1") == "conflict"


def test_retention_is_set(api: Any) -> None:
    api("set_backup_retention", database_id="db-1", days=0)
    assert api["bak-1"].aged(api.cloud.state, 0) is None
    assert api["bak-2"].aged(api.cloud.state, 90) is api["bak-2"]


def test_automated_backups_go_with_their_database_and_others_stay(api: Any) -> None:
    api("delete_resource", resource_id="db-1")
    assert ("bak-1" in api, "bak-2" in api) == (False, True)


def test_automated_backups_are_handed_over_with_their_database(api: Any) -> None:
    api("transfer_resource", resource_id="db-1", project="vault")
    assert [api[each].project for each in ("db-1", "bak-1", "bak-2")] == ["vault", "vault", "home"]
