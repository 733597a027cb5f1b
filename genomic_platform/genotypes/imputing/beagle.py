"""Beagle 5 as an outside program: a table goes out as VCF, its phased and completed calls come back.

Only writing, running and reading back belongs here; the program (`beagle.jar`) and Java are the user's to install.
Lines and variants travel under numbers, so that no name of theirs can upset the program or be lost.
Reference: Browning, Tian, Zhou & Browning 2021, Am. J. Hum. Genet. 108:1880-1890.
"""

from __future__ import annotations

import gzip
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import polars as pl

from genomic_platform.errors import GenomicPlatformError, NotAvailable
from genomic_platform.genotypes import packing
from genomic_platform.genotypes.chromosomes import require_placed
from genomic_platform.genotypes.imputing.imputation import Imputed
from genomic_platform.genotypes.parallel import available_cores
from genomic_platform.genotypes.table import GenotypeTable

_FIXED_FIELDS = 9
_CELLS = np.frombuffer(b"\t./.\t0/0\t0/1\t1/1", dtype=np.uint8).reshape(4, 4)  # index: dosage + 1


def impute_beagle(table: GenotypeTable, jar: Path | None, *, java: str = "java", seed: int = 1, memory_gb: int = 4,
                  threads: int | None = None) -> Imputed:
    """Impute missing calls with Beagle, which phases all lines along each chromosome.

    Expected dosages are the hard calls: without a reference panel Beagle gives no probabilities.

    Parameters
    ----------
    table : positions known and at least two of them on each chromosome, since Beagle walks along chromosomes.
    jar, java : beagle.jar (5.x) and the Java to run it with. seed : of its sampling; same seed, same calls.
    memory_gb : the largest heap Java may take.

    Raises
    ------
    NotAvailable : no jar was given, or it or Java is not there.
    ValueError : positions are unknown or a chromosome has a single position.
    GenomicPlatformError : Beagle failed; the message ends with its own words.
    """
    jar, java = _found(jar, java)
    _check_positions(table)
    with tempfile.TemporaryDirectory(prefix="beagle-") as folder:
        write_calls(table, Path(folder) / "in.vcf.gz")
        command = [java, f"-Xmx{memory_gb}g", "-jar", str(jar), "gt=in.vcf.gz", "out=out", f"seed={seed}",
                   f"nthreads={threads or available_cores()}"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            said = " / ".join(line for line in (done.stdout + done.stderr).splitlines()[-30:]
                              if line.strip() and not line.startswith("\tat "))
            raise GenomicPlatformError(f"Beagle stopped with exit status {done.returncode}: {said}")
        complete_MB = read_calls(Path(folder) / "out.vcf.gz", table.n_variants, table.n_lines)
    return _merged(table, complete_MB)


def write_calls(table: GenotypeTable, path: Path) -> None:
    """Write the calls as VCF (GT only): sample n is line n, ID m is variant m of the table, chromosomes are 1, 2, ….

    Alleles are A and C, CC, …: Beagle refuses variants that share position and alleles, and does not use the bases.
    """
    chromosome, position = pl.col("chromosome"), pl.col("position")
    alt = pl.lit("C").repeat_by(pl.int_range(pl.len()).over(chromosome, position) + 1).list.join("")
    fixed = table.variants.with_row_index("id").select(
        pl.format("{}\t{}\t{}\tA\t{}\t.\tPASS\t.\tGT", chromosome.rle_id() + 1, position, "id", alt)).to_series()
    names = "\t".join(map(str, range(table.n_lines)))
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(b"##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\t")
        file.write(f"{names}\n".encode())
        for start, call_mN in table.blocks():
            for described, cell_N4 in zip(fixed[start : start + len(call_mN)], _CELLS[call_mN + 1], strict=True):
                file.write(described.encode() + cell_N4.tobytes() + b"\n")


def read_calls(path: Path, n_variants: int, n_lines: int) -> np.ndarray:
    """Packed calls (M, B) of a VCF that Beagle made of `write_calls`' (phased GT first, ID the variant's number).

    Raises GenomicPlatformError when variants are missing or a call is not `a|b`.
    """
    packed_MB = np.zeros((n_variants, packing.n_bytes(n_lines)), dtype=np.uint8)
    seen_M = np.zeros(n_variants, dtype=bool)
    with gzip.open(path, "rb") as file:
        for line in file:
            if line.startswith(b"#"):
                continue
            fields = line.rstrip(b"\r\n").split(b"\t")
            row, cells = int(fields[2]), [field[:3] for field in fields[_FIXED_FIELDS:]]
            letters = np.frombuffer(b"".join(cells), dtype=np.uint8)
            if len(letters) != 3 * n_lines or not np.isin(letters.reshape(-1, 3)[:, ::2], (ord("0"), ord("1"))).all():
                raise GenomicPlatformError(f"Beagle's answer, variant {row}: expected {n_lines} calls such as 0|1, "
                                           f"found {len(cells)} that begin {b' '.join(cells[:3]).decode()!r}")
            call_N = letters.reshape(-1, 3)[:, ::2].sum(axis=1) - 2 * ord("0")
            packed_MB[row], seen_M[row] = packing.pack(call_N.astype(np.int8)[None])[0], True
    if not seen_M.all():
        raise GenomicPlatformError(f"Beagle's answer holds {seen_M.sum():,} of {n_variants:,} variants")
    return packed_MB


def _merged(table: GenotypeTable, complete_MB: np.ndarray) -> Imputed:
    """Known calls stay as they are; Beagle's stand where calls were missing."""
    variant_C, line_C, dosage_C, packed = [], [], [], []
    for start, call_mN in table.blocks():
        answer_mN = packing.unpack(complete_MB[start : start + len(call_mN)], table.n_lines)
        row_C, at_C = np.nonzero(call_mN < 0)
        variant_C.append((row_C + start).astype(np.int32))
        line_C.append(at_C.astype(np.int32))
        dosage_C.append(answer_mN[row_C, at_C].astype(np.float32))
        packed.append(packing.pack(np.where(call_mN < 0, answer_mN, call_mN)))
    return Imputed(GenotypeTable.from_packed(table.variants, table.lines, np.concatenate(packed)), "beagle",
                   np.concatenate(variant_C), np.concatenate(line_C), np.concatenate(dosage_C))


def _found(jar: Path | None, java: str) -> tuple[Path, str]:
    if jar is None or not Path(jar).is_file():
        raise NotAvailable(f"imputation by Beagle needs its program; expected the path of beagle.jar, found "
                           f"{'none' if jar is None else f'no file at {jar}'}; repair: download beagle.jar (5.x) and "
                           f"name it, or impute with method knn")
    if (program := shutil.which(java)) is None:
        raise NotAvailable(f"imputation by Beagle needs Java; found no program {java!r}; repair: install a Java "
                           f"runtime (11 or later), name its path, or impute with method knn")
    return Path(jar).resolve(), program


def _check_positions(table: GenotypeTable) -> None:
    require_placed(table.variants, "Beagle", ", or impute with method knn")
    positions = table.variants.group_by("chromosome", maintain_order=True).agg(pl.col("position").n_unique())
    if alone := positions.filter(pl.col("position") == 1)["chromosome"].to_list():
        raise ValueError(f"Beagle needs two positions on a chromosome; found one on {', '.join(alone[:5])}; select "
                         f"without them, or impute with method knn")
