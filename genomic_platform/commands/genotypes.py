"""Genotypes from the shell, without a programme: files into a packed table, and what is computed from one."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from contextlib import nullcontext
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, ParamSpec

import polars as pl
from cyclopts import App, Parameter, validators

from genomic_platform.commands.console import Flag, Names, app, err, out
from genomic_platform.errors import ProgramError, StoreError, counted

if TYPE_CHECKING:
    import numpy as np

    from genomic_platform.genotypes.table import GenotypeTable

genotypes = App(name="genotypes", help="Genotype files and packed tables, without a programme.", sort_key=5)
app.command(genotypes)

Table = Annotated[Path, Parameter(help="Folder of a packed table, as `ingest` writes it; it goes before --lines.")]
Region = Annotated[str | None, Parameter(help="Only these variants: chr1, chr1:1,000-2,000, several joined by ';'.")]
Lines = Annotated[list[str] | None, Parameter(consume_multiple=True, negative="", help="Only these lines: names, or a "
                                              "file with one name a line.")]
Output = Annotated[Path | None, Parameter(name="--out", help="File to write, .tsv, .csv or .parquet; without it the "
                                          "table is printed.")]
Share = Annotated[float, Parameter(validator=validators.Number(gte=0, lte=1))]
Window = Annotated[int, Parameter(validator=validators.Number(gte=2))]
Positive = Annotated[int, Parameter(validator=validators.Number(gte=1))]
P = ParamSpec("P")
Kind = Literal["vanraden1", "vanraden2", "yang", "dominance", "gaussian"]


def _in_words(command: Callable[P, None]) -> Callable[P, None]:
    """A value that cannot be computed with is the reader's to mend, not a fault; SIGTERM cleans up as an error does."""
    @wraps(command)
    def run(*given: P.args, **options: P.kwargs) -> None:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        try:
            command(*given, **options)
        except (ValueError, OverflowError) as error:
            raise ProgramError(str(error)) from error
    return run


@genotypes.command
@_in_words
def ingest(*files: Path, out_: Annotated[Path, Parameter(name="--out")],
           multiallelic: Literal["drop", "split"] = "drop", quiet: Flag = False) -> None:
    """Read genotype files into one packed table with statistics; several batches are merged.

    Parameters
    ----------
    files
        VCF, BCF, PLINK .bed or .pgen (companions beside them), HapMap, VCF Zarr, tables of dosages.
    out_
        Folder of the table; it must not exist yet.
    multiallelic
        Leave variants with several ALT alleles out, or make one variant of each.
    quiet
        No progress.
    """
    from genomic_platform.genotypes.ingest import BATCH_REPORT_FILE
    from genomic_platform.genotypes.ingest import ingest as read_into
    from genomic_platform.genotypes.readers.part import ReadOptions
    from genomic_platform.results.display import notices

    with err.status("") if sys.stderr.isatty() and not quiet else nullcontext() as status:
        table, accepted = read_into(
            files, out_, ReadOptions(multiallelic),
            progress=None if status is None else lambda file, n: status.update(f"{file}: {n:,} variants"))
    notices(err, accepted)
    out.print(f"{out_}: {_size(table)}")
    if (out_ / BATCH_REPORT_FILE).exists():
        out.print(f"what became of each batch: genomic-platform genotypes report {out_}")


@genotypes.command
@_in_words
def report(table: Table, *, out_: Output = None) -> None:
    """What became of each batch of a merged table: counts, variants changed or left out, repeated lines compared."""
    from genomic_platform.genotypes.ingest import BATCH_REPORT_FILE

    if not (table / BATCH_REPORT_FILE).exists():
        raise ProgramError(f"{table}: no batches were merged into it; expected some; repair: ingest all files at once")
    found = pl.read_parquet(table / BATCH_REPORT_FILE)
    _show(found if out_ else found.filter((pl.col("kind") != "batch") | (pl.col("value") != 0)), out_)


@genotypes.command
@_in_words
def info(table: Table, *, region: Region = None, lines: Lines = None, out_: Output = None) -> None:
    """Say what a table holds: lines, variants and chromosomes, call rate, frequency, heterozygosity."""
    held = _opened(table, region, lines)
    if out_ is None:
        out.print(f"{table}: {_size(held)}, markers {held.marker_digest[:12]}")
    _show(held.variants.group_by("chromosome", maintain_order=True).agg(
        variants=pl.len(), first=pl.col("position").min(), last=pl.col("position").max(),
        call_rate=pl.col("call_rate").mean(), alt_frequency=pl.col("alt_frequency").mean(),
        heterozygosity=pl.col("heterozygosity").mean()), out_)


@genotypes.command
@_in_words
def freq(table: Table, *, region: Region = None, lines: Lines = None, out_: Output = None) -> None:
    """Counts, frequency, call rate, heterozygosity and Hardy–Weinberg test of every variant."""
    _show(_opened(table, region, lines).variants, out_)


@genotypes.command
@_in_words
def qc(table: Table, *, region: Region = None, lines: Lines = None, out_: Output = None, page: Path | None = None,
       kept: Path | None = None,
       min_variant_call_rate: Share = 0.5, min_line_call_rate: Share = 0.5, min_allele_frequency: Share = 0.0,
       min_hwe_p: Share = 0.0, max_variant_heterozygosity: Share = 1.0, max_line_heterozygosity: Share = 1.0) -> None:
    """Quality of every variant and line, what would be removed and why.

    Parameters
    ----------
    page
        Also write one self-contained HTML page with plots.
    kept
        Also write a packed table of the lines and variants that were kept, into this new folder.
    """
    from genomic_platform.genotypes.quality.qc import apply_qc, genotype_qc
    from genomic_platform.genotypes.quality.qc_summary import qc_summary

    if page:
        _require_folder(page)
    held = _opened(table, region, lines)
    thresholds: dict[str, Any] = {
        "min_variant_call_rate": min_variant_call_rate, "min_line_call_rate": min_line_call_rate,
        "min_allele_frequency": min_allele_frequency, "min_hwe_p": min_hwe_p,
        "max_variant_heterozygosity": max_variant_heterozygosity, "max_line_heterozygosity": max_line_heterozygosity}
    found = genotype_qc(held, **thresholds)
    if page:
        from genomic_platform.results.qc_page import qc_page

        page.write_text(qc_page(table.name, held, found, thresholds=thresholds), encoding="utf-8")
    if kept:
        _save_table(apply_qc(held, found), kept)
    said = err if out_ is None else out
    for name, value in qc_summary(held, found).items():
        if value not in (None, {}):
            said.print(f"{_WORDS.get(name, name.replace('_', ' '))}: {_worded(value)}")
    _show(found, out_)


@genotypes.command
@_in_words
def grm(table: Table, *, out_: Annotated[Path, Parameter(name="--out")], method: Kind = "vanraden1",
        region: Region = None, lines: Lines = None,
        engine: Literal["auto", "float32", "int8"] = "auto") -> None:
    """Relationship matrix of the lines into a file.

    Parameters
    ----------
    out_
        .npy (float32, with the lines beside it as .id), .parquet, .csv or .tsv.
    method
        VanRaden 2008 methods 1 and 2, Yang et al. 2010, dominance (Vitezica et al. 2013), Gaussian kernel.
    engine
        How products are computed: float32, int8, or `auto`: int8 where its error stays below 3e-5 and it is faster.
    """
    from genomic_platform.genotypes.kinship.relationship import relationship

    _require_folder(out_)
    if out_.suffix not in (".npy", *_SUFFIXES):
        raise ProgramError(f"{out_.name}: expected a name that ends in .npy, .parquet, .csv or .tsv")
    held = _opened(table, region, lines)
    matrix_NN = relationship(held, method, engine=engine).matrix_NN
    if out_.suffix == ".npy":
        _save_matrix(matrix_NN, held.lines, out_)
    else:
        _write(pl.DataFrame({"line_id": held.lines}).hstack(pl.DataFrame(matrix_NN, schema=list(held.lines))), out_)
    out.print(f"{out_}: {method} relationship of {counted(held.n_lines, 'line')}, "
              f"{counted(held.n_variants, 'variant')}, mean diagonal {float(matrix_NN.diagonal().mean()):.4f}")


@genotypes.command
@_in_words
def pca(table: Table, *, components: Positive = 10, method: Literal["auto", "exact", "randomised"] = "auto",
        region: Region = None, lines: Lines = None, out_: Output = None) -> None:
    """Principal components of the lines.

    Parameters
    ----------
    method
        Exact from the relationship matrix (VanRaden 1), the same randomised from a few passes over the calls, or
        `auto`: exact up to 2,000 lines.
    """
    from genomic_platform.genotypes.kinship.relationship import vanraden
    from genomic_platform.genotypes.population.structure import principal_components, streaming_components

    held = _opened(table, region, lines)
    if method == "exact" or (method == "auto" and held.n_lines <= _EXACT_LINES):
        found = principal_components(vanraden(held).matrix_NN, held.lines, components)
    else:
        found = streaming_components(held, components, scaling="vanraden1")
    ordered = pl.DataFrame({"line_id": held.lines}).join(found, on="line_id", how="left", maintain_order="left")
    _show(ordered, out_)


@genotypes.command
@_in_words
def prune(table: Table, *, out_: Output = None, window_variants: Window = 50, window_bp: Positive | None = None,
          step: Positive = 5, max_r2: Share = 0.2, region: Region = None, lines: Lines = None) -> None:
    """Variants of which no two neighbours are in strong linkage disequilibrium.

    Parameters
    ----------
    out_
        .tsv, .csv or .parquet for the list of kept variants; any other name: a folder with the packed table of them.
    window_variants
        Variants of a window, unless --window-bp gives its base pairs.
    max_r2
        Largest squared correlation of two kept variants of a window.
    """
    from genomic_platform.genotypes.population.ld import prune as kept_variants
    from genomic_platform.genotypes.table import VARIANT_COLUMNS

    held = _opened(table, region, lines)
    kept_M = kept_variants(held, max_r2=max_r2, window_bp=window_bp) if window_bp else kept_variants(
        held, window_variants, min(step, window_variants), max_r2)
    err.print(f"{int(kept_M.sum()):,} of {counted(held.n_variants, 'variant')} kept")
    if out_ is not None and out_.suffix not in _SUFFIXES:
        _save_table(held.select(kept_M), out_)
    else:
        _show(held.variants.filter(pl.Series(kept_M)).select(VARIANT_COLUMNS), out_)


@genotypes.command
@_in_words
def export(table: Table, *, to: Literal["bed", "vcf", "vcz"], out_: Annotated[Path, Parameter(name="--out")],
           region: Region = None, lines: Lines = None) -> None:
    """Write a table as PLINK .bed (with .bim and .fam), VCF (.vcf, .vcf.gz) or VCF Zarr (needs the extra `genotypes`).

    Parameters
    ----------
    out_
        File to write, .vcf or .vcf.gz, or the folder of a VCF Zarr; of PLINK's three files the name without an ending.
    """
    from genomic_platform.genotypes.export import to_bed, to_vcf, to_vcz

    there = out_.with_name(f"{out_.name.removesuffix('.bed')}.bed") if to == "bed" else out_
    if there.exists():
        raise ProgramError(f"{there} exists; expected a new name, so that nothing is lost; repair: name another, or "
                           "remove it")
    held = _opened(table, region, lines)
    {"bed": to_bed, "vcf": to_vcf, "vcz": to_vcz}[to](held, out_)
    out.print(f"{there}: {_size(held)}")


_EXACT_LINES = 2_000
_WORDS = {"hwe_below_1e_6": "variants out of Hardy–Weinberg proportions (p below 1e-6)",
          "hwe_inbred_below_1e_6": "the same given the panel's inbreeding",
          "duplicate_variants": "variants that repeat an earlier one", "identical_line_groups":
          "groups of identical lines", "lines_in_groups": "lines in such groups", "lines_noted": "lines that stand out"}
_SUFFIXES = (".tsv", ".csv", ".parquet")


def _opened(folder: Path, region: str | None, lines: Names) -> GenotypeTable:
    """The table, or the part of it that was asked for."""
    from genomic_platform.genotypes.table import GenotypeTable
    from genomic_platform.genotypes.table_file import TABLE_FILE

    if not (folder / TABLE_FILE).is_file():
        raise ProgramError(f"{folder} is no packed table; expected a folder with {TABLE_FILE}; repair: "
                           f"genomic-platform genotypes ingest FILE… --out {folder}")
    try:
        table = GenotypeTable.open(folder)
    except (StoreError, OSError, ValueError, pl.exceptions.PolarsError) as error:
        raise ProgramError(f"{folder}: its files are damaged, or of another version ({error}); repair: ingest the "
                           "genotypes again") from error
    if lines is not None and len(lines) == 1 and Path(lines[0]).is_file():
        text = Path(lines[0]).read_text(encoding="utf-8-sig", errors="replace")
        lines = [name for line in text.split("\n") if (name := line.strip())]
    if lines is not None and (not lines or len(set(lines)) < len(lines)):
        raise ProgramError(f"--lines: expected at least one line, and none twice; found {len(lines)} names, "
                           f"{len(set(lines))} different")
    if unknown := sorted(set(lines or ()) - set(table.lines)):
        raise ProgramError(f"--lines: {', '.join(unknown[:5])} {'is' if len(unknown) == 1 else 'are'} not in {folder}; "
                           f"expected some of its {table.n_lines:,} lines, such as {', '.join(table.lines[:3])}")
    part = table if region is None and lines is None else table.select(region, lines)
    if part.n_variants == 0:
        raise ProgramError(f"--region: {region!r} holds no variant of {folder}; expected one that does "
                           "(`genotypes info` shows the chromosomes)")
    return part


def _size(table: GenotypeTable) -> str:
    return f"{counted(table.n_lines, 'line')} × {counted(table.n_variants, 'variant')}"


def _show(table: pl.DataFrame, path: Path | None) -> None:
    """Print a table, tab-separated, or write it to the file a person named."""
    if path is None:
        sys.stdout.write(table.with_columns(pl.selectors.float().round_sig_figs(6)).write_csv(separator="\t"))
        return
    _write(table, path)
    out.print(f"{path}: {counted(table.height, 'row')}, {counted(table.width, 'column')}")


def _require_folder(path: Path) -> None:
    if not path.parent.is_dir():
        raise ProgramError(f"{path.parent} is not a folder; expected one that exists; repair: make it first")


def _worded(value: object) -> str:
    """A count, a share or reasons with their counts as a person writes them."""
    if isinstance(value, dict):
        return ", ".join(f"{count:,} {reason}" for reason, count in value.items())
    return f"{value:.4f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def _write(table: pl.DataFrame, path: Path) -> None:
    from genomic_platform.results.answers import write_table

    write_table(table, path)


def _save_table(table: GenotypeTable, path: Path) -> None:
    from genomic_platform.genotypes.ingest import new_folder

    with new_folder(path) as folder:
        table.save(folder)


def _save_matrix(matrix_NN: np.ndarray, lines: tuple[str, ...], path: Path) -> None:
    """Write a .npy of float32 and the names of its rows beside it, as .id."""
    import numpy as np

    temporary = path.with_name(f".{path.stem}.{os.getpid()}.npy")
    try:
        with open(temporary, "wb") as file:  # rows in parts: a float32 copy of the whole would double the memory
            header = {"descr": "<f4", "fortran_order": False, "shape": matrix_NN.shape}
            np.lib.format.write_array_header_1_0(file, header)
            for start in range(0, len(matrix_NN), 512):
                matrix_NN[start : start + 512].astype("<f4").tofile(file)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    path.with_suffix(".id").write_text("\n".join(lines) + "\n", encoding="utf-8")
