"""Who is left out with whom: random folds of lines or of cells, clones kept together, published folds, parents seen.

What is scored within a fold belongs to `evaluate` and `comparison`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np
import polars as pl

from genomic_platform.errors import InputError, Problem, ProgramError, counted

FOLDS = 5
SEED = 1000
#: Fewer training lines than this many for each inner fold leave too few to judge settings or a branch by.
LINES_PER_FOLD = 8


def random_folds(lines: Iterable[str], replicate: int, *, n_folds: int = FOLDS, seed: int = SEED,
                 clones: Iterable[Collection[str]] = ()) -> dict[str, int]:
    """Fold 0 … `n_folds` − 1 of every line.

    Ids sorted as strings; `numpy.random.default_rng(seed + replicate).permutation(n)`; line perm[i] to fold i mod
    n_folds (with five folds and seed 1000 the folds of the published reference figures).

    Parameters
    ----------
    clones : groups of lines that are the same genotype (IBS > .99); all of a group go where its first line went.
        Leave empty for the reference folds.

    Raises
    ------
    ProgramError : more folds than lines, or fewer than two.
    """
    ids = sorted(set(lines))
    if not 2 <= n_folds <= len(ids):
        raise ProgramError(f"{n_folds} folds of {counted(len(ids), 'line')}; expected two folds at least and a line in "
                           "each; repair: ask for fewer folds or give more lines")
    return _divided(ids, n_folds, seed + replicate, clones)


def _divided(ids: list[str], n_folds: int, seed: int, clones: Iterable[Collection[str]]) -> dict[str, int]:
    """As `random_folds`, of sorted ids; fewer lines than folds leave folds empty."""
    order = np.random.default_rng(seed).permutation(len(ids))
    folds = {ids[line]: i % n_folds for i, line in enumerate(order)}
    for group in clones:
        members = sorted(line for line in group if line in folds)
        folds.update(dict.fromkeys(members, folds[members[0]] if members else 0))
    return dict(sorted(folds.items()))


def grouped_folds(groups: Sequence[Collection[str]], n_folds: int, seed: int) -> dict[str, int]:
    """Fold 0 … `n_folds` − 1 of every line, groups whole: the largest first, equal ones in random order, each to the
    fold with the fewest lines."""
    order = np.random.default_rng(seed).permutation(len(groups)).tolist()
    folds: dict[str, int] = {}
    sizes = np.zeros(n_folds, dtype=np.int64)
    for group in sorted((groups[g] for g in order), key=len, reverse=True):
        fold = int(sizes.argmin())
        sizes[fold] += len(group)
        folds.update(dict.fromkeys(group, fold))
    return folds


def published_folds(table: pl.DataFrame, file: str = "folds") -> dict[str, str]:
    """Folds from a table of two columns, `line_id` and one other (any labels).

    Raises
    ------
    InputError : `line_id` missing, no or several fold columns, a line in two folds, an empty cell, one fold only.
    """
    columns = [c for c in table.columns if c != "line_id"]
    if "line_id" not in table.columns or len(columns) != 1:
        raise InputError([Problem(file, "columns line_id and one fold column", ", ".join(table.columns),
                                  "keep these two columns", line=1, field="header")])
    column = columns[0]
    rows = table.select(pl.col("line_id", column).cast(pl.String)).with_row_index("line", offset=2)
    problems = [Problem(file, "a line and its fold", "empty", "fill or remove the row", line=line, field=column)
                for line in rows.filter(pl.any_horizontal(pl.all().is_null()))["line"]]
    repeated = rows.group_by("line_id").agg(pl.col("line").max(), pl.col(column).n_unique().alias("n"))
    problems += [Problem(file, "one fold a line", f"'{name}' in {n} folds", "keep one", line=line, field="line_id")
                 for name, line, n in repeated.filter(pl.col("n") > 1).sort("line").iter_rows()]
    if not problems and rows[column].n_unique() < 2:
        problems = [Problem(file, "at least two folds", f"{rows[column].n_unique()}", "give the fold of every line",
                            field=column)]
    if problems:
        raise InputError(problems)
    return dict(rows.select("line_id", column).sort("line_id").iter_rows())


def fold_members(folds: Mapping[str, int | str]) -> list[tuple[str, ...]]:
    """The lines of each fold, folds and lines in sorted order."""
    members: dict[int | str, list[str]] = {}
    for line, fold in sorted(folds.items()):
        members.setdefault(fold, []).append(line)
    return [tuple(members[fold]) for fold in sorted(members, key=str)]


def cell_folds(cells: pl.DataFrame, replicate: int, *, n_folds: int = FOLDS, seed: int = SEED,
               clones: Sequence[Collection[str]] = ()) -> pl.DataFrame:
    """CV2: folds of line × environment cells, each environment divided by itself (line_id, environment, fold).

    A line's cells fall into folds independently of each other, so that its other environments mostly train. Clones
    share a fold within an environment (Burgueño et al. 2012, Crop Sci. 52:707-719).

    Parameters
    ----------
    cells : line_id, environment (rows may repeat, one per trait).
    """
    parts = []
    for number, environment in enumerate(sorted(set(cells["environment"]))):
        lines = sorted(set(cells.filter(pl.col("environment") == environment)["line_id"]))
        # Other environments, other permutations: replicates count up from the seed, far below a thousand.
        folds = _divided(lines, n_folds, seed + 1_000 * (number + 1) + replicate, clones)
        parts.append(pl.DataFrame({"line_id": list(folds), "environment": environment, "fold": list(folds.values())}))
    return pl.concat(parts)


def parents_seen(line: str, parents: Mapping[str, tuple[str | None, str | None]],
                 trained: Collection[str]) -> int | None:
    """How many of a line's two parents are known from training: 2 (T2), 1 (T1), 0 (T0); None where one is not known.

    Parameters
    ----------
    trained : the parents of the lines that train, and these lines (Technow et al. 2014, Genetics 197:1343-1355).
    """
    pair = parents.get(line, (None, None))
    return None if None in pair else sum(parent in trained for parent in pair)
