"""Who is related to whom, from markers: relationship matrices, squared distances, identity by state.

All of it is streamed over blocks of variants by matrix products (`cross_product`, `integer_product`, `device`), so
memory is the packed table, a few decoded blocks and the N × N result. What models do with it belongs in `models/`.
Axes: N lines, M markers; a missing call counts as 2p, so that z = 0. References stand at each kind in `relationship`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from genomic_platform.errors import InputError, Problem
from genomic_platform.genotypes import device as torch_engine
from genomic_platform.genotypes.kinship import codings
from genomic_platform.genotypes.kinship.cross_product import cross_product, line_sums, self_product
from genomic_platform.genotypes.kinship.integer_product import integer_error, integer_product, multiplies_int8
from genomic_platform.genotypes.table import GenotypeTable

Kind = Literal["vanraden1", "vanraden2", "yang", "dominance", "gaussian"]
Engine = Literal["auto", "float32", "int8"]

#: The kinds whose markers all weigh alike, so that calls are small integers.
_INTEGER_KINDS = ("vanraden1", "gaussian")
#: Largest error at which `auto` takes int8, in units of the mean diagonal.
INT8_ERROR = 3e-5
_FLOAT32_ERROR = 1e-6
#: Lines whose pairs give the median distance: two million pairs settle it.
_MEDIAN_LINES = 2_000


@dataclass(frozen=True, eq=False)
class Relationship:
    """A genomic relationship matrix and what it was centred and scaled by.

    Attributes
    ----------
    matrix_NN : float64 (N, N), symmetric, in the order of the table's lines.
    scale : what the product was divided by: 2 Σ p (1 − p) (`vanraden1`), varying markers (`vanraden2`, `yang`),
        Σ (2pq)² (`dominance`); for `gaussian` the bandwidth θ.
    frequencies_M : float64 (M,), the ALT frequencies p used; 0 where nothing was called.
    engine : float32 or int8, which computed it.
    error : the largest error of an entry by that engine, in units of the matrix; see `relationship`.
    """

    matrix_NN: np.ndarray
    scale: float
    frequencies_M: np.ndarray
    kind: Kind = "vanraden1"
    engine: Engine = "float32"
    error: float = _FLOAT32_ERROR


def relationship(table: GenotypeTable, kind: Kind = "vanraden1", frequencies_M: np.ndarray | None = None, *,
                 engine: Engine = "float32", device: str = "cpu") -> Relationship:
    """Relationship of all lines of a table.

    Parameters
    ----------
    kind :
        `vanraden1` : Z Z' / 2 Σ p (1 − p), z = x − 2p. VanRaden 2008, J. Dairy Sci. 91:4414, first method.
        `vanraden2` : the mean over varying markers of z_i z_j / 2p(1 − p). The same, second method. PLINK 2's
            `--make-rel` is this sum divided by the markers called in both lines, whether they vary or not;
            `--make-rel cov` is that of z_i z_j.
        `yang` : `vanraden2` with the diagonal 1 + mean of (x² − (1 + 2p) x + 2p²) / 2p(1 − p) over the line's called
            markers. Yang et al. 2010, Nat. Genet. 42:565 (GCTA without its pairwise counts).
        `dominance` : H H' / Σ (2pq)², h = −2q², 2pq, −2p² for 2, 1, 0 ALT alleles. Vitezica et al. 2013,
            Genetics 195:1223.
        `gaussian` : exp(−d² / θ), d² = Σ (z_i − z_j)², θ the median d² of different lines (of 2,000 lines spread evenly
            where there are more). Crossa et al. 2010, Genetics 186:713.
    frequencies_M : ALT frequencies of the base; None = those of all lines of `table`.
    engine : `float32`, summed in float64, errs by less than 1e-6 of the mean diagonal: what models use. `int8`, some
        three times as fast on a CPU with AVX-512 VNNI (on others by torch), is exact but for missing calls, which are
        rounded: the error grows with the root of their share and falls with that of the number of markers.
        `Relationship.error` states six standard deviations of it: 1.4e-5 for 2,000 × 50,000 with 2 % missing, where
        1.0e-5 was measured, and 4.1e-5 with 20 %, where 2.8e-5 was. `auto` is int8 where the CPU has the instruction
        and the stated error is at most 3e-5, else float32: what the shell command uses.
    device : `cpu`, or `cuda` to compute on a graphics card.

    Raises
    ------
    InputError : no marker varies.
    ValueError : the frequencies do not fit the markers, or int8 is asked for another kind.
    """
    p_M = _frequencies(table, frequencies_M)
    if kind not in get_args(Kind) or engine not in get_args(Engine):
        raise ValueError(f"relationship {kind!r} by {engine!r}; expected a kind of {', '.join(get_args(Kind))} by an "
                         f"engine of {', '.join(get_args(Engine))}")
    if engine == "int8" and kind not in _INTEGER_KINDS:
        raise ValueError(f"int8 products are for {' and '.join(_INTEGER_KINDS)}, whose markers weigh alike; found "
                         f"{kind}: use float32")
    scale = _scale(kind, p_M)
    engine, error = _chosen(engine, table, kind, p_M, scale, device)
    if engine == "int8":
        own = device == "cpu" and multiplies_int8()
        matrix_NN = integer_product(table, p_M) if own else torch_engine.integer_product(table, p_M, device)
    elif device == "cpu":
        matrix_NN = self_product(table, _coding(kind, p_M))
    else:
        matrix_NN = torch_engine.self_product(table, _coding(kind, p_M), device)
    if kind == "gaussian":
        distance_NN = _distances(matrix_NN, np.diagonal(matrix_NN).copy(), np.diagonal(matrix_NN).copy())
        error, scale = 4 * error * scale, _median_distance(distance_NN)
        distance_NN /= -scale
        return Relationship(np.exp(distance_NN, out=distance_NN), scale, p_M, kind, engine, error / scale)
    matrix_NN /= scale
    if kind == "yang":
        np.fill_diagonal(matrix_NN, _yang_diagonal(table, p_M))
    return Relationship(matrix_NN, scale, p_M, kind, engine, error)


def vanraden(table: GenotypeTable, frequencies_M: np.ndarray | None = None) -> Relationship:
    """`relationship` of kind `vanraden1` by float32 products: what models, distances and components start from."""
    return relationship(table, "vanraden1", frequencies_M)


def cross_relationship(new: GenotypeTable, panel: GenotypeTable, frequencies_M: np.ndarray, scale: float,
                       kind: Kind = "vanraden1") -> np.ndarray:
    """Relationship of new lines with a panel's, float64 (N_new, N_panel), centred and scaled as the panel was.

    Raises ValueError when the two tables do not hold the same markers and alleles in the same order.
    """
    p_M = _frequencies(panel, frequencies_M)
    if kind == "gaussian":
        return np.exp(-squared_distances(new, panel, p_M) / scale)
    return cross_product(new, panel, _coding(kind, p_M)) / scale


def squared_distances(table: GenotypeTable, other: GenotypeTable | None = None,
                      frequencies_M: np.ndarray | None = None) -> np.ndarray:
    """Squared Euclidean marker distances Σ (z_i − z_j)², float64 (N, N) or (N, N_other), with missing calls at 2p.

    Parameters
    ----------
    table, other : the same markers in the same order; `other` None = distances within `table`, diagonal 0.
    frequencies_M : ALT frequencies p at which missing calls stand; None = those of `table`.
    """
    value_M4 = codings.additive(_frequencies(table, frequencies_M))
    if other is None:
        product_NN = self_product(table, value_M4)
        left_N = right_N = np.diagonal(product_NN).copy()
    else:
        product_NN = cross_product(table, other, value_M4)
        left_N, right_N = line_sums(table, value_M4**2), line_sums(other, value_M4**2)
    return _distances(product_NN, left_N, right_N)


def identity_by_state(table: GenotypeTable) -> np.ndarray:
    """IBS = 1 − mean |x_i − x_j| / 2 over markers called in both, float64 (N, N), 0–1; 0 where none is shared.

    With a = [x ≥ 1] and b = [x = 2], |x_i − x_j| = |a_i − a_j| + |b_i − b_j|, which is matrix products of 0 and 1:
    exact in float32 within a block.
    """
    def counting(*value_4: int) -> np.ndarray:
        return np.broadcast_to(np.array(value_4, dtype=np.float32), (table.n_variants, 4))

    two_M4, some_M4 = counting(1, 0, 0, 0), counting(1, 0, 1, 0)
    alleles_M4, called_M4 = counting(2, 0, 1, 0), counting(1, 0, 1, 1)
    difference_NN = self_product(table, some_M4)
    difference_NN += self_product(table, two_M4)
    difference_NN *= -2
    if (table.variants["call_rate"] == 1).all():
        alleles_N, shared_NN = line_sums(table, alleles_M4), np.float64(table.n_variants)
        difference_NN += alleles_N[:, None]
        difference_NN += alleles_N[None, :]
    else:
        one_sided_NN = cross_product(table, table, alleles_M4, called_M4)
        difference_NN += one_sided_NN
        difference_NN += one_sided_NN.T
        shared_NN = self_product(table, called_M4)
    difference_NN /= -2 * np.maximum(shared_NN, 1)
    difference_NN += 1
    return np.where(shared_NN > 0, difference_NN, 0.0)


def _frequencies(table: GenotypeTable, frequencies_M: np.ndarray | None) -> np.ndarray:
    p_M = table.allele_frequencies() if frequencies_M is None else np.asarray(frequencies_M, dtype=np.float64)
    if p_M.shape != (table.n_variants,):
        raise ValueError(f"frequencies_M has shape {p_M.shape}; expected {(table.n_variants,)}, one for each marker")
    return np.nan_to_num(p_M, nan=0.0)


def _scale(kind: Kind, p_M: np.ndarray) -> float:
    variance_M = 2 * p_M * (1 - p_M)
    scale = {"vanraden2": np.count_nonzero(variance_M), "yang": np.count_nonzero(variance_M),
             "dominance": np.sum(variance_M**2)}.get(kind, np.sum(variance_M))
    if scale <= 0:
        raise InputError([Problem("genotypes", "at least one marker that varies", "none", "add polymorphic markers, or "
                                  "check that the calls are those of these lines", field="relationship")])
    return float(scale)


def _coding(kind: Kind, p_M: np.ndarray) -> np.ndarray:
    if kind in ("vanraden2", "yang"):
        return codings.standardised(p_M)
    return codings.dominance(p_M) if kind == "dominance" else codings.additive(p_M)


def _chosen(engine: Engine, table: GenotypeTable, kind: Kind, p_M: np.ndarray, scale: float,
            device: str) -> tuple[Engine, float]:
    """The engine that computes, and its largest error in units of the mean diagonal."""
    able = kind in _INTEGER_KINDS and (device != "cpu" or multiplies_int8())
    if engine == "float32" or (engine == "auto" and not able):
        return "float32", _FLOAT32_ERROR
    error = integer_error(table, p_M) / scale
    return ("float32", _FLOAT32_ERROR) if engine == "auto" and error > INT8_ERROR else ("int8", error)


def _yang_diagonal(table: GenotypeTable, p_M: np.ndarray) -> np.ndarray:
    """1 + the mean of what each called, varying marker adds; 1 where a line has no call."""
    called_N = line_sums(table, codings.called(p_M))
    return 1 + line_sums(table, codings.own_deviation(p_M)) / np.maximum(called_N, 1)


def _distances(product_NN: np.ndarray, left_N: np.ndarray, right_N: np.ndarray) -> np.ndarray:
    """Squared distances from products and own squares, in the place of the products."""
    product_NN *= -2
    product_NN += left_N[:, None]
    product_NN += right_N[None, :]
    return np.maximum(product_NN, 0, out=product_NN)


def _median_distance(distance_NN: np.ndarray) -> float:
    n = len(distance_NN)
    at_S = np.unique(np.linspace(0, n - 1, min(n, _MEDIAN_LINES)).astype(int))
    median = np.median(distance_NN[np.ix_(at_S, at_S)][np.triu_indices(len(at_S), k=1)]) if n > 1 else 0.0
    if median <= 0:
        raise ValueError("the median distance between lines is 0: a Gaussian kernel needs lines that differ")
    return float(median)
