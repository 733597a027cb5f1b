"""A programme's landing files: which they are, and a digest of what each season's rows say.

Digests cover a season's rows, not files, since one trial file may hold all seasons. They alone decide which seasons
are stale; nothing here looks at times.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path

import polars as pl

from genomic_platform.errors import InputError, Problem
from genomic_platform.phenotypes.delimited import read_delimited
from genomic_platform.phenotypes.lines import LineRegistry, read_lines
from genomic_platform.phenotypes.pedigree import Pedigree, pedigree_of_lines, read_pedigree, with_ancestors
from genomic_platform.phenotypes.seasons import ALL
from genomic_platform.phenotypes.trial_table import RESERVED, trait_id
from genomic_platform.phenotypes.trials import inspect_trials
from genomic_platform.program import Program

KINDS = ("genotypes", "trials", "lines", "environments", "pedigree")
PLINK = ((".bed", ".bim", ".fam"), (".pgen", ".pvar", ".pvar.zst", ".psam"))
#: Names that only genotype files have; tables of dosages are told by their content.
GENOTYPES = (".vcf", ".vcf.gz", ".vcf.bgz", ".bcf", *PLINK[0], *PLINK[1], ".hmp.txt", ".hmp.txt.gz", ".parquet")
TABLES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".txt", ".txt.gz")
SUFFIXES = {
    "genotypes": (*GENOTYPES, *TABLES),
    **dict.fromkeys(("trials", "lines", "environments", "pedigree"), TABLES),
}


@dataclass(frozen=True)
class Landing:
    """The landing files of one programme, as they are now."""

    program: Program

    def files(self, kind: str) -> list[Path]:
        """Files of one of `KINDS`, sorted by name: those in `landing/<kind>/` and those named in program.toml."""
        folder = self.program.folder / "landing" / kind
        dropped = [p for p in folder.iterdir() if p.is_file() and p.name.lower().endswith(SUFFIXES[kind])
                   and not p.name.startswith(".")] if folder.is_dir() else []
        named = [part for p in getattr(self.program.file.landing, kind) for part in with_companions(
            self.program.folder / p)]
        return sorted({*dropped, *named})

    def signature(self) -> str:
        """Changes whenever a file is added, removed, resized or touched: cheap, for 'unchanged since last look'."""
        stats = [(str(p), *_stamp(p)) for kind in KINDS for p in self.files(kind)]
        return hashlib.sha256(json.dumps(stats).encode()).hexdigest()

    @cached_property
    def _trial_rows(self) -> list[pl.DataFrame]:
        return [_rows(path, _stamp(path)) for path in self.files("trials")]

    @cached_property
    def seasons(self) -> list[str]:
        """Season labels with trial records, in calendar order; `all` for an unordered programme.

        Raises
        ------
        InputError
            No trial file, or one without the columns that say what it is.
        """
        if not self._trial_rows:
            raise InputError([Problem(str(self.program.folder / "landing" / "trials"), "at least one trial file (CSV)",
                                      "no file", "put the programme's trial records there")])
        labels = {label for rows in self._trial_rows if "season" in rows.columns
                  for label in rows["season"].unique().to_list() if label}
        return list(self.program.calendar.partitions(labels))

    def line_registry(self, season: str | None = None) -> LineRegistry:
        """Lines of `landing/lines` and of the trials up to `season` (None or `all`: of all seasons).

        Raises InputError for what is wrong with either.
        """
        through = None if season == ALL else season
        found = inspect_trials(self.files("trials"), list(self.program.traits), read_lines(self.lines_file),
                               self.program.calendar, through)
        return read_lines(self.lines_file, found.lines)

    @property
    def lines_file(self) -> Path | None:
        return self._only("lines", "line file")

    @property
    def pedigree_file(self) -> Path | None:
        return self._only("pedigree", "pedigree")

    def _only(self, kind: str, what: str) -> Path | None:
        files = self.files(kind)
        if len(files) > 1:
            raise InputError([Problem(f.name, f"one {what} for the programme", f"{len(files)} files in landing/{kind}",
                                      f"merge them into one {kind}.csv") for f in files])
        return files[0] if files else None

    def pedigree(self, records: pl.DataFrame, genotyped: Iterable[str] = ()) -> Pedigree:
        """Parents of lines, by pedigree.csv and by `records` (contract LINE_RECORDS), or by these alone.

        Of pedigree.csv the rows of `records`, of `genotyped` lines and of all they descend from: other lines are not
        known yet.

        Raises InputError for what is wrong with the file, or differs between the two.
        """
        if self.pedigree_file is None:
            return pedigree_of_lines(records)
        found = read_pedigree(self.pedigree_file, self._synonyms, records)
        return replace(found, records=with_ancestors(found.records, {*records["line_id"], *genotyped}))

    def pedigree_digest(self) -> str:
        """Digest of the pedigree file, whole."""
        return _digest([_file_digest(p, _stamp(p)) for p in self.files("pedigree")])

    def digests(self, season: str) -> dict[str, str]:
        """Digest of what each kind of landing file says of `season`.

        Trials and environments: the season's own rows, columns that hold something there; lines: rows known by then.
        Genotypes: the files whole, since a call cannot be told from its season without reading all. Pedigree: rows
        of lines known by then, those without a date from the start; empty without a file.
        """
        return {
            "genotypes": _digest([_file_digest(p, _stamp(p)) for p in self.files("genotypes")]),
            "trials": self._season_rows("trials", pl.col("season") == season, season),
            "lines": self._season_rows("lines", pl.col("known_from").fill_null("") <= season, season),
            "environments": self._season_rows("environments", pl.col("season") == season, season),
            "pedigree": self._parents(season) if self.files("pedigree") else "",
        }

    def _parents(self, season: str) -> str:
        """Digest of the pedigree file's rows, as they are read, without those of lines first known after the season."""
        try:
            rows = self._pedigree_rows
        except InputError:
            return self.pedigree_digest()
        first = self._first_known
        later = [line for line in rows["line_id"] if season != ALL and first.get(line, "") > season]
        return _digest([rows.filter(~pl.col("line_id").is_in(later)).write_csv()])

    @cached_property
    def _pedigree_rows(self) -> pl.DataFrame:
        assert self.pedigree_file is not None
        return read_pedigree(self.pedigree_file, self._synonyms).records

    @cached_property
    def _first_known(self) -> dict[str, str]:
        """Line → the season it is first known in: by lines.csv, else its first trial; of others nothing is known."""
        tried = [t.select("line_id", "season") for t in self._trial_rows if {"season", "line_id"} <= set(t.columns)]
        first = pl.concat(tried).with_columns(pl.col("line_id").replace(self._synonyms)).group_by("line_id").agg(
            pl.col("season").min()) if tried else pl.DataFrame()
        told = read_lines(self.lines_file).records.drop_nulls("known_from")
        return dict(first.iter_rows()) | dict(told.select("line_id", "known_from").iter_rows())

    @cached_property
    def _synonyms(self) -> dict[str, str]:
        return dict(read_lines(self.lines_file).synonyms)

    def _season_rows(self, kind: str, own: pl.Expr, season: str) -> str:
        texts = []
        for path in self.files(kind):
            rows = _rows(path, _stamp(path))
            if season != ALL and set(own.meta.root_names()) <= set(rows.columns):
                rows = rows.filter(own)
            used = sorted(c for c in rows.columns if rows[c].count() and not self._unused(kind, c))
            if rows.height:
                texts.append(hashlib.sha256(rows.select(used).write_csv().encode()).hexdigest())
        return _digest(texts)

    def _unused(self, kind: str, column: str) -> bool:
        """Whether a trial column is neither one of the fixed ones nor a trait of the programme."""
        return kind == "trials" and column not in RESERVED and trait_id(column) not in self.program.traits

    def known_digests(self) -> dict[str, str]:
        """Per season, the digest of everything known at its end: its own rows and those of all seasons before."""
        known: dict[str, str] = {}
        before = ""
        for season in self.seasons:
            before = known[season] = chain_digest(before, self.digests(season))
        return known


def with_companions(path: Path) -> list[Path]:
    """A file, and of PLINK's files of one set (`PLINK`) those that lie beside it."""
    for suffixes in PLINK:
        if suffix := next((s for s in suffixes if path.name.endswith(s)), None):
            stem = path.name.removesuffix(suffix)
            return [path, *(p for s in suffixes if (p := path.with_name(stem + s)) != path and p.is_file())]
    return [path]


def chain_digest(before: str, own: Mapping[str, str]) -> str:
    """Digest of a season's landing digests on top of its predecessor's chain (`""` for the first season).

    Kinds without a file (the pedigree: `""`) do not count.
    """
    return _digest([before, json.dumps({kind: digest for kind, digest in own.items() if digest}, sort_keys=True)])


def _digest(parts: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _stamp(path: Path) -> tuple[int, int]:
    if not path.is_file():
        raise InputError([Problem(path.name, "a file", "it does not exist",
                                  f"restore {path} or remove it from program.toml")])
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns


@lru_cache(maxsize=256)
def _file_digest(path: Path, stamp: tuple[int, int]) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@lru_cache(maxsize=32)
def _rows(path: Path, stamp: tuple[int, int]) -> pl.DataFrame:
    file = read_delimited(path)
    if file.problems:
        raise InputError(file.problems)
    return file.cells
