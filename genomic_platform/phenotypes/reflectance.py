"""Canopy reflectance of plots: reading band tables, and the relationship between lines that bands show.

Reflectance is measured on the plots of the lines to be predicted: a model with it is sensor-assisted, not prediction of
unphenotyped lines. Indices made of bands are in `vegetation_indices`. Axes: N lines, A other lines, B bands.
Reference: Krause et al. 2019, G3 9:1231-1247.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from genomic_platform.errors import InputError, Notice, Problem
from genomic_platform.phenotypes.delimited import Delimited, notices_of, problems_of, read_delimited, to_numbers
from genomic_platform.phenotypes.lines import LineRegistry
from genomic_platform.phenotypes.standardise import Standardisation

REQUIRED = ("line_id", "environment")
#: What tells the rows of a line apart; time_point is the flight or date of the measurement.
KEYS = ("line_id", "season", "environment", "time_point")
_BAND = re.compile(r"(?:wl|r)?_?(\d{3,4})(?:_?nm)?", re.IGNORECASE)
_FILE, _LINE = "__file", "__line"


@dataclass(frozen=True)
class Reflectance:
    """Reflectance of lines.

    Attributes
    ----------
    rows : `KEYS`, one row a line, environment and time point; null where the files do not say.
    wavelength_B : nm, increasing.
    bands_NB : reflectance in the files' unit, in the order of `rows` and `wavelength_B`; NaN = missing.
    """

    rows: pl.DataFrame
    wavelength_B: np.ndarray
    bands_NB: np.ndarray

    def at(self, environment: str, time_point: str | None = None) -> Reflectance:
        """Rows of one environment and, where several were measured, one time point."""
        own = pl.col("environment") == environment
        if time_point is not None:
            own &= pl.col("time_point") == time_point
        held_N = self.rows.select(own.fill_null(False)).to_series().to_numpy()
        return Reflectance(self.rows.filter(pl.Series(held_N)), self.wavelength_B, self.bands_NB[held_N])


def reflectance_kernel(bands_NB: np.ndarray) -> np.ndarray:
    """Relationship between lines by canopy reflectance: H = S S′ / B, S the standardised bands (Krause et al. 2019).

    Parameters
    ----------
    bands_NB : lines × bands, reflectance in any one unit; one row a line.

    Returns
    -------
    Symmetric, shape (N, N), rows summing to 0; the mean of its diagonal is (N − 1) / N. Bands that are constant or
    missing (NaN) in a line are left out of S and of B.

    Raises
    ------
    ProgramError : an infinite value, or no band that varies and is known in every line.
    """
    return reflectance_cross_kernel(bands_NB, bands_NB)


def reflectance_cross_kernel(other_AB: np.ndarray, bands_NB: np.ndarray) -> np.ndarray:
    """Relationship of other lines with those of training, shape (A, N), bands standardised as in training.

    Parameters and errors as for `reflectance_kernel`, which it equals for the training lines themselves; a band used in
    training that is missing in one of the other lines is an error too.
    """
    names = [f"band {b + 1}" for b in range(np.shape(bands_NB)[1])]
    standardisation = Standardisation.of(bands_NB, names)
    other_AW, standard_NW = (standardisation.apply(x, names) for x in (other_AB, bands_NB))
    return other_AW @ standard_NW.T / standard_NW.shape[1]


def read_reflectance(paths: Sequence[Path], lines: LineRegistry | None = None) -> tuple[Reflectance, list[Notice]]:
    """Band tables: line_id, environment, optional season and time_point, one column a band (`wl670`, `R670`, `670`).

    Parameters
    ----------
    paths : CSV or TSV files with the same bands. lines : resolves synonyms; None = names as written.

    Raises
    ------
    InputError : every problem of every file: missing columns, fewer than two bands, other bands than in the first file,
        cells that are no number or negative, a line twice in an environment and time point.
    """
    files = [read_delimited(p) for p in paths]
    problems, notices = problems_of(files), notices_of(files)
    usable = [f for f in files if f.columns]
    bands = {f.name: _bands(f) for f in usable}
    for file in usable:
        problems += _column_problems(file, bands[file.name], bands[usable[0].name], usable[0].name)
        other = [c for c in file.columns if c not in (*KEYS, "location") and c not in bands[file.name].values()]
        if other:
            notices.append(Notice("ignored_columns", f"{file.name}: columns that are no bands are not used", len(other),
                                  tuple(other[:3])))
    if problems or not usable:
        raise InputError(problems)
    table = pl.concat([_renamed(f, bands[f.name]) for f in usable], how="diagonal")
    wavelengths = sorted(bands[usable[0].name])
    values = table.select(to_numbers(table[_name(w)]) for w in wavelengths)
    if lines is not None:
        table = table.with_columns(lines.resolve(table["line_id"]))
    if problems := [*_cell_problems(table, values), *_row_problems(table)]:
        raise InputError(problems)
    bands_NB = values.fill_null(np.nan).to_numpy()
    return Reflectance(table.select(KEYS), np.array(wavelengths, dtype=np.float64), bands_NB), notices


def _bands(file: Delimited) -> dict[int, str]:
    """Column of each wavelength, nm."""
    return {int(found[1]): c for c in file.columns if c not in KEYS and (found := _BAND.fullmatch(c))}


def _name(wavelength: int) -> str:
    return f"wl{wavelength}"


def _renamed(file: Delimited, bands: dict[int, str]) -> pl.DataFrame:
    absent = [pl.lit(None, dtype=pl.String).alias(c) for c in KEYS if c not in file.columns]
    return file.cells.with_columns(absent).select(*KEYS, *[pl.col(c).alias(_name(w)) for w, c in bands.items()]) \
        .with_columns(pl.lit(file.name).alias(_FILE), pl.Series(_LINE, file.lines, dtype=pl.Int64))


def _column_problems(file: Delimited, bands: dict[int, str], first: dict[int, str], first_name: str) -> list[Problem]:
    shown = f"columns {', '.join(file.columns[:8])}{', …' if len(file.columns) > 8 else ''}"
    problems = [Problem(file.name, f"a column {c}", shown, f"add the column {c}, or name it so", line=1)
                for c in REQUIRED if c not in file.columns]
    if len(bands) < 2:
        problems.append(Problem(file.name, "at least two bands, named by wavelength such as wl670", shown,
                                "name the columns by their wavelength in nm", line=1))
    elif odd := sorted(set(bands) ^ set(first)):
        problems.append(Problem(file.name, f"the bands of {first_name}", f"{len(odd)} bands in one of the two only, "
                                f"such as {odd[0]} nm", "give the same bands in every file", line=1))
    return problems


def _cell_problems(table: pl.DataFrame, values: pl.DataFrame) -> list[Problem]:
    problems = [Problem(file, "a value in every row", "empty", "fill the cell or remove the row", line, c)
                for c in REQUIRED for file, line in table.filter(pl.col(c).is_null()).select(_FILE, _LINE).iter_rows()]
    for band in values.columns:
        bad = table.filter(pl.col(band).is_not_null() & ~(values[band] >= 0).fill_null(False))
        problems += [Problem(file, "a number not below 0 or an empty cell", repr(found), "correct the value or leave "
                             "the cell empty", line, band)
                     for file, line, found in bad.select(_FILE, _LINE, band).iter_rows()]
    return problems


def _row_problems(table: pl.DataFrame) -> list[Problem]:
    rows = table.select(*KEYS, _FILE, _LINE).with_row_index("__row")
    first = rows.unique(KEYS, keep="first", maintain_order=True).select(*KEYS, __first="__row", __at=_LINE, __in=_FILE)
    again = rows.join(first, on=KEYS, nulls_equal=True, maintain_order="left").filter(
        pl.col("__row") != pl.col("__first"))
    return [Problem(r[_FILE], "one row a line, environment and time point", f"{r['line_id']!r} again (first in "
                    f"{r['__in']}, line {r['__at']})", "give the line's mean, or different time points", r[_LINE],
                    "line_id") for r in again.iter_rows(named=True)]
