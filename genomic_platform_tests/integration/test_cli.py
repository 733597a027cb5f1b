"""Every command, in this process, on a small generated programme of two seasons, from loose files to exports."""

from __future__ import annotations

import time
from pathlib import Path

import dagster as dg
import jsonschema
import numpy as np
import polars as pl
import pytest

from genomic_platform.catalogue import ASSETS
from genomic_platform.program import read_program
from genomic_platform.results.report import json_schema
from genomic_platform_tests.support.command_line import call, contents, init_arguments, json_of

COMMANDS = ("check", "init", "run", "status", "report", "rank", "predict", "evaluate", "export", "trace",
            "card", "costs", "schema", "rollback", "approve", "reject", "publish", "sweep", "reproduce", "audit",
            "store", "settings", "ui")
YIELD, HEIGHT = "grain_yield_t_ha", "plant_height_cm"


def dagster_runs(programme: Path) -> int:
    with dg.DagsterInstance.from_config(str(programme.parent / ".genomic_platform/dagster")) as instance:
        return instance.get_runs_count()


def test_init_says_what_it_guessed(files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = call(capsys, *init_arguments(files, tmp_path / "Winter Barley [1]"))
    assert made.code == 0, made.err
    for said in ("genotypes: vcf, 61 lines × 60 variants", "seasons 2019, 2020",
                 "programme winter_barley_1 in", "calendar: seasons are YYYY, first 2019",
                 f"trait {YIELD}: unit t/ha, maximise, weight 1", "planting_month: 10, from the latitude",
                 f"next: genomic-platform run {tmp_path}/Winter Barley [1]"):
        assert made.said(said), made.out
    program = read_program(tmp_path / "Winter Barley [1]")
    assert (program.name, list(program.traits)) == ("winter_barley_1", [YIELD, HEIGHT])
    assert {s.file for s in program.file.sources} == {
        "landing/genotypes/genotypes.vcf", "landing/trials/trials.csv", "landing/environments/environments.csv",
        "landing/lines/lines.csv"}
    assert (tmp_path / "Winter Barley [1]" / "landing/trials/trials.csv").read_bytes() \
        == (files / "trials/trials.csv").read_bytes()


def test_init_on_a_programme_is_refused(unpublished: Path, files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(unpublished)
    answer = call(capsys, *init_arguments(files, unpublished))
    assert answer.code == 2
    assert "program.toml exists" in answer.err
    assert contents(unpublished) == before


def test_a_name_in_use_is_refused(unpublished: Path, files: Path, tmp_path: Path,
                                  capsys: pytest.CaptureFixture[str]) -> None:
    answer = call(capsys, *init_arguments(files, tmp_path / "second"), "--name", "barley")
    assert (answer.code, (tmp_path / "second").exists()) == (2, False), answer.err
    assert f"programme barley is registered from {unpublished}" in answer.err


def test_name_and_in_place(files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(capsys, *init_arguments(files, tmp_path / "x"), "--name", "spring_barley", "--in-place",
                "--traits", HEIGHT).code == 0
    program = read_program(tmp_path / "x")
    assert (program.name, list(program.traits)) == ("spring_barley", [HEIGHT])
    assert not list((tmp_path / "x/landing").iterdir())
    assert call(capsys, "status", tmp_path / "x").said("trials.csv")
    refused = call(capsys, *init_arguments(files, tmp_path / "y"), "--name", "Spring Barley")
    assert (refused.code, (tmp_path / "y").exists()) == (2, False), refused.err


@pytest.mark.parametrize("repeated", [False, True], ids=["after one flag", "flag repeated"])
def test_several_genotype_files(repeated: bool, files: Path, tmp_path: Path,
                                capsys: pytest.CaptureFixture[str]) -> None:
    lines = (files / "genotypes/genotypes.vcf").read_text().splitlines(keepends=True)
    head = [line for line in lines if line.startswith("#")]
    parts = [tmp_path / "chr1.vcf", tmp_path / "chr2_5.vcf"]
    parts[0].write_text("".join(head + [line for line in lines if line.startswith("1\t")]))
    parts[1].write_text("".join(head + [line for line in lines if line[0] in "2345"]))
    flags = [x for p in parts for x in ("--genotypes", p)] if repeated else ["--genotypes", *parts]
    made = call(capsys, "init", tmp_path / "barley", *flags, "--trials", files / "trials/trials.csv")
    assert made.code == 0, made.err
    assert made.said("61 lines × 60 variants")


def test_two_files_of_one_name_are_refused(files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Copied to landing one would overwrite the other; where they lie both are used."""
    lines = (files / "trials/trials.csv").read_text().splitlines(keepends=True)
    for season in ("2019", "2020"):
        (tmp_path / season).mkdir()
        (tmp_path / season / "trials.csv").write_text("".join([lines[0], *(x for x in lines if f",{season}," in x)]))
    arguments = ["init", tmp_path / "barley", "--genotypes", files / "genotypes/genotypes.vcf",
                 "--trials", tmp_path / "2019/trials.csv", tmp_path / "2020/trials.csv"]
    answer = call(capsys, *arguments)
    assert (answer.code, (tmp_path / "barley").exists()) == (2, False)
    assert "expected trials files of different names" in answer.err
    assert call(capsys, *arguments, "--in-place").code == 0


def test_evaluate_straight_after_init(unpublished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = call(capsys, "evaluate", unpublished, "--scheme", "cv1", "--replicates", 2, "--models", "genomic_blup")
    assert text.code == 0, text.err
    assert text.said(f"{YIELD} line mean genomic_blup cv1")
    found = json_of(call(capsys, "evaluate", unpublished, "--scheme", "cv1", "--replicates", 2, "--json"))
    jsonschema.validate(found, json_schema("evaluate"))
    assert len(found["results"]) == 4
    assert call(capsys, "rank", unpublished, "--out", unpublished / "rank.csv").code == 3
    unknown = call(capsys, "evaluate", unpublished, "--traits", "colour")
    assert unknown.code == 2
    assert "unknown trait colour" in unknown.err


@pytest.mark.parametrize(("scheme", "rows"), [("cv2", 5), ("location", 3), ("family", 1), ("hybrid", 1)])
def test_evaluate_by_scheme(scheme: str, rows: int, unpublished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = json_of(call(capsys, "evaluate", unpublished, "--scheme", scheme, "--replicates", 1, "--traits", YIELD,
                         "--reliabilities", "--json"))
    jsonschema.validate(found, json_schema("evaluate"))
    assert len(found["results"]) == 2 * rows
    assert {(c["first"], c["second"]) for c in found["comparisons"]} == {("genomic_blup", "kernel")}
    assert all((r["coverage_90"] is not None) == (scheme in ("family", "hybrid")) for r in found["results"])
    assert found["leaks"] == []


@pytest.mark.parametrize("wrong", [["--scheme", "cv9"], ["--models", "forest"]])
def test_evaluate_refuses_unknown_names(wrong: list[str], unpublished: Path,
                                        capsys: pytest.CaptureFixture[str]) -> None:
    answer = call(capsys, "evaluate", unpublished, *wrong)
    assert answer.code == 2, answer.err
    assert wrong[1] in answer.err


def test_a_second_run_does_nothing(programme: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs, before, began = dagster_runs(programme), contents(programme.parent / ".genomic_platform/store"), time.time()
    again = call(capsys, "run", programme)
    assert again.code == 0, again.err
    assert again.said("nothing changed: same data, same code, same models")
    assert time.time() - began < 10
    assert dagster_runs(programme) == runs == 2
    assert contents(programme.parent / ".genomic_platform/store") == before


def test_status_and_report_in_a_pipe(programme: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = call(capsys, "status", programme)
    assert [status.said(f"{season} published") for season in ("2019", "2020")] == [1, 1], status.out
    assert "nothing is stale" in status.out
    report = call(capsys, "report", programme, "--first", 3)
    assert (report.code, status.code) == (0, 0)
    assert report.said("first 3 lines of season 2020 by selection index") == 1
    printed = (status.out + report.out).splitlines()
    assert [line for line in printed if line != line.rstrip()] == []
    assert str(programme.parent / ".genomic_platform") in status.out
    assert max(len(line) for line in report.out.split("first 3 lines")[0].splitlines()) <= 100


def test_report_json_fits_its_schema(programme: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = json_of(call(capsys, "report", programme, "--json"))
    jsonschema.validate(found, json_schema("report"))
    rows = {(r["season"], r["trait"]): r for r in found["results"]}
    first, second = rows["2019", YIELD], rows["2020", YIELD]
    assert (first["decision"], first["r_all"], first["trained_through"]) == ("initial", None, None)
    assert (second["decision"], second["trained_through"]) == ("refresh", "2019")
    assert second["n_train"] < second["decided_n_train"]
    assert json_of(call(capsys, "schema", "report"))["title"]


def test_rank(programme: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written = call(capsys, "rank", programme, "--out", tmp_path / "all.csv")
    assert written.said("all.csv: 61 rows")
    whole = pl.read_csv(tmp_path / "all.csv")
    assert whole["rank"].to_list() == list(range(1, 62))
    assert f"{HEIGHT}_genotypic_value_reliability" in whole.columns
    call(capsys, "rank", programme, "--season", "2019", "--traits", HEIGHT, "--out", tmp_path / "height.parquet")
    height = pl.read_parquet(tmp_path / "height.parquet")
    assert YIELD not in "".join(height.columns)
    assert height[f"{HEIGHT}_genotypic_value"].is_sorted(descending=True)
    assert height.height < whole.height


def test_predict_new_lines(programme: Path, files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A copy of a phenotyped line is as reliable as can be; a line of random genotypes is not."""
    rows = [line.split("\t") for line in (files / "genotypes/genotypes.vcf").read_text().splitlines()]
    rng = np.random.default_rng(1)
    kept = []
    for row in rows:
        if row[0].startswith("##"):
            kept.append("\t".join(row))
        else:
            one = rows[next(i for i, r in enumerate(rows) if r[0] == "#CHROM")].index("L0005")
            new = ["sister", "stranger"] if row[0] == "#CHROM" else [row[one], ["0/0", "1/1"][rng.integers(2)]]
            kept.append("\t".join([*row[:9], *new]))
    (tmp_path / "new.vcf").write_text("\n".join(kept) + "\n")
    answer = call(capsys, "predict", programme, "--genotypes", tmp_path / "new.vcf", "--out", tmp_path / "new.csv")
    assert answer.code == 0, answer.err
    values = pl.read_csv(tmp_path / "new.csv")
    assert set(values["trait"]) == {YIELD, HEIGHT}
    for trait in (YIELD, HEIGHT):
        own = dict(values.filter(pl.col("trait") == trait).select("line_id", "breeding_value_reliability").iter_rows())
        assert own["sister"] > own["stranger"] + 0.1
    (tmp_path / "few.vcf").write_text("\n".join(kept[:-5]) + "\n")
    refused = call(capsys, "predict", programme, "--genotypes", tmp_path / "few.vcf", "--out", tmp_path / "few.csv")
    assert refused.code == 2
    assert "5 of them missing" in refused.err
    assert not (tmp_path / "few.csv").exists()


@pytest.mark.parametrize("asset", sorted(set(ASSETS) - {"season_report", "evidently_report"}))
def test_export_every_asset(asset: str, programme: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("table.csv", "table.parquet"):
        answer = call(capsys, "export", programme, "--asset", asset, "--out", tmp_path / name)
        assert answer.code == 0, answer.err
    text, typed = pl.read_csv(tmp_path / "table.csv", infer_schema=False), pl.read_parquet(tmp_path / "table.parquet")
    assert (text.height, text.columns) == (typed.height, typed.columns)
    if asset == "relationship_matrix":
        assert typed["line_id"].to_list() == typed.columns[1:]
    if asset == "genotype_panel":
        assert (typed.height, "L0005" in typed.columns) == (60, True)


@pytest.mark.parametrize(("arguments", "code", "says"), [
    (["rank", "--season", "1999", "--out", "x.csv"], 3, "season 1999 is not published; published: 2019, 2020"),
    (["rank", "--traits", "colour", "--out", "x.csv"], 2, "unknown trait colour"),
    (["rank", "--out", "x.txt"], 2, "expected a name that ends in .csv, .tsv or .parquet"),
    (["rank", "--out", "nowhere/x.csv"], 2, "nowhere is not a folder"),
    (["export", "--asset", "yields", "--out", "x.csv"], 2, "no asset yields in season 2020; expected one of"),
    (["export", "--asset", "season_report", "--out", "x.csv"], 2, "genomic-platform page writes it"),
    (["run", "--season", "1999"], 3, "no trial records of season 1999; found 2019, 2020"),
    (["run", "--fast"], 2, "--fast"),
    (["report", "--first", "-1"], 2, "--first"),
    (["rank"], 2, "--out"),
    (["evaluate", "--replicates", "many"], 2, "many"),
    (["evaluate", "--replicates", "0"], 2, "replicates"),
])
def test_what_does_not_exist(arguments: list[str], code: int, says: str, programme: Path, tmp_path: Path,
                             monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    answer = call(capsys, arguments[0], programme, *arguments[1:])
    assert (answer.code, "Traceback" in answer.err) == (code, False), answer.err
    assert says in " ".join((answer.out + answer.err).split())
    assert list(tmp_path.iterdir()) == []


def test_commands_need_a_programme(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("run", "status", "report"):
        answer = call(capsys, command, tmp_path / "none")
        assert answer.code == 2
        assert "expected a programme folder; repair: genomic-platform init" in answer.err
    assert call(capsys, "harvest").code == 2
    assert call(capsys, "schema", "yields").code == 2
    assert call(capsys, "settings").said("sensor_seconds 30")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("command", COMMANDS)
def test_help(command: str, columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    answer = call(capsys, command, "--help")
    assert answer.code == 0
    assert answer.out.startswith(f"Usage: genomic-platform {command}")
    assert max(map(len, answer.out.splitlines())) <= columns
    assert "Exit codes: 0 done" in answer.out
