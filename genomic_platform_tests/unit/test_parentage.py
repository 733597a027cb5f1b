"""Parentage: errors as PLINK and a plain loop count them; faults put into a known programme are found and named."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genomic_platform.genotypes.packing import pack
from genomic_platform.genotypes.quality.line_bits import bit_planes, count_bits, count_markers, line_bits
from genomic_platform.genotypes.quality.mendel import Trios, count_errors, marker_errors, trios_of
from genomic_platform.genotypes.quality.parentage import Limits, check_parentage
from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform.schemas.pedigree import PARENTAGE, PEDIGREE
from genomic_platform_tests.support.crosses import Programme, made_programme
from genomic_platform_tests.support.panels import made_panel

PLINK = Path(__file__).parents[1] / "reference" / "genotypes" / "mendel"


def verdicts(programme: Programme, **options: float) -> dict[str, tuple[str, str | None]]:
    """line → (verdict, suggestion) of what is not consistent and not merely untested."""
    report = check_parentage(programme.called(), programme.pedigree, Limits(**options))  # type: ignore[arg-type]
    faults = report.filter(~pl.col("verdict").is_in(["consistent", "not_tested"]))
    return {line: (verdict, suggestion) for line, verdict, suggestion in
            faults.select("line_id", "verdict", "suggestion").iter_rows()}


def parents(programme: Programme, line: str) -> list[str]:
    return list(programme.pedigree.filter(line_id=line).select("parent_1", "parent_2").row(0))


def stranger(programme: Programme, *lines: str) -> str:
    """A founder that is no parent of these lines."""
    kin = {parent for line in lines for parent in parents(programme, line)}
    return next(line for line in programme.lines if line.startswith("P") and line not in kin)


def plink_errors(file: Path) -> tuple[Counter[str], Counter[str]]:
    """Errors of each child and of each marker."""
    rows = [row.split() for row in file.read_text().splitlines()[1:]]
    return Counter(row[1] for row in rows), Counter(row[3] for row in rows)


@settings(deadline=None, max_examples=40)
@given(n=st.integers(1, 21), m=st.integers(1, 200), seed=st.integers(0, 1000))
def test_bit_planes_hold_every_call_once_at_any_size(n: int, m: int, seed: int) -> None:
    dosage_MN = np.random.default_rng(seed).integers(-1, 3, (m, n)).astype(np.int8)
    bits = bit_planes(pack(dosage_MN), n)
    for plane_WN, dosage in ((bits.ref_WN, 0), (bits.het_WN, 1), (bits.alt_WN, 2)):
        np.testing.assert_array_equal(count_bits(plane_WN), (dosage_MN == dosage).sum(axis=0))
        np.testing.assert_array_equal(count_markers(plane_WN, m), (dosage_MN == dosage).sum(axis=1))
    assert not (bits.ref_WN & bits.het_WN | bits.het_WN & bits.alt_WN | bits.ref_WN & bits.alt_WN).any()


def plain_errors(dosage_NM: np.ndarray, line: int, one: int, other: int, selfed: bool) -> tuple[int, int]:
    """The rules one marker at a time: alleles that each parent can give."""
    gives = {-1: {0, 1}, 0: {0}, 1: {0, 1}, 2: {1}}
    tested = errors = 0
    absent_M = np.full(dosage_NM.shape[1], -1)
    of_parents = (dosage_NM[k] if k >= 0 else absent_M for k in (one, other))
    for x, p, q in zip(dosage_NM[line], *of_parents, strict=True):
        crossed = {a + b for a in gives[int(p)] for b in gives[int(q)]}
        possible = crossed | ({0, 2} if 1 in crossed else set()) if selfed else crossed
        possible |= {1} if selfed and {0, 2} <= possible else set()
        tested += x >= 0 and len(possible) < 3
        errors += x >= 0 and int(x) not in possible
    return tested, errors


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 1000))
def test_errors_equal_a_plain_loop_over_markers(seed: int) -> None:
    rng = np.random.default_rng(seed)
    dosage_MN = rng.integers(-1, 3, (150, 9)).astype(np.int8)
    panel = made_panel(9, 150)
    table = GenotypeTable.from_dosages(panel.variants, panel.lines, dosage_MN)
    trios = Trios(rng.integers(0, 9, 12), rng.integers(-1, 9, (12, 2)), rng.random(12) < 0.5)
    counts = np.stack(count_errors(table, trios), axis=1)
    rows = zip(trios.line_T, *trios.parents_T2.T, trios.selfed_T, strict=True)
    plain = [plain_errors(dosage_MN.T, *row) for row in rows]
    np.testing.assert_array_equal(counts, plain)


def test_errors_of_crosses_equal_plink(tmp_path: Path) -> None:
    """Stored: `plink1.9 --bfile mendel --mendel --mendel-duos --allow-no-sex` (v1.90), trios and duos, 356 errors."""
    fam = [row.split() for row in PLINK.with_suffix(".fam").read_text().splitlines()]
    bim = [row.split() for row in PLINK.with_suffix(".bim").read_text().splitlines()]
    variants = pl.DataFrame({"variant_id": [row[1] for row in bim], "chromosome": "1",
                             "position": [int(row[3]) for row in bim], "ref": "A", "alt": "C"})
    packed = np.frombuffer(PLINK.with_suffix(".bed").read_bytes()[3:], dtype=np.uint8).reshape(len(bim), -1)
    table = GenotypeTable.from_packed(variants, [row[1] for row in fam], packed)
    pedigree = pl.DataFrame([(row[1], *(None if p == "0" else p for p in row[2:4]), 0.0) for row in fam],
                            PEDIGREE.schema, orient="row")
    trios = trios_of(table, pedigree)
    _, errors_T = count_errors(table, trios)
    of_markers = marker_errors(table, pedigree)
    stored = [PLINK.with_name("mendel.plink1.mendel")]
    if shutil.which("plink1.9"):
        subprocess.run(["plink1.9", "--bfile", str(PLINK), "--mendel", "--mendel-duos", "--allow-no-sex", "--out",
                        str(tmp_path / "again")], check=True, capture_output=True)
        stored.append(tmp_path / "again.mendel")
    for file in stored:
        of_child, of_marker = plink_errors(file)
        found = {table.lines[row]: int(n) for row, n in zip(trios.line_T, errors_T, strict=True) if n}
        assert found == dict(of_child)
        with_errors = of_markers.filter(pl.col("errors") > 0)
        assert dict(with_errors.select("variant_id", "errors").iter_rows()) == dict(of_marker)


@pytest.mark.parametrize("inbreeding", [1.0, 0.9375, 0.75, 0.5])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_sound_samples_with_genotyping_errors_are_not_flagged(inbreeding: float, seed: int) -> None:
    programme = made_programme(inbreeding=inbreeding, seed=seed)
    report = check_parentage(programme.called(error=0.01), programme.pedigree)
    assert report.schema == pl.Schema(PARENTAGE.schema)
    assert set(report.filter(pl.col("parent_1").is_not_null())["verdict"]) == {"consistent"}
    assert set(report.filter(pl.col("parent_1").is_null())["verdict"]) == {"not_tested"}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_each_fault_is_found_and_named(seed: int) -> None:
    programme = made_programme(seed=seed)
    wrong, both, hybrid = stranger(programme, "F0-01"), "F1-02", stranger(programme, "H2")
    expected: dict[str, tuple[str, str | None]] = {
        "F0-01": ("wrong_parent", f"parent_2 = {parents(programme, 'F0-01')[1]}"),
        "H2": ("wrong_parent", f"parent_1 = {parents(programme, 'H2')[0]}"),
        "F1-02": ("wrong_parents", f"parents = {', '.join(sorted(parents(programme, both)))}"),
        "F2-03": ("swapped", "swap with F3-04"), "F3-04": ("swapped", "swap with F2-03"),
        "F4-05": ("contaminated", "mixed with F5-06"), "H1": ("contaminated", "mixed with F6-00"),
    }
    programme.declare("F0-01", parent_2=wrong)
    programme.declare("H2", parent_1=hybrid)
    others = [line for line in programme.lines if line.startswith("P") and line not in parents(programme, both)]
    programme.declare(both, parent_1=others[0], parent_2=others[1])
    programme.exchange("F2-03", "F3-04")
    programme.mix("F4-05", "F5-06")
    programme.mix("H1", "F6-00")
    assert verdicts(programme) == expected


def test_exchanged_founders_are_named_and_their_progeny_explained() -> None:
    programme = made_programme()
    one, other = parents(programme, "F0-00")[0], stranger(programme, "F0-00")
    programme.exchange(one, other)
    found = verdicts(programme)
    assert found.pop(one) == ("swapped", f"swap with {other}")
    assert found.pop(other) == ("swapped", f"swap with {one}")
    progeny = programme.pedigree.filter(pl.any_horizontal(pl.col("parent_1", "parent_2").is_in([one, other])))
    # a cross of the two with each other agrees before and after
    crossed = progeny.filter(pl.all_horizontal(pl.col("parent_1", "parent_2").is_in([one, other])))
    assert set(found) == set(progeny["line_id"]) - set(crossed["line_id"])
    assert set(found.values()) == {("parent_swapped", " and ".join(sorted((one, other))))}


def test_a_parent_outside_the_panel_leaves_the_line_unexplained() -> None:
    programme = made_programme(n_families=3, size=4, n_hybrids=0)
    parent = parents(programme, "F0-00")[1]
    row = programme.row(parent)
    programme.declare("F0-00", parent_2=stranger(programme, "F0-00"))
    programme.lines.pop(row)
    programme.dosage_MN = np.delete(programme.dosage_MN, row, axis=1)
    assert verdicts(programme)["F0-00"] == ("unexplained", None)


def test_what_cannot_be_tested_says_why() -> None:
    programme = made_programme(n_families=2, size=3, n_hybrids=2)
    programme.declare("F0-00", parent_2=None)
    programme.declare("F0-01", parent_1="elsewhere", parent_2="elsewhere")
    programme.declare("H0", parent_2=None)
    rows = check_parentage(programme.called(), programme.pedigree).iter_rows(named=True)
    report = {row["line_id"]: row for row in rows}
    assert report["F0-00"]["verdict"] == "not_tested"  # one parent excludes nothing of a selfed line
    assert "fewer than 50" in report["F0-00"]["reason"]
    assert report["F0-01"]["reason"] == report["P00"]["reason"] == "no parent with genotypes"
    assert report["H0"]["verdict"] == "consistent"  # of a cross one parent tells: a duo
    strict = check_parentage(programme.called(), programme.pedigree, Limits(min_markers=10_000))
    assert set(strict["verdict"]) == {"not_tested"}


def test_undeclared_inbreeding_counts_as_selfed_and_says_nothing_of_heterozygosity() -> None:
    programme = made_programme(n_families=2, size=3, n_hybrids=2)
    programme.pedigree = programme.pedigree.with_columns(inbreeding=pl.lit(None, dtype=pl.Float64))
    programme.mix("F0-00", "F1-00")
    report = check_parentage(programme.called(), programme.pedigree)
    assert report["expected_heterozygosity"].null_count() == report.height
    assert report.filter(line_id="F0-00")["verdict"].to_list() == ["unexplained"]
    assert set(report.filter(pl.col("line_id").str.starts_with("H"))["verdict"]) == {"consistent"}


def test_a_contaminated_founder_is_found_by_its_heterozygosity() -> None:
    programme = made_programme(n_families=3, size=3, n_hybrids=0)
    programme.mix("P03", "P07")
    assert verdicts(programme)["P03"] == ("contaminated", "mixed with P07")


def test_markers_with_many_errors_stand_out() -> None:
    programme = made_programme()
    bad = [3, 700, 1999]
    programme.dosage_MN[bad] = np.random.default_rng(1).integers(0, 3, (3, len(programme.lines)))
    found = marker_errors(programme.called(), programme.pedigree)
    assert found["variant_id"].to_list() == [f"m{i:05d}" for i in range(2000)]
    told = found.filter(pl.col("n_trios") >= 10)
    assert set(told.filter(pl.col("error_rate") > 0.4)["variant_id"]) == {f"m{i:05d}" for i in bad}


def test_a_table_on_disk_and_one_thread_give_the_same_report(tmp_path: Path) -> None:
    programme = made_programme(n_families=4, size=5)
    programme.exchange("F0-00", "F1-00")
    programme.mix("F2-00", "F3-00")
    table = programme.called()
    table.save(tmp_path / "panel")
    report = check_parentage(table, programme.pedigree)
    on_disk = GenotypeTable.open(tmp_path / "panel")
    assert check_parentage(on_disk, programme.pedigree.reverse(), threads=1).equals(report)
    assert marker_errors(on_disk, programme.pedigree).equals(marker_errors(table, programme.pedigree))
    assert sum(bits.size for bits in line_bits(on_disk, ["F0-00"], size=100)) == 2000


def test_nobody_of_the_pedigree_is_genotyped() -> None:
    pedigree = pl.DataFrame([("A", "B", None, None)], PEDIGREE.schema, orient="row")
    assert check_parentage(made_panel(4, 70), pedigree).height == 0
    assert marker_errors(made_panel(4, 70), pedigree)["errors"].sum() == 0


def test_a_thousand_lines_take_a_moment() -> None:
    """1,000 trios × 10,000 markers: 1/25 of 5,000 × 50,000, which take half a second."""
    rng = np.random.default_rng(1)
    variants = pl.DataFrame({"variant_id": [f"m{i}" for i in range(10_000)], "chromosome": "1",
                             "position": np.arange(1, 10_001), "ref": "A", "alt": "C"})
    packed_MB = rng.integers(0, 256, (10_000, 250), np.uint8)
    table = GenotypeTable.from_packed(variants, [f"l{i}" for i in range(1000)], packed_MB)
    trios = Trios(np.arange(1000), rng.integers(0, 1000, (1000, 2)), rng.random(1000) < 0.5)
    count_errors(table, trios)  # compiled before the clock starts
    started = time.process_time()
    count_errors(table, trios)
    assert time.process_time() - started < 5  # takes some hundredths; room for a slow, busy machine
