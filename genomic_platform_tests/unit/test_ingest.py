"""Files written straight into a table on disk: the same table as read in memory, whole or not at all."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from genomic_platform.errors import InputError, ProgramError
from genomic_platform.genotypes import table as table_module
from genomic_platform.genotypes import table_file
from genomic_platform.genotypes.ingest import ingest
from genomic_platform.genotypes.read import read_genotypes
from genomic_platform.genotypes.table import GenotypeTable
from genomic_platform_tests.support.panels import made_panel

EXAMPLES = Path(__file__).parents[2] / "examples"
HEAD = "##fileformat=VCFv4.2\n" + "\t".join(["#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO", "FORMAT"])


def vcf(path: Path, dosage_MN: np.ndarray, lines: list[str], chromosomes: list[str], first: int = 1) -> Path:
    """A VCF of the given calls, its variants in the order of `chromosomes`."""
    calls = np.array(["./.", "0/0", "0/1", "1/1"])[dosage_MN + 1]
    rows = ["\t".join([chromosome, str(first + i), f"{chromosome}_{first + i}", "A", "C", ".", ".", ".", "GT", *row])
            for i, (chromosome, row) in enumerate(zip(chromosomes, calls, strict=True))]
    path.write_text("\n".join(["\t".join([HEAD, *lines]), *rows]) + "\n")
    return path


def random_calls(m: int, n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(-1, 3, (m, n)).astype(np.int8)


def equal(one: GenotypeTable, other: GenotypeTable) -> bool:
    return (one.variants.equals(other.variants) and one.lines == other.lines
            and np.array_equal(one.packed_MB, other.packed_MB))


@pytest.mark.parametrize("example", ["rice_japonica_uy", "wheat_cimmyt599"])
def test_a_real_file_gives_the_table_that_memory_gives(tmp_path: Path, example: str) -> None:
    path = EXAMPLES / example / "landing/genotypes/genotypes.vcf.gz"
    written, notices = ingest([path], tmp_path / "table")
    read, said = read_genotypes([path])
    assert equal(written, read)
    assert notices == said
    read.save(tmp_path / "saved")
    for name in ("genotypes.parquet", "lines.parquet"):
        assert (tmp_path / "saved" / name).read_bytes() == (tmp_path / "table" / name).read_bytes()


def test_chromosomes_in_another_order_and_lines_in_another_order_are_put_right(tmp_path: Path) -> None:
    lines = [f"L{i}" for i in range(7)]
    first, second = random_calls(30, 7, 1), random_calls(10, 7, 2)
    files = [vcf(tmp_path / "a.vcf", first, lines, ["chr9"] * 12 + ["chr10"] * 18),
             vcf(tmp_path / "b.vcf", second[:, ::-1], lines[::-1], ["chr1"] * 10)]
    table, _ = ingest(files, tmp_path / "table")
    assert table.variants["chromosome"].rle().struct.field("value").to_list() == ["chr1", "chr10", "chr9"]
    np.testing.assert_array_equal(table.dosages("chr1"), second.T)
    np.testing.assert_array_equal(table.dosages("chr9"), first[:12].T)
    assert equal(table, read_genotypes(files)[0])


def test_batches_are_merged_and_the_report_lies_beside_the_table(tmp_path: Path) -> None:
    calls = random_calls(40, 12, 3)
    lines = [f"L{i:02d}" for i in range(12)]
    files = [vcf(tmp_path / "2020.vcf", calls[:30, :8], lines[:8], ["1"] * 30),
             vcf(tmp_path / "2021.vcf", calls[10:, 7:], lines[7:], ["1"] * 30, first=11)]
    table, notices = ingest(files, tmp_path / "table")
    assert table.lines == tuple(lines)
    np.testing.assert_array_equal(table.dosages(lines=lines[:8])[:, :30], calls[:30, :8].T)
    assert (table.dosages(lines=lines[8:])[:, :10] == -1).all()  # markers the second batch lacks
    assert {n.code for n in notices} >= {"merged", "repeated_lines"}
    report = pl.read_parquet(tmp_path / "table" / "batch_report.parquet")
    assert report.filter(kind="line")["id"].to_list() == ["L07"]


@pytest.mark.parametrize("n_lines", range(1, 10))
def test_a_table_on_disk_gives_what_it_held_by_any_way_in(tmp_path: Path, n_lines: int,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_file, "_ROW_GROUP_VARIANTS", 64)
    monkeypatch.setattr(table_module, "KEPT_BYTES", 0)  # streamed, however small
    calls = random_calls(300, n_lines, n_lines)
    variants = pl.DataFrame({"variant_id": [f"m{i:03d}" for i in range(300)], "ref": "A", "alt": "C",
                             "chromosome": ["1"] * 150 + ["2"] * 150, "position": [*range(1, 151), *range(1, 151)]})
    GenotypeTable.from_dosages(variants, [f"L{i}" for i in range(n_lines)], calls).save(tmp_path / "table")
    table = GenotypeTable.open(tmp_path / "table")
    blocks = list(table.blocks(50))
    assert all(len(block) <= 50 for _, block in blocks)
    np.testing.assert_array_equal(np.concatenate([block for _, block in blocks]), calls)
    np.testing.assert_array_equal(table.dosages("2:10-20"), calls[159:170].T)
    np.testing.assert_array_equal(table.dosages("1;2:150"), calls[[*range(150), 299]].T)
    np.testing.assert_array_equal(table.dosages(["m200", "m003", "m003"]), calls[[200, 3, 3]].T)
    np.testing.assert_array_equal(table.dosages(calls[:, 0] > 0, ["L0"]), calls[calls[:, 0] > 0][:, :1].T)
    floats = table.dosages(dtype=np.float32)
    np.testing.assert_array_equal(np.nan_to_num(floats, nan=-1), calls.T)
    some = table.select("2", table.lines[::-1])
    np.testing.assert_array_equal(some.dosages(), calls[150:, ::-1].T)
    assert "packed_MB" not in table.__dict__  # nothing of this read the whole table
    np.testing.assert_array_equal(table.to_torch("1:3-5").numpy(), calls[2:5].T)


def test_a_table_stays_readable_when_its_file_is_replaced(tmp_path: Path) -> None:
    panel = made_panel()
    panel.save(tmp_path / "table")
    table = GenotypeTable.open(tmp_path / "table")
    (tmp_path / "table" / "genotypes.parquet").unlink()
    np.testing.assert_array_equal(table.packed_MB, panel.packed_MB)


def test_a_region_names_what_the_table_lacks() -> None:
    panel = made_panel()
    with pytest.raises(Exception, match=r"region '7:1-2': no chromosome '7' here; expected one of 1"):
        panel.dosages("7:1-2")


def test_a_refused_file_leaves_nothing_behind(tmp_path: Path) -> None:
    path = vcf(tmp_path / "x.vcf", random_calls(20, 5, 1), ["a", "b", "c", "d", "e"], ["1"] * 20)
    path.write_text(path.read_text() + "1\t99\tlast\tA\tC\t.\t.\t.\tGT\t0/0\n")
    with pytest.raises(InputError, match=r"x\.vcf, line 23: 10 columns; expected 14"):
        ingest([path], tmp_path / "table")
    assert [p.name for p in tmp_path.iterdir()] == ["x.vcf"]


def test_a_table_that_exists_is_not_written_over(tmp_path: Path) -> None:
    path = vcf(tmp_path / "x.vcf", random_calls(20, 5, 1), ["a", "b", "c", "d", "e"], ["1"] * 20)
    ingest([path], tmp_path / "table")
    with pytest.raises(ProgramError, match="table exists; expected a new folder"):
        ingest([path], tmp_path / "table")


def test_a_killed_ingest_leaves_no_table(tmp_path: Path) -> None:
    path = vcf(tmp_path / "x.vcf", random_calls(4000, 200, 1), [f"L{i}" for i in range(200)], ["1"] * 4000)
    code = ("import sys; from pathlib import Path; from genomic_platform.genotypes.ingest import ingest\n"
            "print(flush=True); ingest([Path(sys.argv[1])], Path(sys.argv[2]))")
    for delay in (0.05, 0.2, 0.4, 0.8):
        out = tmp_path / f"table{delay}"
        process = subprocess.Popen([sys.executable, "-c", code, path, out], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(delay)
        process.kill()
        process.communicate()
        assert not out.exists() or GenotypeTable.open(out).dosages().shape == (200, 4000)
