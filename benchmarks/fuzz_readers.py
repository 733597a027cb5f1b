"""Damaged genotype files by the thousand: each must be read or refused in words, in memory and onto disk alike.

    python benchmarks/fuzz_readers.py [FORMAT …] [--cases 2000] [--seconds S] [--seed 1] [--keep DIR]

Small valid files of every format are cut, spliced, flipped bit by bit and edited field by field. A case passes when
`inspect_genotypes` and `ingest` both refuse it, in the same words, or both read the same table, and nothing is left
behind. Cases run in a child process, so that a crash, a hang or a waste of memory in a C library is a failed case and
not the end. A failed case is kept, with what went wrong; `--seed` gives the same cases again.
`NUMBA_BOUNDSCHECK=1` in the environment makes the compiled kernels check every index.
"""

from __future__ import annotations

import argparse
import gzip
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

from genomic_platform.errors import InputError
from genomic_platform.genotypes.bgzf import bgzf_members
from genomic_platform.genotypes.export import to_bed, to_vcf, to_vcz
from genomic_platform.genotypes.ingest import ingest
from genomic_platform.genotypes.read import inspect_genotypes
from genomic_platform.genotypes.table import GenotypeTable

HANG_S, MEMORY = 30, 8 << 30
#: What edits of a field put in: signs that mean something to one format or another.
WORDS = [b"", b".", b"0", b"1", b"2", b"-1", b"3", b"-9", b"NA", b"0/1", b"./.", b"0|1", b"1/1/1", b"0/2", b"1e400",
         b"nan", b"99999999999999999999", b"\xff\xfe", b"\x00", b"\r", b"\"", b",", b"A,C", b"A/C/G", b"N",
         "Grün".encode(), b"GT:DP", b"#", b" ", b"x" * 300, b"\t", b"\n"]


def panel(n_lines: int = 6, n_markers: int = 24) -> GenotypeTable:
    """A table with every kind of call, on three chromosomes."""
    dosage_MN = np.random.default_rng(5).integers(-1, 3, (n_markers, n_lines))
    place = np.arange(n_markers)
    variants = pl.DataFrame({"variant_id": [f"m{i}" for i in place], "chromosome": [f"{1 + i % 3}" for i in place],
                             "position": 10 * place, "ref": "A", "alt": "C"})
    return GenotypeTable.from_dosages(variants, [f"L{i}" for i in range(n_lines)], dosage_MN)


def make_vcf(folder: Path) -> Path:
    return to_vcf(panel(), folder / "x.vcf")


def make_rich_vcf(folder: Path) -> Path:
    """Several alleles, phase, further keys, haploid and half-calls, Windows line ends here and there."""
    path = make_vcf(folder)
    text = path.read_bytes().replace(b"#CHROM", b'##FORMAT=<ID=DP,Number=1,Type=Integer,Description="d">\n#CHROM')
    text = text.replace(b"\tGT\t0/1", b"\tGT:DP\t0|1:7").replace(b"1/1\n", b"1\r\n")
    path.write_bytes(text.replace(b"\tC\t", b"\tC,G\t", 4).replace(b"0/1", b"./1", 3).replace(b"0/1", b"0/2", 2))
    return path


def make_gzip(folder: Path) -> Path:
    path = folder / "x.vcf.gz"
    path.write_bytes(gzip.compress(make_vcf(folder).read_bytes(), mtime=0))
    (folder / "x.vcf").unlink()
    return path


def make_bgzip(folder: Path) -> Path:
    text = make_vcf(folder).read_bytes()
    (folder / "x.vcf").unlink()
    (folder / "x.vcf.gz").write_bytes(b"".join(bgzf_members(text[i : i + 300] for i in range(0, len(text), 300))))
    return folder / "x.vcf.gz"


def make_bcf(folder: Path) -> Path:
    from cyvcf2 import VCF, Writer

    source = VCF(str(make_rich_vcf(folder)))
    target = Writer(str(folder / "x.bcf"), source, mode="wb")
    for record in source:
        target.write_record(record)
    target.close()
    (folder / "x.vcf").unlink()
    return folder / "x.bcf"


def make_bed(folder: Path) -> Path:
    return to_bed(panel(), folder / "x")[0]


def make_pgen(folder: Path) -> Path:
    from pgenlib import PgenWriter

    table, path = panel(), folder / "x.pgen"
    with PgenWriter(str(path).encode(), table.n_lines, variant_ct=table.n_variants, nonref_flags=False) as out:
        for dosage_N in table.dosages().T.copy():
            out.append_biallelic(np.where(dosage_N < 0, -9, dosage_N).astype(np.int8))
    rows = table.variants.select("chromosome", "position", "variant_id", "ref", "alt").rows()
    (folder / "x.pvar").write_text("#CHROM\tPOS\tID\tREF\tALT\n" + "".join("\t".join(map(str, r)) + "\n" for r in rows))
    (folder / "x.psam").write_text("#IID\tSEX\n" + "".join(f"{line}\tNA\n" for line in table.lines))
    return path


def make_hapmap(folder: Path) -> Path:
    table = panel()
    head = "rs#\talleles\tchrom\tpos\tstrand\tassembly#\tcenter\tprotLSID\tassayLSID\tpanel\tQCcode"
    rows = ["\t".join([head, *table.lines])]
    for variant, dosages in zip(table.variants.iter_rows(named=True), table.dosages().T, strict=True):
        calls = [{-1: "N", 0: "A", 1: "M", 2: "C"}[int(d)] for d in dosages]
        place = [variant["variant_id"], "A/C", variant["chromosome"], str(variant["position"])]
        rows.append("\t".join([*place, *["NA"] * 7, *calls]))
    (folder / "x.hmp.txt").write_text("\n".join(rows) + "\n")
    return folder / "x.hmp.txt"


def _dosage_frame(rows_are: str) -> pl.DataFrame:
    table = panel()
    if rows_are == "lines":
        calls = pl.DataFrame(table.dosages(), schema=table.variants["variant_id"].to_list(), orient="row")
        return pl.DataFrame({"line_id": table.lines}).hstack(calls)
    calls = pl.DataFrame(table.dosages().T, schema=list(table.lines), orient="row")
    return table.variants.select("variant_id", "chromosome", "position", "ref", "alt").hstack(calls)


def make_lines_csv(folder: Path) -> Path:
    _dosage_frame("lines").write_csv(folder / "x.csv")
    return folder / "x.csv"


def make_markers_tsv(folder: Path) -> Path:
    _dosage_frame("markers").write_csv(folder / "x.tsv", separator="\t")
    return folder / "x.tsv"


def make_lines_parquet(folder: Path) -> Path:
    _dosage_frame("lines").write_parquet(folder / "x.parquet")
    return folder / "x.parquet"


def make_markers_parquet(folder: Path) -> Path:
    _dosage_frame("markers").write_parquet(folder / "x.parquet")
    return folder / "x.parquet"


def make_vcz(folder: Path) -> Path:
    return to_vcz(panel(), folder / "x.vcz")


FORMATS: dict[str, Callable[[Path], Path]] = {
    "vcf": make_vcf, "rich_vcf": make_rich_vcf, "gzip": make_gzip, "bgzip": make_bgzip, "bcf": make_bcf,
    "bed": make_bed, "pgen": make_pgen, "hapmap": make_hapmap, "lines_csv": make_lines_csv,
    "markers_tsv": make_markers_tsv, "lines_parquet": make_lines_parquet, "markers_parquet": make_markers_parquet,
    "vcz": make_vcz}


def flip_bits(data: bytes, rng: np.random.Generator) -> bytes:
    changed = bytearray(data)
    for at in rng.integers(len(data), size=rng.integers(1, 5)):
        changed[at] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def set_bytes(data: bytes, rng: np.random.Generator) -> bytes:
    """A run of bytes becomes anything, or the largest or smallest number."""
    at, n = int(rng.integers(len(data))), int(rng.integers(1, 9))
    run = (rng.bytes(n), b"\xff" * n, b"\x00" * n)[rng.integers(3)]
    return (data[:at] + run + data[at + n :])[: len(data)]


def cut(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: rng.integers(len(data))]


def splice(data: bytes, rng: np.random.Generator) -> bytes:
    """A piece is taken out, doubled, or put elsewhere."""
    a, b, c = sorted(rng.integers(0, len(data) + 1, 3))
    return (data[:a] + data[b:], data[:b] + data[a:], data[:a] + data[b:c] + data[a:b] + data[c:])[rng.integers(3)]


def edit_line(data: bytes, rng: np.random.Generator) -> bytes:
    """A line is doubled, dropped or exchanged with another."""
    lines = data.split(b"\n")
    one, other = rng.integers(len(lines), size=2)
    match rng.integers(3):
        case 0:
            lines.insert(int(other), lines[one])
        case 1:
            del lines[one]
        case _:
            lines[one], lines[other] = lines[other], lines[one]
    return b"\n".join(lines)


def edit_field(data: bytes, rng: np.random.Generator) -> bytes:
    """A field of a line says something else, is dropped or is doubled."""
    lines = data.split(b"\n")
    row = int(rng.integers(len(lines)))
    separator = b"\t" if b"\t" in lines[row] else b","
    fields = lines[row].split(separator)
    at = int(rng.integers(len(fields)))
    match rng.integers(6):
        case 0:
            del fields[at]
        case 1:
            fields.insert(at, fields[at])
        case _:
            fields[at] = WORDS[rng.integers(len(WORDS))]
    lines[row] = separator.join(fields)
    return b"\n".join(lines)


BINARY = [flip_bits, set_bytes, cut, splice]
TEXT = [*BINARY, edit_line, edit_field, edit_field, edit_field]


def mutate(data: bytes, rng: np.random.Generator) -> bytes:
    """One change or two; what is compressed is changed outside or, more often, inside."""
    if data[:2] == b"\x1f\x8b" and rng.random() < 0.7:
        inside = mutate(gzip.decompress(data), rng)
        return b"".join(bgzf_members([inside])) if data[12:14] == b"BC" else gzip.compress(inside, mtime=0)
    changes = BINARY if b"\x00" in data else TEXT
    for _ in range(1 + (rng.random() < 0.2)):
        if data:
            data = changes[rng.integers(len(changes))](data, rng)
    return data


def damage(source: Path, rng: np.random.Generator) -> None:
    """Change one file of a source in place: the file, a companion beside it, or one inside its folder."""
    files = sorted(p for p in source.parent.rglob("*") if p.is_file())
    victim = files[rng.integers(len(files))]
    if len(files) > 1 and rng.random() < 0.03:
        victim.unlink()
    else:
        victim.write_bytes(mutate(victim.read_bytes(), rng))


def outcome(source: Path, beside: Path) -> str:
    """`read` or `refused`. Raises AssertionError when memory and disk differ, and whatever a reader raises."""
    seen = inspect_genotypes([source])
    before = sorted(beside.iterdir())
    try:
        table, notices = ingest([source], beside / "table")
    except InputError as error:
        assert sorted(beside.iterdir()) == before, "ingest left something behind"
        found: object = [str(problem) for problem in error.problems]
    else:
        shutil.rmtree(beside / "table")
        found = notices, table.lines, table.variants.rows(), table.packed_MB.tolist()
    if source.suffix == ".vcz":  # what Blosc inflates of a damaged chunk is whatever was in memory
        return "refused" if isinstance(found, list) else "read"
    if seen.problems:
        assert [str(problem) for problem in seen.problems] == found, found
        return "refused"
    (table,) = seen.batches.values()
    assert found == (seen.notices, table.lines, table.variants.rows(), table.packed_MB.tolist())
    return "read"


def run_cases(name: str, start: int, stop: int, seed: int, folder: Path, keep: Path, until: float) -> None:
    """The child: cases `start` to `stop`, a line of `outcomes` for each."""
    warnings.simplefilter("error")
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    whole = folder / "whole"
    (main,) = (p.name for p in whole.iterdir() if p.suffix not in (".bim", ".fam", ".pvar", ".psam"))
    with open(folder / "outcomes", "w") as said:
        for k in range(start, stop):
            if time.time() > until:
                return
            case, beside = folder / "case", folder / "beside"
            for place in (case, beside):
                shutil.rmtree(place, ignore_errors=True)
            shutil.copytree(whole, case)
            beside.mkdir()
            damage(case / main, np.random.default_rng([seed, sorted(FORMATS).index(name), k]))
            signal.alarm(HANG_S)  # ends this process
            try:
                found = outcome(case / main, beside)
            except Exception as error:
                found = f"failed: {type(error).__name__}"
                kept = shutil.copytree(case, keep / f"{name}-{seed}-{k}", dirs_exist_ok=True)
                (kept / "traceback.txt").write_text(traceback.format_exc())
            signal.alarm(0)
            said.write(f"{k} {found}\n")
            said.flush()


def fuzz(name: str, cases: int, seconds: float, seed: int, keep: Path) -> Counter[str]:
    """Outcomes of one format, a child process after another where one dies."""
    counts: Counter[str] = Counter()
    until = time.time() + seconds
    with tempfile.TemporaryDirectory(prefix="fuzz-") as temporary:
        folder, start = Path(temporary), 0
        (folder / "whole").mkdir()
        FORMATS[name](folder / "whole")
        while start < cases and time.time() < until:
            task = map(str, (start, cases, seed, temporary, keep, until))
            ended = subprocess.run([sys.executable, __file__, name, "--child", *task], capture_output=True)
            lines = (folder / "outcomes").read_text().splitlines()
            start += len(lines)
            counts.update(line.split(" ", 1)[1] for line in lines)
            if ended.returncode == 0:
                break
            code = ended.returncode
            counts[f"failed: ended by {signal.Signals(-code).name}" if code < 0 else f"failed: exit {code}"] += 1
            kept = shutil.copytree(folder / "case", keep / f"{name}-{seed}-{start}", dirs_exist_ok=True)
            (kept / "traceback.txt").write_bytes(ended.stderr)
            start += 1
    return counts


def main() -> None:
    if "--child" in sys.argv:
        name, _, start, stop, seed, folder, keep, until = sys.argv[1:]
        run_cases(name, int(start), int(stop), int(seed), Path(folder), Path(keep), float(until))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("formats", nargs="*", default=list(FORMATS), metavar="FORMAT", help=", ".join(FORMATS))
    parser.add_argument("--cases", type=int, default=2000, help="of each format")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="at most, for each format")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, default=Path("fuzz-failures"), help="folder for failed cases")
    asked = parser.parse_args()
    failed = 0
    for name in asked.formats:
        counts = fuzz(name, asked.cases, asked.seconds, asked.seed, asked.keep.absolute())
        failed += sum(n for what, n in counts.items() if what.startswith("failed"))
        said = ", ".join(f"{n} {what}" for what, n in sorted(counts.items(), reverse=True))
        print(f"{name:16}{counts.total():7} cases: {said}", flush=True)
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
