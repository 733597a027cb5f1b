"""The season's report in the graph: made with every season, of its tables, the same for the same data; the command."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest

from genomic_platform import runs
from genomic_platform.catalogue import ASSETS
from genomic_platform.cli import main as command_line
from genomic_platform.errors import NotAvailable
from genomic_platform.results.answers import season_report
from genomic_platform.results.season_page import SeasonPage
from genomic_platform.runs import stale_seasons
from genomic_platform.stores.assets import RELEASE
from genomic_platform_tests.dagster.small import Small, metadata_of

Published = Callable[[int], Small]
Opened = Callable[[Small], dg.DagsterInstance]
REPORT = "season_report"


def page_of(small: Small, season: str) -> SeasonPage:
    return small.main.read(REPORT, season, ASSETS[REPORT])


def test_every_season_has_a_page_of_its_tables(published: Published) -> None:
    small = published(2)
    first, second = page_of(small, "2019").html, page_of(small, "2020").html
    best = small.main.read("selection_index", "2020", ASSETS["selection_index"])["line_id"].head(30)
    assert all(f">{line}<" in second for line in best)
    assert "No harvest could be scored yet" in first
    assert "<svg" not in first
    row = small.main.read("realised_accuracy", "2020", ASSETS["realised_accuracy"]).row(0, named=True)
    assert f"r {row['r_all']:.2f} on {row['n_scored']} lines" in second
    assert small.main.record(REPORT, "2020").fingerprint[:12] in second  # type: ignore[union-attr]
    # σ_g of the champion's own variances stands behind ±: no value is shown without its error
    assert second.count("<td class='n' data-label='grain yield, t/ha'>") == second.count("class=pm>±") == 30


def test_the_same_data_give_the_same_page_and_the_ui_its_summary(published: Published, opened: Opened) -> None:
    small = published(1)
    before = page_of(small, "2019")
    result = small.run(opened(small), "2019", tags={"genomic_platform/force": "true"},
                       assets=["registered_model", "breeding_values", "selection_index", REPORT])
    assert result.success
    shown = metadata_of(result, REPORT)
    assert shown["summary"] == before.summary
    assert shown["bytes"] == len(before.html.encode())
    assert "genomic-platform page small --season 2019" in shown["page"]
    record = small.main.record(REPORT, "2019")
    assert record is not None
    (event,) = [e for e in result.get_asset_materialization_events() if e.asset_key and e.asset_key.path[-1] == REPORT]
    assert event.materialization.tags["dagster/data_version"] == record.data_version  # type: ignore[index]


def test_the_command_writes_the_page_with_its_release(published: Published, tmp_path: Path,
                                                      capsys: pytest.CaptureFixture[str]) -> None:
    small = published(2)

    def call(*arguments: object) -> int:
        try:
            command_line(["page", str(small.folder), *map(str, arguments)])
        except SystemExit as ended:
            return int(ended.code or 0)
        return 0

    assert call("--out", tmp_path / "last.html") == 0
    text = (tmp_path / "last.html").read_text(encoding="utf-8")
    release = small.main.record(RELEASE, "2020")
    assert release is not None
    assert f"<code>{small.main.releases()['2020'][-1][:12]}</code> · code <code>{release.code_version}</code>" in text
    assert text.replace(text[text.index("<p class=sub>Published"):text.index("</header>")], "<!-- release -->") == (
        page_of(small, "2020").html)
    assert call("--season", "2019", "--out", tmp_path / "first.html") == 0
    assert "season 2019" in (tmp_path / "first.html").read_text(encoding="utf-8")
    assert call("--season", "2031", "--out", tmp_path / "none.html") == 3
    assert call("--out", tmp_path / "page.pdf") == 2
    assert call("--out", tmp_path / "no folder" / "page.html") == 2
    assert "expected one that exists" in capsys.readouterr().err


def test_a_release_older_than_the_report_says_so_and_a_replay_makes_it(published: Published,
                                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    small = published(1)
    store = small.workspace.store
    store.branch("older")
    for item in store.list("older", "small/2019/"):
        if REPORT in item.path:
            store.remove("older", item.path)
    store.commit("older", "as code before the report published it", {})
    store.merge("older", "main", "as code before the report published it", {})
    with pytest.raises(NotAvailable, match=r"made no report; repair: genomic-platform run .* --replay"):
        season_report(small.program, small.workspace)
    assert stale_seasons(small.program, small.workspace, ["2019"], replay=True) == []
    monkeypatch.setattr(runs, "code_version", lambda: "newer")
    assert stale_seasons(small.program, small.workspace, ["2019"]) == []
    assert stale_seasons(small.program, small.workspace, ["2019"], replay=True) == ["2019"]
