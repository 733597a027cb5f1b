"""What a season's pages show of its population: the published tables and the metadata they were made with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dagster as dg

from genomic_platform.catalogue import ASSETS
from genomic_platform.defs.monitoring.population import listed, suspect_table
from genomic_platform.schemas.monitoring import LINE_TRUST, POPULATION_SHIFT
from genomic_platform.schemas.predictions import DRIFT_REPORT
from genomic_platform_tests.dagster.small import Small
from genomic_platform_tests.support.panels import made_panel


def shown(instance: dg.DagsterInstance, asset: str, small: Small) -> dict[str, Any]:
    """Metadata of the asset's latest materialisation for 2020."""
    records = instance.fetch_materializations(
        dg.AssetRecordsFilter(dg.AssetKey(asset), asset_partitions=[small.key("2020")]), limit=1).records
    materialization = records[0].asset_materialization
    assert materialization is not None
    return {name: value.value for name, value in materialization.metadata.items()}


def test_a_season_shows_where_it_moved_and_whom_to_trust_less(
        published: Callable[[int], Small], opened: Callable[[Small], dg.DagsterInstance]) -> None:
    small = published(2)
    instance = opened(small)
    report, shift, trust = (small.main.read(name, "2020", ASSETS[name])
                            for name in ("drift_report", "population_shift", "line_trust"))
    for contract, table in ((DRIFT_REPORT, report), (POPULATION_SHIFT, shift), (LINE_TRUST, trust)):
        assert contract.faults(table) == []
    assert shift.group_by("part").len().sort("part").rows() == [("chromosome", 5), ("component", 5)]
    values = small.main.read("breeding_values", "2020", ASSETS["breeding_values"])
    assert set(trust["line_id"]) == set(values["line_id"])
    training = set(small.main.read("training_set", "2020", ASSETS["training_set"])["line_id"])
    assert set(trust.filter("phenotyped")["line_id"]) == training & set(trust["line_id"])
    page = shown(instance, "line_trust", small)
    assert page["trusted_less"] == trust.filter(trust="less").height > 0
    assert page["message"].startswith(f"{page['trusted_less']} lines have no close relative in training")
    assert all(line in page["lines"] for line in trust.filter(trust="less")["line_id"])
    assert page["relatives"].startswith("![relationship with the closest line in training]")
    page = shown(instance, "population_shift", small)
    assert page["shift"].count("\n") == shift.height + 1
    assert page["shift_plot"].startswith("![shift of the population")


def test_a_long_list_is_cut_and_says_so() -> None:
    assert listed([f"m{i}" for i in range(20)]).endswith("m18, m19")
    assert listed([f"m{i}" for i in range(1200)]).endswith("m19 and 1,180 more")
    assert listed([]) == ""


def test_suspect_markers_are_shown_with_their_frequencies() -> None:
    panel = made_panel(n_lines=30, n_markers=8, missing=0)
    text = suspect_table(panel, ["m0002", "m0005"], list(panel.lines[20:]), [*panel.lines[:20], "no genotypes"]).md_str
    dosage_NM = panel.dosages(["m0002", "m0005"])
    rows = text.splitlines()[2:]
    assert len(rows) == 2
    for row, marker, name in zip(rows, dosage_NM.T, ("m0002", "m0005"), strict=True):
        assert f"| {name} | 1 | " in row
        assert f"| 20 | 10 | {marker[:20].mean() / 2:.3f} | {marker[20:].mean() / 2:.3f} |" in row
