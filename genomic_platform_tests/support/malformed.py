"""Genotype files that cannot be read, made as they are asked for, and words of the problem each one is.

A maker writes a file (or files) into a folder and gives the path that is then read; every name begins with x.
"""

from __future__ import annotations

import gzip
import io
import os
import re
import shutil
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import zarr

from genomic_platform.genotypes.bgzf import bgzf_members
from genomic_platform.genotypes.export import to_bed, to_vcz
from genomic_platform_tests.support.panels import made_panel

REFERENCE = Path(__file__).parents[1] / "reference" / "genotypes"
HEAD = "##fileformat=VCFv4.2\n##contig=<ID=1>\n"
COLUMNS = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT"
Maker = Callable[[Path], Path]


def record(calls: str = "0/0 0/1 1/1", position: object = 5, name: str = "m1", chromosome: str = "1") -> str:
    return "\t".join([chromosome, str(position), name, "A", "G", ".", ".", ".", "GT", *calls.split()]) + "\n"


def vcf_text(*records: str, samples: str = "a b c") -> str:
    return HEAD + "\t".join([COLUMNS, *samples.split()]) + "\n" + "".join(records)


GOOD = vcf_text(record(), record("1/1 ./. 0/0", 9, "m2"))
HAPMAP = ("rs#\talleles\tchrom\tpos\tstrand\tassembly#\tcenter\tprotLSID\tassayLSID\tpanel\tQCcode\ta\tb\tc\n"
          "m1\tA/G\t1\t5\t+\tNA\tNA\tNA\tNA\tNA\tNA\tA\tR\tG\nm2\tC/T\t1\t9\t+\tNA\tNA\tNA\tNA\tNA\tNA\tC\tN\tT\n")
LINES = "line_id,m1,m2,m3\na,0,1,2\nb,2,NA,0\nc,1,1,0\n"
MARKERS = "variant_id,chromosome,position,ref,alt,a,b,c\nm1,1,5,A,G,0,1,2\nm2,1,9,C,T,2,NA,0\n"


def file(content: str | bytes, name: str = "x.vcf") -> Maker:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
        return folder / name

    return make


def bgzipped(share: float) -> Maker:
    """A bgzip VCF of many blocks, cut behind a share of its bytes."""
    text = vcf_text(*(record(position=i + 1, name=f"m{i}") for i in range(400))).encode()
    whole = b"".join(bgzf_members(text[at : at + 900] for at in range(0, len(text), 900)))
    return file(whole[: int(share * len(whole))], "x.vcf.gz")


def plink(change: Callable[[Path], object]) -> Maker:
    """A .bed of 6 lines × 8 variants (3 + 8 × 2 bytes), changed by its path."""
    def make(folder: Path) -> Path:
        bed = to_bed(made_panel(6, 8), folder / "x")[0]
        change(bed)
        return bed

    return make


def plink2(change: Callable[[Path], object]) -> Maker:
    def make(folder: Path) -> Path:
        for suffix in (".pgen", ".pvar", ".psam"):
            shutil.copy(REFERENCE / f"odd_calls{suffix}", folder / f"x{suffix}")
        change(folder / "x.pgen")
        return folder / "x.pgen"

    return make


def edited(suffix: str, change: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    """Change of the companion with that suffix."""
    return lambda main: main.with_suffix(suffix).write_bytes(change(main.with_suffix(suffix).read_bytes()))


def line_edited(suffix: str, number: int, old: str, new: str) -> Callable[[Path], object]:
    def change(text: bytes) -> bytes:
        lines = text.split(b"\n")
        assert re.search(old.encode(), lines[number - 1])
        lines[number - 1] = re.sub(old.encode(), new.encode(), lines[number - 1], count=1)
        return b"\n".join(lines)

    return edited(suffix, change)


def removed(suffix: str) -> Callable[[Path], object]:
    return lambda main: main.with_suffix(suffix).unlink()


def bcf(change: Callable[[bytes], bytes]) -> Maker:
    return lambda folder: file(change((REFERENCE / "odd_calls.bcf").read_bytes()), "x.bcf")(folder)


def store(change: Callable[[Path], object]) -> Maker:
    def make(folder: Path) -> Path:
        path = to_vcz(made_panel(6, 8), folder / "x.vcz")
        change(path)
        return path

    return make


def array(name: str, values: np.ndarray) -> Callable[[Path], object]:
    """Another array in place of one of the store's."""
    def change(path: Path) -> None:
        shutil.rmtree(path / name)
        (path / ".zmetadata").unlink()
        group = zarr.open_group(str(path), mode="a", zarr_format=2)
        group.create_array(name, shape=values.shape, dtype=values.dtype)[...] = values

    return change


def cut_file(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


def without(*names: str) -> Callable[[Path], object]:
    def change(path: Path) -> None:
        (path / ".zmetadata").unlink()
        for name in names:
            shutil.rmtree(path / name)

    return change


def archive(folder: Path, mode: str, name: str) -> Path:
    with tarfile.open(folder / name, mode) as target:  # pyright: ignore[reportCallIssue, reportArgumentType]
        held = tarfile.TarInfo("x.vcf")
        held.size = len(GOOD)
        target.addfile(held, io.BytesIO(GOOD.encode()))
    return folder / name


def zipped(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "x.zip", "w") as target:
        target.writestr("x.vcf", GOOD)
    return folder / "x.zip"


def folder_of_files(folder: Path) -> Path:
    (folder / "x").mkdir()
    file(GOOD)(folder / "x")
    return folder / "x"


def looping_link(folder: Path) -> Path:
    (folder / "x.vcf").symlink_to(folder / "y.vcf")
    (folder / "y.vcf").symlink_to(folder / "x.vcf")
    return folder / "x.vcf"


def pipe(folder: Path) -> Path:
    os.mkfifo(folder / "x.vcf")
    return folder / "x.vcf"


CUT = "expected a complete gzip or bgzip file"
REFUSED: dict[str, tuple[Maker, str]] = {
    # compressed
    "bgzip cut in its first block": (bgzipped(0.01), CUT),
    "bgzip cut early": (bgzipped(0.2), CUT),
    "bgzip cut in the middle": (bgzipped(0.5), CUT),
    "bgzip cut late": (bgzipped(0.97), CUT),
    "bgzip cut in its end marker": (bgzipped(0.999), CUT),
    "gzip header alone": (file(gzip.compress(b"")[:10], "x.vcf.gz"), CUT),
    "gzip of nothing": (file(gzip.compress(b""), "x.vcf.gz"), "expected a VCF .* a PLINK"),
    "gzip of garbage": (file(gzip.compress(bytes(range(256)) * 40), "x.vcf.gz"), "a file that starts with"),
    "gzip with garbage behind it": (file(gzip.compress(GOOD.encode()) + b"garbage" * 9, "x.vcf.gz"), CUT),
    "gzip of gzip": (file(gzip.compress(gzip.compress(GOOD.encode())), "x.vcf.gz"), "compressed twice"),
    # no genotype file
    "empty file": (file(b""), "an empty file; .* copy or export the file again"),
    "garbage": (file(bytes(range(200, 256)) * 9), "a file that starts with"),
    "wrong magic": (file(GOOD.removeprefix("##fileformat=VCFv4.2\n")), "a file that starts with '##contig"),
    "UTF-16": (file(b"\xff\xfe" + GOOD.encode("utf-16-le")), "text in UTF-16; .*UTF-8"),
    "UTF-16, the other way": (file(b"\xfe\xff" + LINES.encode("utf-16-be"), "x.csv"), "text in UTF-16"),
    "a tar archive": (lambda folder: archive(folder, "w", "x.tar"), "a tar archive; .*unpack"),
    "a zipped tar archive": (lambda folder: archive(folder, "w:gz", "x.vcf.gz"), "a tar archive; .*unpack"),
    "a zip archive": (zipped, "a zip archive.*; .*unpack"),
    "bzip2": (file(b"BZh91AY&SY" + bytes(60), "x.vcf.bz2"), "bzip2.*; .*unpack"),
    "a folder of files": (folder_of_files, "no regular file"),
    "a symlink loop": (looping_link, "a link that leads nowhere"),
    "a pipe": (pipe, "no regular file"),
    "no file": (lambda folder: folder / "x.vcf", "no such file; .* check the name"),
    # VCF
    "VCF line alone": (file("##fileformat=VCFv4.2\n"), "a file without that header"),
    "VCF records without #CHROM": (file("##fileformat=VCFv4.2\n" + record()), "a file without that header"),
    "VCF header alone": (file(vcf_text()), "a VCF without a record"),
    "VCF without samples": (file(HEAD + COLUMNS.removesuffix("\tFORMAT") + "\n1\t5\tm1\tA\tG\t.\t.\t.\n"),
                            "line 3: #CHROM line is 8 columns without a sample"),
    "VCF line too short": (file(vcf_text(record(), record("0/1 0/1", 9))), "line 5: 11 columns; expected 12"),
    "VCF line too long": (file(vcf_text(record("0/1 0/1 0/1 0/1"))), "line 4: 13 columns; expected 12"),
    "VCF separated by spaces": (file(vcf_text(record().replace("\t", " "))), "line 4: 1 columns; expected 12"),
    "VCF of an old Mac": (file(GOOD.replace("\n", "\r")), "line ends of an old Mac"),
    "VCF sample name not UTF-8": (file(GOOD.encode().replace(b"\ta\t", b"\tGr\xfcn\t")), "line 3: .*not UTF-8"),
    "VCF sample name empty": (file(GOOD.replace("\ta\t", "\t\t")), "line 3: sample name is an empty name"),
    "VCF sample twice": (file(vcf_text(record(), samples="a b a")), "line 3: .* more than once: 'a'"),
    "VCF position negative": (file(vcf_text(record(position=-5))), "line 4: POS is '-5'; expected a whole number"),
    "VCF position huge": (file(vcf_text(record(position=10**15))), "line 4: POS is '1000000000000000'"),
    "VCF position text": (file(vcf_text(record(position="here"))), "line 4: POS is 'here'"),
    "VCF position empty": (file(vcf_text(record(position=""))), "line 4: POS is ''"),
    "VCF position fraction": (file(vcf_text(record(position="1e6"))), "line 4: POS is '1e6'"),
    "VCF call polyploid": (file(vcf_text(record("0/0 0/0/0/1 0/1"))), r"line 4: GT of b is '0/0/0/1'; .*polyploid"),
    "VCF call of no allele": (file(vcf_text(record("0/0 0/3 0/1"))), "line 4: GT of b is '0/3'"),
    "VCF call a NUL byte": (file(vcf_text(record("0/0 0/\0 0/1"))), r"line 4: GT of b is '0/\\x00'"),
    "VCF with a tail of NUL bytes": (file(GOOD + "\0" * 5000), "line 6: 1 columns; expected 12"),
    "VCF chromosome empty": (file(vcf_text(record(chromosome=""))), "line 4: CHROM is empty"),
    "VCF ALT empty": (file(vcf_text(record()).replace("\tG\t", "\t\t")), "line 4: ALT is empty"),
    "VCF without GT": (file(vcf_text(record().replace("GT", "DS"))), "no record with GT"),
    "VCF where nothing varies": (file(vcf_text(record("0/0 0/0 ./."))), "all of them monomorphic"),
    "VCF one line of 20 MB": (file("##fileformat=VCFv4.2" + "x" * 20_000_000), "a file without that header"),
    "VCF record of 20 MB": (file(vcf_text(record("0/1 " * 5_000_000))), "line 4: 5000009 columns; expected 12"),
    "VCF id of 20 MB": (file(vcf_text(record("0/0 0/0", name="x" * 20_000_000))), "line 4: 11 columns; expected 12"),
    # BCF
    "BCF cut": (bcf(lambda data: data[: len(data) // 2]), CUT),
    "BCF without its end marker": (bcf(lambda data: data[:-28]), CUT),
    "BCF header alone": (bcf(lambda data: b"".join(bgzf_members([gzip.decompress(data)[:200]]))), CUT),
    "BCF of version 1": (bcf(lambda data: b"BCF\4" + gzip.decompress(data)[4:]), "no BCF 2 header"),
    # PLINK 1
    "bed too short": (plink(edited(".bed", lambda data: data[:-1])), "18 bytes; expected 19 bytes for 6 lines × 8"),
    "bed too long": (plink(edited(".bed", lambda data: data + b"\0")), "20 bytes; expected 19 bytes"),
    "bed with wrong magic": (plink(edited(".bed", lambda data: b"BED" + data[3:])), "bytes 42 45 44"),
    "bed line after line": (plink(edited(".bed", lambda data: data[:2] + b"\0" + data[3:])), "individual-major"),
    "bed without bim": (plink(removed(".bim")), "x.bim: no such file or an empty one; expected a file beside x.bed"),
    "bim column missing": (plink(line_edited(".bim", 3, r"0\t", "")), r"x\.bim, line 3: 5 columns; expected 6"),
    "bim position text": (plink(line_edited(".bim", 2, r"0\t2\t", "0\there\t")), r"x\.bim, line 2: position is 'here'"),
    "bim position negative": (plink(line_edited(".bim", 2, r"0\t2\t", "0\t-2\t")), r"x\.bim, line 2: position is '-2'"),
    "bim shorter": (plink(edited(".bim", lambda text: text[: text.rindex(b"\n", 0, -1) + 1])), "expected 17 bytes"),
    "bim of an old Mac": (plink(edited(".bim", lambda text: text.replace(b"\n", b"\r"))), r"x\.bim, line 1: "),
    "fam line twice": (plink(line_edited(".fam", 2, "line001", "line000")), r"x\.fam: .*more than once: 'line000'"),
    "fam column missing": (plink(line_edited(".fam", 4, "\t-9", "")), r"x\.fam, line 4: 5 columns"),
    "fam name not UTF-8": (plink(edited(".fam", lambda text: text.replace(b"line000", b"Gr\xfcn"))),
                           r"x\.fam: .*not UTF-8"),
    "bed where nothing varies": (plink(edited(".bed", lambda data: data[:3] + b"\xff" * 16)), "monomorphic"),
    # PLINK 2
    "pgen without pvar": (plink2(removed(".pvar")), r"x\.pvar: no such file or an empty one"),
    "pgen without psam": (plink2(removed(".psam")), r"x\.psam: no such file or an empty one"),
    "pgen with another psam": (plink2(edited(".psam", lambda text: text[: text.rindex(b"\n", 0, -1) + 1])),
                               r"x\.pgen: 7 lines × .*; expected 6 lines"),
    "pgen with another pvar": (plink2(edited(".pvar", lambda text: text[: text.rindex(b"\n", 0, -1) + 1])),
                               r"x\.pgen: 7 lines × .* variants; expected 7 lines"),
    "pgen cut": (plink2(edited(".pgen", lambda data: data[: len(data) // 2])), r"x\.pgen: .*pgenlib cannot read"),
    "pgen with wrong magic": (plink2(edited(".pgen", lambda data: b"xx" + data[2:])), "bytes 78 78 "),
    "pvar without header": (plink2(edited(".pvar", lambda text: text.replace(b"#CHROM", b"CHROM"))), r"x\.pvar, line"),
    "pvar column twice": (plink2(edited(".pvar", lambda text: text.replace(b"#CHROM\tPOS", b"#CHROM\tPOS\tPOS"))),
                          "a header with POS more than once"),
    "psam without IID": (plink2(edited(".psam", lambda text: text.replace(b"IID", b"ID"))), r"x\.psam, line 1"),
    # HapMap
    "HapMap without lines": (file("rs#\talleles\tchrom\tpos\n", "x.hmp.txt"), "line 1: 4 columns"),
    "HapMap header alone": (file(HAPMAP.split("\n")[0] + "\n", "x.hmp.txt"), "expected at least one variant"),
    "HapMap row too short": (file(HAPMAP.replace("\tA\tR\tG", "\tA\tR"), "x.hmp.txt"), "line 2: 2 calls; expected 3"),
    "HapMap row too long": (file(HAPMAP.replace("\tA\tR\tG", "\tA\tR\tG\tG"), "x.hmp.txt"), "line 2: 4 calls"),
    "HapMap line twice": (file(HAPMAP.replace("\ta\tb", "\ta\ta"), "x.hmp.txt"), "line 1: .*more than once: 'a'"),
    "HapMap position": (file(HAPMAP.replace("\t5\t", "\tx\t"), "x.hmp.txt"), "line 2: pos"),
    "HapMap call of no allele": (file(HAPMAP.replace("\tR\t", "\tT\t"), "x.hmp.txt"), "line 2: call is 'T' of b"),
    "HapMap of an old Mac": (file(HAPMAP.replace("\n", "\r"), "x.hmp.txt"), "line ends of an old Mac"),
    # tables of dosages
    "table polyploid": (file(LINES.replace("0,1,2", "0,4,2"), "x.csv"), r"line 2: m2 is '4'; .* polyploid"),
    "table with text": (file("line_id,m1,m2,m3,m4\na,0,AA,2,0\nb,2,NA,0,1\nc,1,1,0,0\n", "x.csv"),
                        r"line 2: m2 is 'AA'; expected 0, 1, 2"),
    "table ragged": (file(LINES.replace("b,2,NA,0", "b,2,NA"), "x.csv"), "line 3: 3 columns; expected 4"),
    "table with a marker twice": (file(LINES.replace("m1,m2", "m1,m1"), "x.csv"), "more than once: 'm1'"),
    "table with a line twice": (file(LINES.replace("\nb,", "\na,"), "x.csv"), "more than once: 'a'"),
    "table with a marker row twice": (file(MARKERS.replace("m2,", "m1,"), "x.csv"), "more than once: 'm1'"),
    "table with a line column twice": (file(MARKERS.replace("a,b,c", "a,b,a"), "x.csv"), "more than once: 'a'"),
    "table without header": (file(LINES.split("\n", 1)[1], "x.csv"), "first column is|starts with 'a,0,1,2'"),
    "table header alone": (file("line_id,m1,m2\n", "x.csv"), "line_id,m1,m2"),
    "table of an old Mac": (file(LINES.replace("\n", "\r"), "x.csv"), "line ends of an old Mac"),
    "table position negative": (file(MARKERS.replace("1,5,", "1,-5,"), "x.csv"), "line 2: position is '-5'"),
    "table name not UTF-8": (file(LINES.encode().replace(b"\na,", b"\nGr\xfcn,"), "x.csv"), "not UTF-8"),
    # VCF Zarr
    "store without calls": (store(without("call_genotype")), "a folder without call_genotype"),
    "store without most": (store(without("sample_id", "variant_allele")), "without variant_allele, sample_id"),
    "store with other samples": (store(array("sample_id", np.array(["a", "b"]))), "8 × 6 × 2 with .* 2 samples"),
    "store with flat calls": (store(array("call_genotype", np.zeros((8, 6), np.int8))), "8 × 6 with 8 variants"),
    "store with fewer positions": (store(array("variant_position", np.arange(5, dtype=np.int32))), "with 5 variants"),
    "store with no such contig": (store(array("variant_contig", np.full(8, 7, np.int8))), "zarr cannot read"),
    "store with calls of no allele": (store(array("call_genotype", np.full((8, 6, 2), 5, np.int8))), "allele 5"),
    "store with a chunk cut": (store(lambda path: cut_file(path / "call_genotype" / "0.0.0", 40)),
                               r"chunk call_genotype/0\.0\.0 is cut or damaged"),
    "store with an empty chunk": (store(lambda path: cut_file(path / "sample_id" / "0", 0)), "chunk sample_id/0 is"),
    "store of text calls": (store(array("call_genotype", np.full((8, 6, 2), "x"))), "call_genotype is of type <U1"),
    "store of fractional calls": (store(array("call_genotype", np.full((8, 6, 2), 0.5))),
                                  "call_genotype is of type float64"),
}
