"""What genotype files are, told by their content, and which reader opens them.

A .bed stands for its .bim and .fam, a .pgen for its .pvar and .psam; a VCF Zarr is a folder. How one format is read
belongs in `readers/`.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

from genomic_platform.errors import InputError, Problem
from genomic_platform.genotypes.readers.part import AS_USUAL, GenotypeSource, ReadOptions
from genomic_platform.genotypes.readers.text import BOM, DAMAGED, GZIP_MAGIC, truncated

#: How each kind's content begins (after a byte order mark, inflated), and the reader's module in `readers/`.
_MAGIC = {"vcf": b"##fileformat=VCF", "bcf": b"BCF", "hapmap": b"rs#", "pgen": b"\x6c\x1b\x10", "plink": b"\x6c\x1b",
          "dosages": b"PAR1"}
_READERS = {"vcf": "vcf", "bcf": "bcf", "plink": "plink", "pgen": "pgen", "hapmap": "hapmap",
            "dosages": "dosage_table", "vcz": "vcz"}
#: Files that belong to another: suffix → the suffix of the file that stands for all of them.
COMPANIONS = {".bim": ".bed", ".fam": ".bed", ".pvar": ".pgen", ".psam": ".pgen", ".pvar.zst": ".pgen"}
_TABLES = (".csv", ".tsv", ".txt", ".parquet")
#: How files begin that hold something else, what they are, and the repair.
_FOREIGN = {
    b"\xff\xfe": ("text in UTF-16", "save it as UTF-8"), b"\xfe\xff": ("text in UTF-16", "save it as UTF-8"),
    b"PK\x03\x04": ("a zip archive or a spreadsheet", "unpack it, or save the sheet as CSV"),
    b"BZh": ("compressed by bzip2", "unpack it"), b"\xfd7zXZ": ("compressed by xz", "unpack it"),
    b"\x28\xb5\x2f\xfd": ("compressed by zstd", "unpack it"), GZIP_MAGIC: ("compressed twice", "unpack it once")}
_HEAD = 1 << 16


def find_sources(paths: Sequence[Path]) -> tuple[list[tuple[str, Path]], list[Problem]]:
    """(kind, path) of every source, each once; and what is none, each with its repair."""
    sources: dict[tuple[str, Path], None] = {}
    problems: list[Problem] = []
    if not paths:
        problems.append(Problem("genotypes", "at least one file", "none", "name a VCF or a PLINK .bed file"))
    for path in map(Path, paths):
        found = source_kind(path)
        if isinstance(found, Problem):
            problems.append(found)
        else:
            sources[found, main_file(path)] = None
    first: dict[str, Path] = {}
    problems += [Problem(path.name, "genotype files of different names, since a batch has its file's",
                         f"{first[path.name]} and {path}", "rename one of them")
                 for _, path in sources if first.setdefault(path.name, path) != path]
    return list(sources), problems


def open_source(kind: str, path: Path, options: ReadOptions = AS_USUAL) -> GenotypeSource:
    """Open what `find_sources` found. Raises InputError for what cannot be read any further."""
    module = _READERS[kind]
    opener: Callable[[Path, ReadOptions], GenotypeSource] = getattr(
        import_module(f"genomic_platform.genotypes.readers.{module}"), f"open_{module}")
    try:
        return opener(path, options)
    except OSError as error:
        raise InputError([_closed(path, error)]) from error


def main_file(path: Path) -> Path:
    """The file that stands for a source: the .bed of a .bim, the .pgen of a .psam."""
    suffix = _companion(path)
    return path.with_name(path.name.removesuffix(suffix) + COMPANIONS[suffix]) if suffix else path


def _companion(path: Path) -> str:
    """Which of COMPANIONS a file's name ends in; empty for none."""
    return next((suffix for suffix in COMPANIONS if path.name.endswith(suffix)), "")


def source_kind(path: Path) -> str | Problem:
    """The kind of a source (`vcf`, `plink`, …), or what is wrong with the file."""
    try:
        return _kind(path)
    except OSError as error:
        return _closed(path, error)


def _kind(path: Path) -> str | Problem:
    if path.is_dir() and any((path / name).exists() for name in ("call_genotype", ".zgroup", "zarr.json")):
        return "vcz"
    if (path / "genotypes.parquet").is_file() or (path.name == "genotypes.parquet"
                                                  and path.with_name("lines.parquet").is_file()):
        return Problem(path.name, "a genotype file", "a packed table",
                       "use it as it is, or `genotypes export` it first")
    if not path.is_file():
        found = ("no regular file" if path.exists() else "a link that leads nowhere" if path.is_symlink()
                 else "no such file")
        return Problem(path.name, "a genotype file", found, "check the name and the folder")
    if path.stat().st_size == 0:
        return Problem(path.name, "a VCF or PLINK .bed file", "an empty file", "copy or export the file again")
    if _companion(path):
        main = main_file(path)
        if main.is_file():
            return {".bed": "plink", ".pgen": "pgen"}[main.suffix]
        return Problem(path.name, f"a {main.suffix} file of the same name beside it", f"no {main.name}",
                       f"give the {main.suffix} file, with its companions in the same folder")
    try:
        head = _head(path)
    except DAMAGED as error:
        return truncated(path, str(error))
    return _kind_of_content(path, head)


def _head(path: Path) -> bytes:
    with open(path, "rb") as source:
        head = source.read(_HEAD)
    if not head.startswith(GZIP_MAGIC):
        return head
    with gzip.open(path, "rb") as source:
        return source.read1(_HEAD)  # what lies behind it may be cut


def _kind_of_content(path: Path, head: bytes) -> str | Problem:
    text = head.removeprefix(BOM)
    if path.suffix == ".pgen":  # its other storage modes begin like a .bed
        return "pgen"
    named = "plink" if path.suffix == ".bed" else None
    kind = next((kind for kind, magic in _MAGIC.items() if text.startswith(magic)), named)
    if kind in ("vcf", "hapmap", None) and (foreign := _foreign(text)):
        return Problem(path.name, "a genotype file", *foreign)
    if kind:
        return kind
    if path.name.lower().removesuffix(".gz").endswith(_TABLES):
        from genomic_platform.genotypes.readers.dosage_table import looks_like_dosages

        if looks_like_dosages(path):
            return "dosages"
    return Problem(path.name, "a VCF (first line ##fileformat=VCF…), a PLINK .bed or .pgen, BCF, HapMap (rs#…), VCF "
                   "Zarr, or a table of dosages", _described(head),
                   "give one of these; of a table say in its header what the columns are")


def _foreign(text: bytes) -> tuple[str, str] | None:
    """What content that no reader takes is, and the repair; None where it is nothing well known."""
    if text[257:262] == b"ustar":
        return "a tar archive", "unpack it"
    if b"\r" in text.rstrip(b"\r") and b"\n" not in text and b"\x00" not in text:
        return "text with the line ends of an old Mac (CR alone)", "write it with LF, or CR LF, at the end of a line"
    return next((words for magic, words in _FOREIGN.items() if text.startswith(magic)), None)


def _closed(path: Path, error: OSError) -> Problem:
    return Problem(Path(error.filename or path).name, "a file that may be read", error.strerror or str(error),
                   "have its permissions changed, or give a copy")


def _described(head: bytes) -> str:
    line = head.split(b"\n")[0].decode("utf-8", errors="replace").strip()
    return f"a file that starts with {line[:40]!r}"
