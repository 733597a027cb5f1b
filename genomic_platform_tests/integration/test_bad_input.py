"""Files that cannot be used, case by case through the command line: refused before anything is written.

Every case is tried by `init` and `check` on loose files, and by `run` on a programme that is already published.
"""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from genomic_platform_tests.support.breeding import Programme
from genomic_platform_tests.support.command_line import Answer, call, contents, init_arguments, publish, write_files

SMALL = Programme(n_lines=40, n_families=2, n_founders=6, n_seasons=1, n_markers=60, n_traits=2, block_size=16)
SYNONYM = "L0001-old"
TRIALS, LINES, GENOTYPES = "trials/trials.csv", "lines/lines.csv", "genotypes/genotypes.vcf"


@dataclass(frozen=True)
class Case:
    """One way to spoil files, and what the report must say, besides the number of problems."""

    name: str
    spoil: Callable[[Path], None]
    says: tuple[str, ...]


def rows_of(path: Path) -> list[list[str]]:
    return [line.split(",") for line in path.read_text().splitlines()]


def write_rows(path: Path, rows: list[list[str]]) -> None:
    path.write_text("".join(",".join(row) + "\n" for row in rows))


def set_cell(files: Path, line: int, column: str, value: str, file: str = TRIALS) -> None:
    """Change the cell on an editor's line of a CSV."""
    rows = rows_of(files / file)
    rows[line - 1][rows[0].index(column)] = value
    write_rows(files / file, rows)


def drop_columns(files: Path, *names: str) -> None:
    rows = rows_of(files / TRIALS)
    kept = [i for i, name in enumerate(rows[0]) if name not in names]
    write_rows(files / TRIALS, [[row[i] for i in kept] for row in rows])


def change_vcf(files: Path, change: Callable[[list[list[str]]], list[list[str]]]) -> None:
    """Rewrite the VCF's lines, from the #CHROM line on, as lists of fields."""
    lines = (files / GENOTYPES).read_text().splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("#CHROM"))
    changed = change([line.split("\t") for line in lines[at:]])
    (files / GENOTYPES).write_text("\n".join([*lines[:at], *("\t".join(row) for row in changed)]) + "\n")


def empty(file: str) -> Callable[[Path], None]:
    return lambda files: (files / file).write_text("") and None


def cut_gzip(file: str) -> Callable[[Path], None]:
    def spoil(files: Path) -> None:
        whole = gzip.compress((files / file).read_bytes())
        (files / file).unlink()
        (files / f"{file}.gz").write_bytes(whole[: len(whole) // 2])

    return spoil


def not_a_vcf(files: Path) -> None:
    (files / GENOTYPES).write_text("line_id,marker_1\nL0001,AA\n")


def no_genotypes(files: Path) -> None:
    change_vcf(files, lambda rows: [rows[0], *([*row[:8], "DP", *("7" for _ in row[9:])] for row in rows[1:])])


def no_samples(files: Path) -> None:
    change_vcf(files, lambda rows: [row[:8] for row in rows])


def repeated_samples(files: Path) -> None:
    change_vcf(files, lambda rows: [[*rows[0][:9], rows[0][9], rows[0][9], *rows[0][11:]], *rows[1:]])


def no_shared_line(files: Path) -> None:
    change_vcf(files, lambda rows: [[*rows[0][:9], *(f"other-{x}" for x in rows[0][9:])], *rows[1:]])


def one_allele(files: Path) -> None:
    change_vcf(files, lambda rows: [rows[0], *([*row[:9], *("0/0" for _ in row[9:])] for row in rows[1:])])


def few_lines(files: Path) -> None:
    change_vcf(files, lambda rows: [row[:25] for row in rows])


def one_line_two_samples(files: Path) -> None:
    change_vcf(files, lambda rows: [[*row, SYNONYM if i == 0 else "0/1"] for i, row in enumerate(rows)])


def words_for_numbers(files: Path) -> None:
    set_cell(files, 5, "grain_yield_t_ha", "n/a")
    set_cell(files, 9, "plant_height_cm", "tall")
    set_cell(files, 9, "check", "perhaps")


def repeated_rows(files: Path) -> None:
    drop_columns(files, "replicate", "block")
    rows = rows_of(files / TRIALS)
    write_rows(files / TRIALS, [*rows, rows[3], rows[6]])


def ambiguous_synonym(files: Path) -> None:
    line = next(i for i, row in enumerate(rows_of(files / LINES), start=1) if row[0] == "L0009")
    set_cell(files, line, "synonyms", SYNONYM, LINES)


def two_columns_gone(files: Path) -> None:
    rows = rows_of(files / TRIALS)
    rows[0][rows[0].index("line_id")] = "Line ID"
    write_rows(files / TRIALS, rows)
    drop_columns(files, "location")


def plink_alone(files: Path) -> None:
    (files / GENOTYPES).unlink()
    (files / "genotypes/calls.bed").write_bytes(b"\x6c\x1b\x01\x00\x00\x00")
    (files / "genotypes/calls.bim").write_text("1\tm1\t0\t1\tA\tG\n")


def two_files(files: Path) -> None:
    words_for_numbers(files)
    ambiguous_synonym(files)
    cut_gzip(GENOTYPES)(files)


CASES = (
    Case("empty trials", empty(TRIALS), ("trials.csv: an empty file; expected a header",)),
    Case("empty genotypes", empty(GENOTYPES), ("genotypes.vcf: an empty file; expected a VCF or PLINK .bed file",)),
    Case("empty lines", empty(LINES), ("lines.csv: an empty file; expected a header",)),
    Case("only a header", lambda files: write_rows(files / TRIALS, rows_of(files / TRIALS)[:1]),
         ("trials.csv: only a header; expected a header and at least one row",)),
    Case("cut gzip of genotypes", cut_gzip(GENOTYPES), ("genotypes.vcf.gz: a truncated or damaged one",)),
    Case("cut gzip of trials", cut_gzip(TRIALS), ("trials.csv.gz: a truncated or damaged one",)),
    Case("not a VCF", not_a_vcf, ("genotypes.vcf: a file that starts with 'line_id,marker_1'; expected a VCF",)),
    Case("VCF without GT", no_genotypes, ("genotypes.vcf: FORMAT is no record with GT", "hard genotype calls (GT)")),
    Case("VCF without samples", no_samples, ("genotypes.vcf, line ", "8 columns without a sample")),
    Case("repeated samples", repeated_samples, ("sample name is given more than once: 'P01' (1 names)",)),
    Case("PLINK without .fam", plink_alone, ("calls.fam: no such file or an empty one; expected a file beside",)),
    Case("words for numbers", words_for_numbers, (
        "(3 problems)",
        "trials.csv, line 5: grain_yield_t_ha is 'n/a'; expected a number or an empty cell; repair: correct the value",
        "trials.csv, line 9: plant_height_cm is 'tall'; expected a number or an empty cell",
        "trials.csv, line 9: check is 'perhaps'; expected yes, no or an empty cell")),
    Case("columns gone", two_columns_gone, (
        "(2 problems)", "expected a column line_id; repair: rename the column 'Line ID' to line_id",
        "expected a column location; repair: add the column location")),
    Case("repeated rows", repeated_rows, (
        "(2 problems)", "trials.csv, line 4", "trials.csv, line 7", "expected each record once",
        "add a replicate column if both were measured")),
    Case("odd season", lambda files: set_cell(files, 7, "season", "20l3"),
         ("trials.csv, line 7: season is '20l3'", "repair: correct the label")),
    Case("ambiguous synonym", ambiguous_synonym,
         ("synonyms is 'L0001-old', which also means line", "expected a name for one line only")),
    Case("no shared line", no_shared_line, (
        "trials.csv and genotypes.vcf: no line with both", "list synonyms in lines.csv")),
    Case("few lines", few_lines, (
        "trials.csv and genotypes.vcf: 12 lines with both in season 2019; expected at least 20 lines",)),
    Case("one allele", one_allele, ("genotypes.vcf: 60 variants, all of them monomorphic",)),
    Case("one line, two samples", one_line_two_samples,
         ("genotypes.vcf: L0001 is the samples L0001 and L0001-old; expected one sample a line",)),
    Case("three files", two_files, (
        "(5 problems)", "trials.csv, line 5", "lines.csv, line", "genotypes.vcf.gz: a truncated or damaged one")),
)
EACH = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Landing files without a fault."""
    return write_files(tmp_path_factory.mktemp("files"), SMALL)


@pytest.fixture(scope="module")
def published_once(good: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A programme with its season published."""
    return publish(good, tmp_path_factory.mktemp("published") / "programme")


@pytest.fixture
def published(published_once: Path) -> Iterator[Path]:
    """The published programme; its landing files are put back afterwards."""
    kept = published_once.parent / "kept"
    shutil.copytree(published_once, kept)
    yield published_once
    shutil.rmtree(published_once)
    kept.rename(published_once)


@pytest.fixture
def files(good: Path, tmp_path: Path) -> Path:
    return shutil.copytree(good, tmp_path / "files")


def refused(answer: Answer, case: Case) -> None:
    assert answer.code == 2, answer.out + answer.err
    assert "Traceback" not in answer.err
    assert not [text for text in case.says if not answer.said(text)], answer.err
    assert "; repair: " in answer.err


@EACH
def test_init_refuses_and_leaves_nothing(case: Case, files: Path, tmp_path: Path,
                                         capsys: pytest.CaptureFixture[str]) -> None:
    case.spoil(files)
    refused(call(capsys, *init_arguments(files, tmp_path / "programme")), case)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["files"]


@EACH
def test_check_says_the_same(case: Case, files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case.spoil(files)
    refused(call(capsys, "check", *sorted(p for p in files.rglob("*") if p.is_file())), case)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["files"]


@EACH
def test_run_refuses_and_the_last_good_state_answers(case: Case, files: Path, published: Path, tmp_path: Path,
                                                     capsys: pytest.CaptureFixture[str]) -> None:
    call(capsys, "rank", published, "--out", tmp_path / "before.csv")
    call(capsys, "status", published)
    workspace = published.parent / ".genomic_platform"
    before = contents(workspace)
    case.spoil(files)
    shutil.rmtree(published / "landing")
    shutil.copytree(files, published / "landing")
    refused(call(capsys, "run", published), case)
    assert contents(workspace) == before
    status = call(capsys, "status", published)
    assert status.code == 0, status.err
    assert status.said("landing files cannot be used as they are; what was published stays"), status.out
    assert call(capsys, "rank", published, "--out", tmp_path / "after.csv").code == 0
    assert (tmp_path / "after.csv").read_bytes() == (tmp_path / "before.csv").read_bytes()
    assert len(json.loads(call(capsys, "report", published, "--json").out)["results"]) == 2


def test_missing_files_are_all_named(files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (files / TRIALS).unlink()
    answer = call(capsys, "init", tmp_path / "programme", "--genotypes", files / "genotypes/chr9.vcf",
                  "--trials", files / TRIALS, "--lines", files / "lines/none.csv")
    refused(answer, Case("", empty(TRIALS), ("(3 problems)", "chr9.vcf: no such file", "trials.csv: no such file",
                                             "none.csv: no such file")))
    assert not (tmp_path / "programme").exists()


def test_an_emptied_landing_folder_is_named(published: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(published / "landing/trials")
    shutil.rmtree(published / "landing/genotypes")
    refused(call(capsys, "run", published), Case("", empty(TRIALS), (
        "(2 problems)", "landing/genotypes: no file; expected at least one genotype file",
        "landing/trials: no file; expected at least one trial file")))
    assert call(capsys, "status", published).said("no file; expected at least one trial file") == 1


def test_a_file_used_in_place_that_went_away(files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    programme = tmp_path / "programme"
    assert call(capsys, *init_arguments(files, programme), "--in-place").code == 0
    (files / GENOTYPES).unlink()
    refused(call(capsys, "run", programme), Case("", empty(TRIALS), ("genotypes.vcf: no such file",)))
    assert not (tmp_path / ".genomic_platform/store").exists()
    assert call(capsys, "status", programme).said("genotypes.vcf: no such file") == 1


def test_a_bad_season_dropped_beside_good_ones(published: Path, tmp_path: Path,
                                               capsys: pytest.CaptureFixture[str]) -> None:
    rows = rows_of(published / "landing" / TRIALS)
    season, environment = rows[0].index("season"), rows[0].index("environment")
    for row in rows[1:]:
        row[season], row[environment] = "2020", row[environment].replace("2019", "2020")
    rows[4][rows[0].index("plant_height_cm")] = "?"
    write_rows(published / "landing/trials/season_2020.csv", rows)
    before = contents(published.parent / ".genomic_platform")
    fault = "season_2020.csv, line 5: plant_height_cm is '?'"
    refused(call(capsys, "run", published), Case("", empty(TRIALS), (fault,)))
    assert contents(published.parent / ".genomic_platform") == before
    status = call(capsys, "status", published)
    assert status.said(fault) == 1
    assert status.said("to run, once the files are repaired: 2020")
    assert call(capsys, "rank", published, "--season", "2019", "--out", tmp_path / "rank.csv").code == 0


@pytest.mark.slow
def test_what_is_accepted_is_said_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All that is accepted at once: each said once by `check`, by `run` and by `status`, and values come out."""
    two = Programme(n_lines=56, n_families=4, n_founders=6, n_seasons=2, n_markers=60, n_traits=3, advanced=6,
                    block_size=16)
    files, programme = write_files(tmp_path / "files", two), tmp_path / "programme"
    change_vcf(files, lambda rows: [rows[0], rows[2], rows[1], [*rows[3][:4], "G,T", *rows[3][5:]], *rows[4:]])
    odd_trials(files / TRIALS)
    said_of_files = (
        "1 line in trials without genotypes (L0002)", "lines with genotypes in no trial (for example ",
        "1 multi-allelic variant left out (m00003)", "1 genotype file not sorted by chromosome and position",
        "trials.csv: starts with a byte order mark", "trials.csv: has Windows line ends",
        "trials.csv: fields are separated by semicolons", "trials.csv: decimal commas read as decimal points",
        "lines without known_from, taken as known from the start")
    said_of_seasons = (
        "head_rice_percent: no record in a season (2020)",
        "plant_height_cm: every line has the same value in a season (2020)",
        "environments that share no lines with the others; their lines get centred means (S2_2020)")
    made = call(capsys, *init_arguments(files, programme))
    assert made.code == 0, made.err
    assert [made.said(text) for text in said_of_files] == [1] * len(said_of_files), made.out
    run = call(capsys, "run", programme)
    assert run.code == 0, run.out + run.err
    assert [run.said(text) for text in said_of_files + said_of_seasons] == [1] * 12, run.out
    status = call(capsys, "status", programme)
    assert [status.said(text) for text in said_of_files + said_of_seasons] == [1] * 12, status.out
    results = json.loads(call(capsys, "report", programme, "--json").out)["results"]
    assert {(r["season"], r["trait"]) for r in results} == {(s, t) for s in ("2019", "2020") for t in (
        "grain_yield_t_ha", "plant_height_cm", "head_rice_percent")}


def odd_trials(path: Path) -> None:
    """Season 2020 with a constant and an absent trait and an environment of its own lines, in a spreadsheet's CSV."""
    rows = rows_of(path)
    at = {name: i for i, name in enumerate(rows[0])}
    earlier = {row[at["line_id"]] for row in rows[1:] if row[at["season"]] == "2019"}
    kept = [rows[0]]
    for row in rows[1:]:
        if row[at["season"]] == "2020":
            apart = row[at["line_id"]] not in earlier and int(row[at["line_id"]][1:5]) % 2 == 0
            if apart != (row[at["environment"]] == "S2_2020"):
                continue
            row[at["head_rice_percent"]], row[at["plant_height_cm"]] = "", "7.5"
        kept.append(row)
    numbers = [at["grain_yield_t_ha"], at["plant_height_cm"], at["head_rice_percent"]]
    for row in kept[1:]:
        for i in numbers:
            row[i] = row[i].replace(".", ",")
    text = "".join(";".join(row) + "\r\n" for row in kept)
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
