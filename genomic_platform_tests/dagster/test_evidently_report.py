"""A season's drift pages: made, linked and placed with the release; and a season without Evidently all the same."""

from __future__ import annotations

import json
from collections.abc import Callable

import dagster as dg
import pytest

from genomic_platform.catalogue import codec_of
from genomic_platform.defs.monitoring import evidently
from genomic_platform.stores.evidently_projects import ABSENT, FOLDER, installed
from genomic_platform_tests.dagster.small import Small, failures_of, metadata_of

Published = Callable[[int], Small]
Opened = Callable[[Small], dg.DagsterInstance]


@pytest.mark.skipif(not installed(), reason="evidently is not installed")
def test_a_season_has_its_pages(published: Published, opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    small = published(1)
    monkeypatch.setattr(evidently, "DRAWN_BY", installed())
    result = small.run(opened(small), "2020")
    assert result.success, failures_of(result)
    shown = metadata_of(result, "evidently_report")
    assert shown["evidently"] == installed()
    assert (shown["inputs_rows"], shown["inputs_rows_before"], shown["inputs_too_few"]) == (
        2, 2, shown["inputs_columns"])
    assert shown["lines_rows"] + shown["lines_rows_before"] == small.main.read(
        "relationship_matrix", "2020", codec_of("relationship_matrix")).height
    pages = small.main.read("evidently_report", "2020", codec_of("evidently_report"))
    named = [*(c["column"] for c in pages.told()["lines"]["columns"]), *pages.told()["lines"]["left_out"]]
    assert any("residual of the harvest" in name for name in named)
    drift = small.main.read("drift_report", "2020", codec_of("drift_report"))
    assert drift["message"][0] in pages.files["lines.html"].decode()
    placed = sorted(p.stem for p in (small.workspace.root / FOLDER).glob("*/snapshots/*.json"))
    assert placed == sorted(shown[f"{name}_page"].rsplit("/", 1)[1] for name in ("inputs", "lines"))
    assert all(page in metadata_of(result, "season_release")["drift_pages"] for page in placed)


def test_without_evidently_a_season_is_published_and_says_so(
        published: Published, opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    small = published(1)
    monkeypatch.setattr(evidently, "DRAWN_BY", "")
    result = small.run(opened(small), "2020")
    assert result.success, failures_of(result)
    assert metadata_of(result, "evidently_report")["evidently"] == ABSENT
    assert metadata_of(result, "season_release")["drift_pages"] == ABSENT
    (state,) = [o.path for o in small.workspace.store.list("main", "small/2020/evidently_report/")]
    assert json.loads(small.workspace.store.open("main", state).read_text())["said"] == ABSENT
    assert not (small.workspace.root / FOLDER).exists()
