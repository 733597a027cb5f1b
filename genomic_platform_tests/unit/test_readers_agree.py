"""One panel in every format reads to the same calls; the real panels have the figures that their READMEs give."""

from __future__ import annotations

import gzip
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from genomic_platform.genotypes import packing
from genomic_platform.genotypes.export import to_bed, to_vcf, to_vcz
from genomic_platform.genotypes.ingest import ingest
from genomic_platform.genotypes.read import read_genotypes
from genomic_platform.genotypes.readers.bcf import open_with_cyvcf2
from genomic_platform.genotypes.readers.part import GenotypePart, collect
from genomic_platform.genotypes.readers.vcf import open_vcf
from genomic_platform.genotypes.table import GenotypeTable

EXAMPLES = Path(__file__).parents[2] / "examples"
#: What every format says of a marker, but a table whose rows are lines.
PLACE = ["chromosome", "position", "ref", "alt"]


@pytest.fixture(scope="module")
def panel() -> GenotypeTable:
    """61 lines × 500 markers on three chromosomes with all kinds of calls and pairs of alleles."""
    rng = np.random.default_rng(8)
    alleles = np.array([rng.choice(list("ACGT"), 2, replace=False) for _ in range(500)])
    variants = pl.DataFrame({"variant_id": [f"m{i}" for i in range(500)], "position": rng.permutation(10**6)[:500],
                             "chromosome": [f"{1 + i % 3}" for i in range(500)], "ref": alleles[:, 0],
                             "alt": alleles[:, 1]})
    dosage_MN = rng.choice([-1, 0, 1, 2], (500, 61), p=[0.06, 0.5, 0.04, 0.4])
    return GenotypeTable.from_dosages(variants, [f"Línea {i}" if i == 3 else f"L{i}" for i in range(61)], dosage_MN)


def without_blanks(table: GenotypeTable) -> GenotypeTable:
    """PLINK's files hold no blank in a name."""
    return GenotypeTable.from_packed(table.variants, [name.replace(" ", "_") for name in table.lines], table.packed_MB)


def gzip_vcf(table: GenotypeTable, folder: Path) -> Path:
    text = to_vcf(table, folder / "plain.vcf").read_bytes()
    (folder / "x.vcf.gz").write_bytes(gzip.compress(text))
    return folder / "x.vcf.gz"


def run(folder: Path, *command: str) -> None:
    if shutil.which(command[0]) is None:
        pytest.skip(f"needs {command[0]}")
    subprocess.run(command, cwd=folder, check=True, capture_output=True)


def bcf(table: GenotypeTable, folder: Path) -> Path:
    """Written by htslib."""
    from cyvcf2 import VCF, Writer

    source = VCF(str(to_vcf(table, folder / "plain.vcf")))
    target = Writer(str(folder / "x.bcf"), source, mode="wb")
    for record in source:
        target.write_record(record)
    target.close()
    return folder / "x.bcf"


def bcftools_bcf(table: GenotypeTable, folder: Path) -> Path:
    to_vcf(table, folder / "plain.vcf")
    run(folder, "bcftools", "view", "-Ob", "-o", "x.bcf", "plain.vcf")
    return folder / "x.bcf"


def pgen(table: GenotypeTable, folder: Path) -> Path:
    to_bed(without_blanks(table), folder / "x")
    run(folder, "plink2", "--bfile", "x", "--make-pgen", "--out", "y")
    return folder / "y.pgen"


def plink1_bed(table: GenotypeTable, folder: Path) -> Path:
    to_bed(without_blanks(table), folder / "x")
    run(folder, "plink1.9", "--bfile", "x", "--keep-allele-order", "--make-bed", "--out", "y")
    return folder / "y.bed"


def hapmap(letters: int) -> Callable[[GenotypeTable, Path], Path]:
    codes = {"AC": "M", "AG": "R", "AT": "W", "CG": "S", "CT": "Y", "GT": "K"}

    def write(table: GenotypeTable, folder: Path) -> Path:
        rows = ["\t".join(["rs#", "alleles", "chrom", "pos", *"abcdefg", *table.lines])]
        for (name, chromosome, position, ref, alt), dosage_N in zip(
                table.variants.select("variant_id", *PLACE).iter_rows(), table.dosages().T, strict=True):
            call = (["N", ref, codes["".join(sorted(ref + alt))], alt] if letters == 1 else
                    ["NN", 2 * ref, alt + ref, 2 * alt])
            rows.append("\t".join([name, f"{ref}/{alt}", chromosome, str(position), *["NA"] * 7,
                                   *(call[d + 1] for d in dosage_N)]))
        (folder / "x.hmp.txt").write_text("\n".join(rows) + "\n", encoding="utf-8")
        return folder / "x.hmp.txt"

    return write


def dosages(rows_are: str, suffix: str) -> Callable[[GenotypeTable, Path], Path]:
    def write(table: GenotypeTable, folder: Path) -> Path:
        if rows_are == "lines":
            calls = pl.DataFrame(table.dosages(), schema=table.variants["variant_id"].to_list(), orient="row")
            frame = pl.DataFrame({"line_id": table.lines}).hstack(calls)
        else:
            calls = pl.DataFrame(table.dosages().T, schema=list(table.lines), orient="row")
            frame = table.variants.select("variant_id", *PLACE).hstack(calls)
        path = folder / f"x{suffix}"
        if suffix == ".parquet":
            frame.write_parquet(path)
        else:
            frame.write_csv(path, separator={".csv": ",", ".tsv": "\t"}[suffix])
        return path

    return write


FORMATS: dict[str, Callable[[GenotypeTable, Path], Path]] = {
    "VCF": lambda table, folder: to_vcf(table, folder / "x.vcf"),
    "VCF, bgzip": lambda table, folder: to_vcf(table, folder / "x.vcf.gz"),
    "VCF, gzip": gzip_vcf, "BCF": bcf, "BCF of bcftools": bcftools_bcf,
    "PLINK": lambda table, folder: to_bed(without_blanks(table), folder / "x")[0],
    "PLINK of plink1.9": plink1_bed, "PLINK 2": pgen, "HapMap, one letter": hapmap(1), "HapMap, two letters": hapmap(2),
    "VCF Zarr": lambda table, folder: to_vcz(table, folder / "x.vcz"),
    **{f"{rows_are} {suffix}": dosages(rows_are, suffix) for rows_are in ("lines", "markers")
       for suffix in (".csv", ".tsv", ".parquet")}}


@pytest.mark.parametrize("name", FORMATS)
def test_one_panel_is_the_same_in_every_format(tmp_path: Path, panel: GenotypeTable, name: str) -> None:
    path = FORMATS[name](panel, tmp_path)
    known = [] if name.startswith("lines ") else PLACE
    for read, notices in (read_genotypes([path]), ingest([path], tmp_path / "table")):
        assert read.lines in (panel.lines, without_blanks(panel).lines)
        wanted = panel.variants.sort("variant_id")
        found = read.variants.sort("variant_id")
        assert found.select("variant_id", *known, "alt_frequency", "call_rate").equals(
            wanted.select("variant_id", *known, "alt_frequency", "call_rate"))
        assert calls(read) == calls(panel)
        assert {notice.code for notice in notices} == ({"placeholder_alleles"} if not known else set())


def calls(table: GenotypeTable) -> dict[str, list[int]]:
    return dict(zip(table.variants["variant_id"], table.dosages().T.tolist(), strict=True))


def figures(part: GenotypePart) -> tuple[int, int, float, float]:
    """Lines, variants, share of calls missing, share of called ones heterozygous."""
    dosage_MN = packing.unpack(part.packed_MB, len(part.lines))
    missing = dosage_MN == packing.MISSING
    return len(part.lines), len(dosage_MN), float(missing.mean()), float((dosage_MN == 1).sum() / (~missing).sum())


@pytest.mark.parametrize(("example", "expected"), [
    ("rice_japonica_uy", (321, 44_598, 0.0, 0.039)),  # README: no call missing, 3.9 % heterozygous
    ("wheat_cimmyt599", (599, 1_279, 0.0, 0.0)),  # README: no call missing; DArT markers are present or absent
])
def test_real_panels_have_the_figures_of_their_readme_by_both_paths(
        example: str, expected: tuple[int, int, float, float]) -> None:
    path = EXAMPLES / example / "landing" / "genotypes" / "genotypes.vcf.gz"
    fast, slow = collect(open_vcf(path)), collect(open_with_cyvcf2(path))
    assert figures(fast) == pytest.approx(expected, abs=5e-4)  # the README rounds to a tenth of a percent
    assert fast.lines == slow.lines
    assert fast.variants.equals(slow.variants)
    np.testing.assert_array_equal(fast.packed_MB, slow.packed_MB)
