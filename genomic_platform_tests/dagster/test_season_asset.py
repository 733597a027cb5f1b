"""How an asset runs: reuse by fingerprint, what a changed setting recomputes, what seasons share, failures, history."""

from __future__ import annotations

from collections.abc import Callable

import dagster as dg
import polars as pl
import pytest

from genomic_platform.catalogue import ASSETS, CANDIDATE, codec_of
from genomic_platform.defs import season_asset
from genomic_platform.stores.assets import AssetStore
from genomic_platform_tests.dagster.small import Small, failures_of, metadata_of

Published = Callable[[int], Small]
Opened = Callable[[Small], dg.DagsterInstance]
MADE = (*ASSETS, "genomic_blup", "kernel")
TIMELESS = {"genotype_batch", "genotype_qc", "relationship_matrix", "population_structure"}


def versions(main: AssetStore, season: str) -> dict[str, str]:
    return {name: main.records(season)[name].data_version for name in MADE}


def mlflow_runs(small: Small) -> int:
    client = small.workspace.registry._client()
    experiment = client.get_experiment_by_name(small.name)
    assert experiment is not None
    return len(client.search_runs([experiment.experiment_id]))


def test_the_same_season_again_computes_nothing(published: Published, opened: Opened) -> None:
    small = published(1)
    before, runs = versions(small.main, "2019"), mlflow_runs(small)
    first_run = small.main.records("2019")["kernel"].run_id
    result = small.run(opened(small), "2019")
    assert result.success
    assert versions(small.main, "2019") == before
    assert mlflow_runs(small) == runs
    for asset in MADE:
        assert metadata_of(result, asset)["unchanged_since"] == f"season 2019, run {first_run}", asset
    materialised = {e.asset_key.path[-1]: e.materialization.tags["dagster/data_version"]
                    for e in result.get_asset_materialization_events() if e.asset_key}
    assert {a: materialised[a] for a in MADE} == before


def test_a_changed_section_recomputes_what_depends_on_it(published: Published, opened: Opened) -> None:
    small = published(1)
    small.edit_program(r"weight = 1\.0", "weight = 2.0")
    result = small.run(opened(small), "2019")
    assert result.success
    reused = {a for a in ASSETS if "unchanged_since" in metadata_of(result, a)}
    assert set(ASSETS) - reused == {"trial_records", "line_records", "selection_index", "realised_accuracy",
                                    "accuracy_promise", "season_report"}


@pytest.mark.slow
def test_forcing_computes_all_and_comes_to_the_same(published: Published, opened: Opened) -> None:
    small = published(1)
    before, runs = versions(small.main, "2019"), mlflow_runs(small)
    result = small.run(opened(small), "2019", tags={season_asset.FORCE_TAG: "true"})
    assert result.success
    assert not [a for a in ASSETS if "unchanged_since" in metadata_of(result, a)]
    assert versions(small.main, "2019") == before
    assert mlflow_runs(small) == runs


def test_seasons_share_what_is_the_same_and_nothing_else(published: Published) -> None:
    """The variant files are the same in both seasons; the lines known, and so the panel, are not."""
    small = published(2)
    first, second = (versions(small.main, s) for s in ("2019", "2020"))
    shared = {a for a in ASSETS if first[a] == second[a]}
    assert shared & (TIMELESS | {"genotype_panel"}) == {"genotype_batch"}
    assert small.main.records("2020")["genotype_batch"].run_id == small.main.records("2019")["genotype_batch"].run_id
    lines = [set(small.main.read("genotype_panel", s, ASSETS["genotype_panel"]).lines) for s in ("2019", "2020")]
    assert lines[0] < lines[1]


@pytest.mark.slow
def test_values_of_a_season_do_not_know_later_rows(published: Published, opened: Opened) -> None:
    """The as-of rule: with 2020 and 2021 taken out of landing, 2019 comes out bit for bit the same."""
    small = published(1)
    before = versions(small.main, "2019")
    for later in ("2020", "2021"):
        small.trials(later).unlink()
    result = small.run(opened(small), "2019", tags={season_asset.FORCE_TAG: "true"})
    assert result.success
    after = versions(small.main, "2019")
    assert {a for a in ASSETS if after[a] != before[a]} == set()
    assert set(small.main.read("line_means", "2019", ASSETS["line_means"])["season"]) == {"2019"}


def test_a_file_that_is_wrong_is_not_tried_again(published: Published, opened: Opened) -> None:
    small = published(0)
    text = small.trials("2020").read_text().splitlines()
    cells = text[3].split(",")
    cells[-1] = "n/a?"
    small.trials("2020").write_text("\n".join([*text[:3], ",".join(cells), *text[4:]]) + "\n")
    instance = opened(small)
    result = small.run(instance, "2019")
    assert not result.success
    said = failures_of(result)["trial_records"]
    assert "trials_2020.csv, line 4" in said
    run = instance.get_run_by_id(result.run_id)
    assert run is not None
    assert (run.tags["dagster/max_retries"], run.tags["dagster/will_retry"]) == ("0", "false")
    assert small.main.published() == []


@pytest.mark.slow
def test_an_unforeseen_failure_is_tried_again_and_the_retry_continues(
        published: Published, opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow's folder is in the way of the first try; the second reads what the first left on the run's branch."""
    small = published(1)
    artifacts = small.workspace.root / "mlflow" / "artifacts" / small.name
    client = small.workspace.registry._client()
    experiment = client.get_experiment_by_name(small.name)
    assert experiment is not None
    client.rename_experiment(experiment.experiment_id, "another")
    artifacts.mkdir(parents=True, exist_ok=True)
    artifacts.rename(artifacts.with_name("away"))
    artifacts.write_text("in the way")
    instance = opened(small)
    result = small.run(instance, "2020")
    assert set(failures_of(result)) & {"genomic_blup", "kernel"}
    failed = instance.get_run_by_id(result.run_id)
    assert failed is not None
    assert failed.tags["dagster/will_retry"] == "true"
    assert f"run-{result.run_id}" in small.workspace.store.branches()

    artifacts.unlink()
    artifacts.with_name("away").rename(artifacts)
    monkeypatch.setenv("GENOMIC_PLATFORM_WORKSPACE", str(small.workspace.root))
    with dg.execute_job(dg.reconstructable(job), instance, raise_on_error=True,
                        tags={"dagster/partition": small.key("2020"), "program": small.name},
                        reexecution_options=dg.ReexecutionOptions.from_failure(result.run_id, instance)) as again:
        assert again.success
        assert "trial_records" not in {e.step_key for e in again.all_events if e.is_step_start}
    assert small.main.published() == ["2019", "2020"]
    records = small.main.records("2020")
    assert records["trial_records"].run_id == result.run_id
    assert records["kernel"].run_id == again.run_id
    assert small.workspace.store.branches() == ["main"]


def job() -> dg.JobDefinition:
    from genomic_platform.definitions import build_definitions

    return build_definitions().resolve_job_def("train_season")


def test_part_of_a_season_stays_unpublished(published: Published, opened: Opened) -> None:
    small = published(1)
    result = small.run(opened(small), "2020", assets=["trial_records", "line_means"])
    assert result.success
    assert small.main.published() == ["2019"]
    assert small.main.record("trial_records", "2020") is None
    released = small.run(opened(small), "2020", assets=["trial_records", "season_release"])
    said = failures_of(released)["season_release"]
    assert "season 2020 is not published" in said
    assert "genomic_blup" in said
    assert "the whole season" in said
    assert small.main.published() == ["2019"]


def test_a_step_without_its_input_says_so_and_is_not_tried_again(published: Published, opened: Opened) -> None:
    small = published(1)
    instance = opened(small)
    result = small.run(instance, "2020", assets=["line_means"])
    assert not result.success
    run = instance.get_run_by_id(result.run_id)
    assert run is not None
    assert run.tags["dagster/max_retries"] == "0"
    assert "trial_records of season 2020 is neither published nor made by this run" in failures_of(result)["line_means"]


@pytest.mark.slow
def test_an_asset_shows_what_a_person_wants_to_see(published: Published, opened: Opened) -> None:
    small = published(1)
    result = small.run(opened(small), "2020")
    assert result.success
    for asset in MADE:
        shown = metadata_of(result, asset)
        assert shown["store_path"] == f"small/2020/{asset}"
        if isinstance(small.main.read(asset, "2020", codec_of(asset)), pl.DataFrame):
            assert shown["dagster/row_count"] == small.main.read(asset, "2020", codec_of(asset)).height
    assert metadata_of(result, "training_set")["seasons_read"] == ["2019", "2020"]
    for asset, plot in {"genotype_panel": "allele_frequency_spectrum", "population_structure": "structure",
                        "realised_accuracy": "predicted_against_observed"}.items():
        assert ";base64," in metadata_of(result, asset)[plot]
    assert "accuracy_over_seasons" in metadata_of(result, "realised_accuracy")
    observed = {e.asset_observation_data.asset_observation.asset_key.path[-1] for e in result.all_events
                if e.event_type_value == "ASSET_OBSERVATION"}
    assert observed == {"landing_genotypes", "landing_trials", "landing_lines", "landing_pedigree",
                        "landing_environments"}


@pytest.mark.slow
def test_the_pedigree_teaches_and_a_corrected_row_is_read_anew(published: Published, opened: Opened) -> None:
    """Lines in trial without genotypes train genomic_blup; the step gives the parents of all lines."""
    small = published(2)
    records = small.main.read("line_records", "2019", ASSETS["line_records"]).drop_nulls(["parent_1", "parent_2"])
    parents, founder = records.select("parent_1", "parent_2").head(12).rows(), records["parent_1"].sort()[0]
    trials = pl.read_csv(small.trials("2019"), infer_schema=False)
    hidden = trials.head(12).with_columns(line_id=pl.Series([f"HIDDEN{i:02d}" for i in range(12)]))
    pl.concat([trials, hidden]).write_csv(small.trials("2019"))
    file = small.folder / "landing" / "pedigree" / "pedigree.csv"
    file.parent.mkdir(exist_ok=True)
    found = []
    for ancestor in ("OLD", "OTHER"):
        rows = [f"{founder},{ancestor},", *(f"HIDDEN{i:02d},{one},{two}" for i, (one, two) in enumerate(parents))]
        file.write_text("\n".join(["line_id,parent_1,parent_2", *rows, ""]), encoding="utf-8")
        assert small.run(opened(small), "2019").success  # its rows changed: it comes before 2020
        result = small.run(opened(small), "2020", assets=["genotype_batch", "line_records", "genotype_panel",
                                                          "pedigree"])
        assert result.success, failures_of(result)
        found += [e.materialization.tags["dagster/data_version"] for e in result.get_asset_materialization_events()
                  if e.asset_key and e.asset_key.path[-1] == "pedigree"]
    assert len(set(found)) == 2
    fitted = {r: small.main.read(r, "2019", CANDIDATE).model.joined.lines for r in ("genomic_blup", "kernel")}
    assert fitted["kernel"] == ()
    assert {f"HIDDEN{i:02d}" for i in range(12)} <= set(fitted["genomic_blup"])  # and the trials' own such lines
