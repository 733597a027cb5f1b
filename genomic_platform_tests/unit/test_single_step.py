"""Single step: H by hand, by the papers' blocks, its inverse, positive definite, any order of rows."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genomic_platform.genotypes.kinship.pedigree import OrderedPedigree, numerator_relationship, ordered_pedigree
from genomic_platform.genotypes.kinship.relationship import vanraden
from genomic_platform.genotypes.kinship.single_step import single_step, single_step_inverse, tuning
from genomic_platform.schemas.pedigree import PEDIGREE
from genomic_platform_tests.support.panels import made_panel

EXACT = 1e-9  # solutions with A22 of condition number up to 1e4 in float64


def family(n_founders: int = 6, n_lines: int = 30, seed: int = 1) -> pl.DataFrame:
    """Inbred lines from random crosses among all earlier ones."""
    rng = np.random.default_rng(seed)
    rows = [(f"L{i:02d}", None, None, 1.0) for i in range(n_founders)]
    for i in range(n_founders, n_lines):
        p, q = rng.choice(i, 2, replace=False)
        rows.append((f"L{i:02d}", f"L{p:02d}", f"L{q:02d}", float(rng.choice([0.5, 0.875, 1.0]))))
    return pl.DataFrame(rows, PEDIGREE.schema, orient="row")


def some_genotyped(seed: int) -> tuple[OrderedPedigree, list[str], np.ndarray]:
    """A pedigree, twelve of its lines and G of unrelated markers for them."""
    ordered = ordered_pedigree(family(seed=seed))
    lines = np.random.default_rng(seed).choice(ordered.lines, 12, replace=False).tolist()
    return ordered, lines, vanraden(made_panel(12, 400, seed)).matrix_NN


def test_all_lines_genotyped_gives_back_g() -> None:
    ordered = ordered_pedigree(family())
    g_NN = vanraden(made_panel(30, 300)).matrix_NN
    h = single_step(ordered, ordered.lines, g_NN, blend=0, tune=False)
    assert (h.matrix_NN == g_NN).all()
    assert (h.shift, h.slope) == (0, 1)


def test_g_equal_to_a_gives_back_a() -> None:
    ordered, genotyped, _ = some_genotyped(3)
    a_GG = numerator_relationship(ordered, genotyped)
    h = single_step(ordered, genotyped, a_GG)
    assert h.slope == pytest.approx(1)
    np.testing.assert_allclose(h.matrix_NN, numerator_relationship(ordered), atol=EXACT)


def test_an_ungenotyped_full_sib_by_hand() -> None:
    """P, Q unrelated, not inbred, with full sibs S (genotyped, G = 1.3) and T: C = A_TS / A_SS = 1/2 for P, Q and T."""
    records = pl.DataFrame([("P", None, None, None), ("Q", None, None, None), ("S", "P", "Q", None),
                            ("T", "P", "Q", None)], PEDIGREE.schema, orient="row")
    h = single_step(ordered_pedigree(records), ["S"], np.array([[1.3]]), ["T", "S", "P"], blend=0, tune=False).matrix_NN
    more = .25 * .3  # C² (G* − A_SS)
    np.testing.assert_allclose(h, [[1 + more, .65, .5 + more], [.65, 1.3, .65], [.5 + more, .65, 1 + more]])
    both = np.array([[1.2, 0.1], [0.1, 1.0]])  # P and Q genotyped: T is their mean and its own Mendelian sampling, 1/2
    h = single_step(ordered_pedigree(records), ["P", "Q"], both, ["T", "P", "Q", "S"], blend=0, tune=False).matrix_NN
    mean = (1.2 + 1.0 + 2 * 0.1) / 4
    np.testing.assert_allclose(h[0], [mean + .5, (1.2 + .1) / 2, (1.0 + .1) / 2, mean])


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 1000), blend=st.floats(0.01, 1), tune=st.booleans())
def test_h_is_the_papers_blocks_and_positive_definite(seed: int, blend: float, tune: bool) -> None:
    """Legarra et al. 2009, eq. 4, block by block; blending makes G*, singular by its centring, positive definite."""
    ordered, genotyped, g_GG = some_genotyped(seed)
    others = [line for line in ordered.lines if line not in genotyped]
    h = single_step(ordered, genotyped, g_GG, [*others, *genotyped], blend=blend, tune=tune)
    a = numerator_relationship(ordered, [*others, *genotyped])
    n = len(others)
    a11, a12, a22 = a[:n, :n], a[:n, n:], a[n:, n:]
    g = (1 - blend) * (h.shift + h.slope * g_GG) + blend * a22
    inverse = np.linalg.inv(a22)
    blocks = np.block([[a11 - a12 @ inverse @ a12.T + a12 @ inverse @ g @ inverse @ a12.T, a12 @ inverse @ g],
                       [g @ inverse @ a12.T, g]])
    np.testing.assert_allclose(h.matrix_NN, blocks, atol=EXACT)
    assert (h.matrix_NN == h.matrix_NN.T).all()
    assert np.linalg.eigvalsh(h.matrix_NN).min() > 0


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 1000))
def test_the_inverse_is_the_inverse(seed: int) -> None:
    ordered, genotyped, g_GG = some_genotyped(seed)
    product = single_step_inverse(ordered, genotyped, g_GG).toarray() @ single_step(ordered, genotyped, g_GG).matrix_NN
    np.testing.assert_allclose(product, np.eye(30), atol=1e-7)  # of matrices of condition number up to 1e5


def test_order_of_rows_and_of_genotyped_lines_does_not_matter() -> None:
    ordered, genotyped, g_GG = some_genotyped(5)
    rng = np.random.default_rng(0)
    order = rng.permutation(len(genotyped))
    records = family(seed=5)[rng.permutation(30).tolist()]
    lines = rng.permutation(ordered.lines).tolist()
    h = single_step(ordered, genotyped, g_GG, lines).matrix_NN
    other = single_step(ordered_pedigree(records), [genotyped[i] for i in order], g_GG[np.ix_(order, order)], lines)
    np.testing.assert_allclose(other.matrix_NN, h, atol=EXACT)
    some = single_step(ordered, genotyped, g_GG, lines[:7])  # genotyped lines left out inform the others all the same
    np.testing.assert_allclose(some.matrix_NN, h[:7, :7], atol=EXACT)


def test_tuning_matches_both_means() -> None:
    ordered, genotyped, g_GG = some_genotyped(7)
    a_GG = numerator_relationship(ordered, genotyped)
    shift, slope = tuning(g_GG, a_GG)
    tuned = shift + slope * g_GG
    off = ~np.eye(12, dtype=bool)
    assert np.diag(tuned).mean() == pytest.approx(np.diag(a_GG).mean())
    assert tuned[off].mean() == pytest.approx(a_GG[off].mean())


def test_a_genotyped_hybrid_with_both_parents_is_no_obstacle() -> None:
    """The F1 of two inbred lines has no variance of its own: A22 is singular, H is still G* there and non-negative."""
    records = pl.DataFrame([("P", None, None, 1.0), ("Q", None, None, 1.0), ("F", "P", "Q", None),
                            ("D", "P", "Q", 1.0)], PEDIGREE.schema, orient="row")
    ordered = ordered_pedigree(records)
    g_GG = np.array([[1.8, 0.2, 1.0], [0.2, 2.1, 1.1], [1.0, 1.1, 1.2]])
    h = single_step(ordered, ["P", "Q", "F"], g_GG, ["P", "Q", "F", "D"], blend=0, tune=False).matrix_NN
    assert (h[:3, :3] == g_GG).all()
    assert np.linalg.eigvalsh(h).min() > -EXACT
    assert h[3, 3] > 1.5
    with pytest.raises(ValueError, match="A has no inverse: 1 lines"):
        single_step_inverse(ordered, ["P", "Q", "F"], g_GG)


def test_refused() -> None:
    ordered, genotyped, g_GG = some_genotyped(1)
    with pytest.raises(ValueError, match=r"G has shape \(3, 3\); expected \(12, 12\)"):
        single_step(ordered, genotyped, np.eye(3))
    with pytest.raises(ValueError, match="1 lines are not in the pedigree: Z"):
        single_step(ordered, ["Z"], np.eye(1), tune=False)
    with pytest.raises(ValueError, match="no genotyped line twice"):
        single_step(ordered, ["L01", "L01"], np.eye(2))
    with pytest.raises(ValueError, match="no line twice"):
        single_step(ordered, genotyped, g_GG, ["L01", "L01"])
    with pytest.raises(ValueError, match="at least two genotyped lines"):
        single_step(ordered, ["L01"], np.eye(1))
    with pytest.raises(ValueError, match="cannot be tuned"):
        single_step(ordered, genotyped, np.ones((12, 12)))
    with pytest.raises(ValueError, match="blend must be between 0 and 1"):
        single_step(ordered, genotyped, g_GG, blend=2)
    with pytest.raises(ValueError, match=r"G\* has no inverse"):
        single_step_inverse(ordered, genotyped, np.ones((12, 12)), blend=0, tune=False)
