"""What a programme can be asked: its ranking, values of new lines, any table.

The same functions stand behind the command line and a notebook. They read what is published on `main`, nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from genomic_platform.catalogue import ASSETS, CANDIDATE, codec_of
from genomic_platform.champions import champions, index_goals
from genomic_platform.errors import NotAvailable, ProgramError
from genomic_platform.program import Program
from genomic_platform.results.report import published_assets
from genomic_platform.stores.assets import RELEASE, AssetStore
from genomic_platform.stores.decisions import standing
from genomic_platform.stores.protocol import MIGRATED_FROM
from genomic_platform.workspace import Workspace

if TYPE_CHECKING:
    from genomic_platform.models.candidate import FittedCandidate
    from genomic_platform.results.season_page import SeasonPage


def _season(main: AssetStore, season: str | None) -> str:
    published = main.published()
    if not published:
        raise NotAvailable(f"nothing of {main.program} was published at {main.ref}")
    if season is None:
        return published[-1]
    if season not in published:
        raise NotAvailable(f"season {season} is not published; published: {', '.join(published)}")
    return season


def chosen_traits(program: Program, traits: Sequence[str] | None) -> list[str]:
    if unknown := sorted(set(traits or ()) - set(program.traits)):
        raise ProgramError(f"unknown trait {', '.join(unknown)}; program.toml has {', '.join(program.traits)}")
    return list(traits or program.traits)


def ranking(program: Program, workspace: Workspace, season: str | None = None,
            traits: Sequence[str] | None = None) -> pl.DataFrame:
    """Every line, best first: rank, index and its reliability, and each trait's values with reliabilities.

    Parameters
    ----------
    season : None = the last published. traits : the index is made of these only; None = all of program.toml.

    Raises
    ------
    NotAvailable, ProgramError
        The season is not published; an unknown trait.
    """
    from genomic_platform.models.selection import selection_index

    main = published_assets(program, workspace)
    label, chosen = _season(main, season), chosen_traits(program, traits)
    values = standing_values(main, label, program.file.units)
    if traits is None and values.equals(main.read("breeding_values", label, ASSETS["breeding_values"])):
        index = main.read("selection_index", label, ASSETS["selection_index"])
    else:
        goals = index_goals({t: program.traits[t] for t in chosen}, _champions(main, label),
                            _means_through(main, label))
        index = selection_index(values, goals, main.read("line_records", label, ASSETS["line_records"]),
                                value=program.file.index.value)
    for trait in chosen:
        own = values.filter(pl.col("trait") == trait).select("line_id", *(
            pl.col(c).alias(f"{trait}_{c}") for c in ("genotypic_value", "genotypic_value_reliability",
                                                      "breeding_value", "breeding_value_reliability")))
        index = index.join(own, on="line_id", how="left", maintain_order="left")
    return index


def predict_lines(program: Program, workspace: Workspace, genotypes: Sequence[Path]) -> pl.DataFrame:
    """Values and reliabilities of lines nobody has phenotyped, by each trait's champion (contract VALUES).

    Raises
    ------
    InputError
        Files that cannot be read; markers, units or coding that are not the champion's; all named.
    NotAvailable
        Nothing is published yet.
    """
    from genomic_platform.genotypes.read import read_genotypes

    main = published_assets(program, workspace)
    table, _ = read_genotypes(genotypes)
    traits_of: dict[int, tuple[FittedCandidate, list[str]]] = {}
    for trait, champion in _champions(main, main.published()[-1]).items():
        traits_of.setdefault(id(champion), (champion, []))[1].append(trait)
    tables = [champion.score(table, program.file.units).filter(pl.col("trait").is_in(traits))
              for champion, traits in traits_of.values()]
    return pl.concat(tables).sort("trait", "line_id")


def _champions(main: AssetStore, season: str) -> dict[str, FittedCandidate]:
    """The models that stand after a published season, decisions by hand included."""
    return champions(standing(main, season), _reader(main))


def _reader(main: AssetStore) -> Callable[[str, str, str], FittedCandidate]:
    """Reads a candidate as it was decided on: (recipe, season trained through, model version)."""
    return lambda recipe, trained, version: main.holding(recipe, trained, version).read(recipe, trained, CANDIDATE)


def standing_values(main: AssetStore, season: str, units: Mapping[str, str]) -> pl.DataFrame:
    """Values of all lines known at a published season by the champions that stand (contract VALUES).

    As published, but for traits whose champion was changed by hand since: theirs are what the present champion gives.
    """
    published = main.read("breeding_values", season, ASSETS["breeding_values"])
    decided = main.read("registered_model", season, ASSETS["registered_model"])
    changed = standing(main, season).join(decided, on=["trait", "model_version"], how="anti")
    if changed.is_empty():
        return published
    known = main.read("genotype_panel", season, ASSETS["genotype_panel"]).select(
        None, published["line_id"].unique().sort().to_list())
    held = champions(changed, _reader(main))
    own = [champion.score(known, units).filter(pl.col("trait") == trait) for trait, champion in held.items()]
    return pl.concat([published.filter(~pl.col("trait").is_in(list(held))), *own]).sort("trait", "line_id")


def _means_through(main: AssetStore, season: str) -> pl.DataFrame:
    """Line means of all published seasons up to and including `season`."""
    return pl.concat([main.read("line_means", s, ASSETS["line_means"]) for s in main.published() if s <= season])


#: Assets that are pages, and what shows them.
_PAGES = {"season_report": "genomic-platform page writes it", "evidently_report": "genomic-platform ui serves them"}


def export(program: Program, workspace: Workspace, asset: str, season: str | None = None,
           commit: str | None = None) -> pl.DataFrame:
    """An asset of a published season as one table: genotypes and relationship with a column a line, a recipe's effects.

    Parameters
    ----------
    commit : as it was at this commit of `main` (its id, or the beginning of it); None = as it is now.

    Raises
    ------
    NotAvailable, ProgramError
        The season is not published (at the commit); there is no such asset or commit, or the asset is no table.
    """
    from genomic_platform.genotypes.kinship.relationship_table import relationship_array

    main = published_assets(program, workspace)
    main = main.at(full_commit(main, commit)) if commit else main
    label = _season(main, season)
    is_candidate = asset not in ASSETS and main.record(asset, label) is not None
    if asset not in ASSETS and not is_candidate:
        named = sorted({*ASSETS, *main.records(label)} - {RELEASE})
        raise ProgramError(f"no asset {asset} in season {label}; expected one of {', '.join(named)}")
    if asset in _PAGES:
        raise ProgramError(f"{asset} is no table but pages to look at; repair: {_PAGES[asset]}")
    value = main.read(asset, label, codec_of(asset))
    if asset == "genotype_batch":
        return pl.DataFrame({"batch": name, "line_id": line} for name, t in value.tables.items() for line in t.lines)
    if asset == "genotype_panel":
        return value.variants.hstack(pl.DataFrame(value.dosages().T, schema=list(value.lines)))
    if asset == "relationship_matrix":
        lines = value["line_id"].to_list()
        return value.select("line_id").hstack(pl.DataFrame(relationship_array(value), schema=lines))
    if is_candidate:
        return value.model.explain()
    return value


def quality_page(program: Program, workspace: Workspace, season: str | None = None) -> str:
    """The QC page of a published season's genotypes, as HTML; None = the last one. Raises NotAvailable."""
    from genomic_platform.results.qc_page import qc_page

    main = published_assets(program, workspace)
    label = _season(main, season)
    panel, qc, batches = (main.read(asset, label, ASSETS[asset])
                          for asset in ("genotype_panel", "genotype_qc", "batch_report"))
    counts = batches.filter(kind="batch").select("batch", "measure", "value")
    several = counts["batch"].n_unique() > 1
    return qc_page(f"{program.name}, season {label}", panel, qc, batches=counts if several else None,
                   thresholds=program.file.genotype_qc.model_dump())


def season_report(program: Program, workspace: Workspace, season: str | None = None) -> str:
    """A published season's report for breeders as HTML, its release named; None = the last season.

    Raises
    ------
    NotAvailable
        The season is not published, or its release is older than this report.
    """
    main = published_assets(program, workspace)
    label = _season(main, season)
    release = main.record(RELEASE, label)
    assert release is not None
    if main.record("season_report", label) is None:
        raise NotAvailable(f"season {label} was published by code {release.code_version}, which made no report; "
                           f"repair: genomic-platform run {program.folder} --replay")
    commit = next(c for c in main.store.log(main.ref) if c.id == main.releases()[label][-1])
    page: SeasonPage = main.read("season_report", label, ASSETS["season_report"])
    return page.released(commit.id, f"{commit.time:%Y-%m-%d}", release.code_version)


def full_commit(main: AssetStore, beginning: str) -> str:
    """The commit of `main` whose id, here or in the store it came from, begins so. Raises NotAvailable for none or
    several."""
    found = [commit.id for commit in main.store.log(main.ref)
             if commit.id.startswith(beginning) or commit.metadata.get(MIGRATED_FROM, "").startswith(beginning)]
    if len(found) != 1:
        raise NotAvailable(f"{len(found)} commits begin with {beginning}; expected one; `status` shows each season's")
    return found[0]


def write_table(table: pl.DataFrame, path: Path) -> None:
    """Write a table as Parquet, CSV or TSV by the file's name; lists become text joined by `; ` in text.

    Raises
    ------
    ProgramError
        Another ending, or a folder that does not exist.
    """
    if not path.parent.is_dir():
        raise ProgramError(f"{path.parent} is not a folder; expected one that exists; repair: make it first")
    if path.suffix not in (".parquet", ".csv", ".tsv"):
        raise ProgramError(f"{path}: expected a name that ends in .csv, .tsv or .parquet")
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        if path.suffix == ".parquet":
            table.write_parquet(temporary)
        else:
            lists = [c for c, dtype in table.schema.items() if isinstance(dtype, pl.List)]
            table.with_columns(pl.col(c).cast(pl.List(pl.String)).list.join("; ") for c in lists).write_csv(
                temporary, separator="\t" if path.suffix == ".tsv" else ",")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


