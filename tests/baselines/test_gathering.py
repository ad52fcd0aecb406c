from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from baselines import gathering

pytestmark = pytest.mark.needs("baselines")


def test_page_shows_what_other_plans_measured_in_the_same_chains(
    chain: Callable[[int, int], pd.DataFrame], results_folder: Path
) -> None:
    from baselines.plans import Cell

    usual = Cell("sft", "notes-60")._asdict()
    headline = chain(0, 0).assign(**{name: value for name, value in usual.items() if name not in ("loss", "init")})
    unlike: pd.DataFrame = headline.assign(loss="kl_masked_all")
    silent: pd.DataFrame = headline.assign(carrier="silent")
    for seed in (0, 1):
        taught = pd.concat([headline, unlike[unlike["role"] == "student"], silent], ignore_index=True)
        taught[taught["role"] != "base"].assign(chain=seed).to_parquet(
            results_folder / f"cloud-headline/chain-{seed}.parquet"
        )
    for plan in ("cloud-order", "cloud-bases"):
        (results_folder / plan).mkdir()
    headline[headline["role"] == "base"].to_parquet(results_folder / "cloud-bases/chain-0.parquet")
    headline[headline["role"] == "base"].assign(size="4m").to_parquet(results_folder / "cloud-bases/chain-1.parquet")
    own = headline[(headline["role"] == "student") & (headline["init"] == "same")].assign(order="other")
    own.to_parquet(results_folder / "cloud-order/chain-0.parquet")
    found = gathering.gathered("cloud-order")
    assert set(found["chain"]) == {0}, "chains that this plan has not run say nothing here"
    students = found[found["role"] == "student"]
    assert list(dict.fromkeys(zip(students["order"], students["loss"], students["init"], strict=True))) == [
        ("same", "sft", "same"),
        ("same", "kl_masked_all", "same"),
        ("other", "sft", "same"),
    ], "in the plan's order, whichever chain measured them"
    assert set(found["carrier"]) == {"notes-60"}
    assert set(found["role"]) == {"base", "teacher", "student"}
    assert set(found["size"]) == {"0.3m"}
