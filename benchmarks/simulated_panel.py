"""Genotypes with the linkage of a breeding panel, as VCF and PLINK .bed, for the benchmarks.

    python benchmarks/simulated_panel.py PREFIX LINES MARKERS [--seed 1] [--vcf] [--bed]

Ten ancestors whose markers sit, 25 at a time, on four genealogies; sixty founders are mosaics of them, lines mosaics of
founders; half of each line's segments are autozygous; ten chromosomes; 2 % of the calls are missing.
"""

from __future__ import annotations

import argparse
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from genomic_platform.genotypes import packing

ANCESTORS, FOUNDERS, CHROMOSOMES = 10, 60, 10
GENEALOGY_MARKERS, SEGMENT_MARKERS = 25, 250
MISSING, INBREEDING = 0.02, 0.5
BASES = "ACGT"


@dataclass(frozen=True)
class Panel:
    """dosage_MN int8 with −1 missing; chromosome_M and position_M of the markers."""

    dosage_MN: np.ndarray
    chromosome_M: np.ndarray
    position_M: np.ndarray

    @property
    def lines(self) -> list[str]:
        return [f"L{i:05d}" for i in range(self.dosage_MN.shape[1])]

    def variants(self) -> Iterator[tuple[int, int, str, str, str]]:
        """chromosome, position, id, REF, ALT."""
        for i, (chromosome, position) in enumerate(zip(self.chromosome_M, self.position_M, strict=True)):
            yield int(chromosome), int(position), f"S{i:07d}", BASES[i % 4], BASES[(i + 1 + i // 4 % 3) % 4]


def _mosaic(rng: np.random.Generator, sources_KM: np.ndarray, n: int, rate: float) -> np.ndarray:
    """n haplotypes, each changing its source with probability `rate` a marker."""
    n_markers = sources_KM.shape[1]
    mosaic_NM = np.empty((n, n_markers), np.int8)
    for i in range(n):
        cuts = np.sort(rng.integers(1, n_markers, max(1, rng.poisson(rate * n_markers))))
        bounds = np.concatenate([[0], cuts, [n_markers]])
        source_M = np.repeat(rng.integers(0, len(sources_KM), len(bounds) - 1), np.diff(bounds))
        mosaic_NM[i] = sources_KM[source_M, np.arange(n_markers)]
    return mosaic_NM


def simulate(n_lines: int, n_markers: int, seed: int = 1) -> Panel:
    """A panel; every marker varies among the founders with a minor allele frequency above 2 %."""
    rng = np.random.default_rng(seed)
    drawn = int(1.9 * n_markers) + 200
    n_genealogies = -(-drawn // GENEALOGY_MARKERS)
    splits = rng.random((n_genealogies, 4, ANCESTORS)) < rng.beta(1.0, 1.4, (n_genealogies, 4, 1))
    ancestors = splits[np.arange(drawn) // GENEALOGY_MARKERS, rng.integers(0, 4, drawn)].astype(np.int8).T
    founders = _mosaic(rng, np.ascontiguousarray(ancestors ^ (rng.random(drawn) < 0.5)), FOUNDERS, 1 / 60)
    founders ^= rng.random(founders.shape) < 0.01
    frequency = founders.mean(axis=0)
    kept = np.sort(rng.choice(np.flatnonzero((frequency > 0.02) & (frequency < 0.98)), n_markers, replace=False))
    founders = np.ascontiguousarray(founders[:, kept])
    first, second = (_mosaic(rng, founders, n_lines, 1 / 1500) for _ in range(2))
    autozygous = rng.random((n_lines, -(-n_markers // SEGMENT_MARKERS))) < INBREEDING
    for i in range(n_lines):
        same_M = np.repeat(autozygous[i], SEGMENT_MARKERS)[:n_markers]
        second[i, same_M] = first[i, same_M]
    dosage_MN = np.ascontiguousarray((first + second).T)
    for start in range(0, n_markers, 4096):
        block_mN = dosage_MN[start : start + 4096]
        block_mN[rng.random(block_mN.shape, dtype=np.float32) < MISSING] = packing.MISSING
    per_chromosome = -(-n_markers // CHROMOSOMES)
    marker = np.arange(n_markers)
    return Panel(dosage_MN, marker // per_chromosome + 1, marker % per_chromosome * 97 + 10_000)


def write_bed(panel: Panel, prefix: Path) -> None:
    """PREFIX.bed, .bim, .fam with A1 = ALT."""
    with prefix.with_suffix(".bed").open("wb") as bed:
        bed.write(b"\x6c\x1b\x01")
        for start in range(0, len(panel.dosage_MN), 4096):
            bed.write(packing.pack(panel.dosage_MN[start : start + 4096]).tobytes())
    prefix.with_suffix(".bim").write_text("".join(
        f"{c}\t{name}\t0\t{p}\t{alt}\t{ref}\n" for c, p, name, ref, alt in panel.variants()))
    prefix.with_suffix(".fam").write_text("".join(f"0\t{line}\t0\t0\t0\t-9\n" for line in panel.lines))


def write_vcf(panel: Panel, prefix: Path) -> None:
    """PREFIX.vcf.gz by bgzip, GT only."""
    text_of = np.frombuffer(b"\t./.\t0/0\t0/1\t1/1", np.uint8).reshape(4, 4)
    variants = panel.variants()
    with prefix.with_suffix(".vcf.gz").open("wb") as out:
        bgzip = subprocess.Popen(["bgzip", "-l", "6", "-@", "2", "-c"], stdin=subprocess.PIPE, stdout=out)
        assert bgzip.stdin is not None
        head = ["##fileformat=VCFv4.2", '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">',
                *(f"##contig=<ID={c}>" for c in range(1, CHROMOSOMES + 1)),
                "\t".join(["#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO", "FORMAT", *panel.lines])]
        bgzip.stdin.write(("\n".join(head) + "\n").encode())
        for start in range(0, len(panel.dosage_MN), 1024):
            for calls_N in text_of[panel.dosage_MN[start : start + 1024] + 1].reshape(-1, 4 * len(panel.lines)):
                c, p, name, ref, alt = next(variants)
                fixed = f"{c}\t{p}\t{name}\t{ref}\t{alt}\t.\tPASS\t.\tGT"
                bgzip.stdin.write(fixed.encode() + calls_N.tobytes() + b"\n")
        bgzip.stdin.close()
        if bgzip.wait():
            raise SystemExit("bgzip failed")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prefix", type=Path)
    parser.add_argument("lines", type=int)
    parser.add_argument("markers", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--vcf", action="store_true")
    parser.add_argument("--bed", action="store_true")
    options = parser.parse_args(arguments)
    panel = simulate(options.lines, options.markers, options.seed)
    if options.vcf:
        write_vcf(panel, options.prefix)
    if options.bed:
        write_bed(panel, options.prefix)


if __name__ == "__main__":
    main()
