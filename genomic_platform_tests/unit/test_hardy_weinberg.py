"""The exact test of Hardy–Weinberg proportions against exact fractions, and what it says of inbred panels."""

from __future__ import annotations

from fractions import Fraction
from math import factorial

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from genomic_platform.genotypes.hardy_weinberg import disequilibrium, exact_p_values, panel_inbreeding


def exact_in_fractions(hom_ref: int, het: int, hom_alt: int, inbreeding: Fraction = Fraction(0)) -> float:
    """Every outcome's probability as a fraction: no rounding, so that ties are ties."""
    n, alt = hom_ref + het + hom_alt, het + 2 * hom_alt
    p = Fraction(alt, 2 * n)
    q, pq = 1 - p, p * (1 - p)
    shares = (q * q + inbreeding * pq, 2 * pq * (1 - inbreeding), p * p + inbreeding * pq)

    def weight(hets: int) -> Fraction:
        alts = (alt - hets) // 2
        refs = n - hets - alts
        return (shares[0] ** refs * shares[1] ** hets * shares[2] ** alts
                / (factorial(refs) * factorial(hets) * factorial(alts)))

    weights = [weight(h) for h in range(alt % 2, min(alt, 2 * n - alt) + 1, 2)]
    return float(sum(w for w in weights if w <= weight(het)) / sum(weights))


counts = st.tuples(*[st.integers(0, 25)] * 3).filter(lambda c: sum(c) > 0)


@settings(deadline=None, max_examples=150)
@given(counts)
@example((14, 16, 3))  # 14 and 16 heterozygotes are equally probable
def test_the_p_value_is_that_of_exact_fractions(count: tuple[int, int, int]) -> None:
    found = exact_p_values(*np.array([count]).T, threads=1)[0]
    assert found == pytest.approx(exact_in_fractions(*count), rel=1e-12)  # rounding of some tens of products


@settings(deadline=None, max_examples=150)
@given(counts.filter(lambda c: 0 < c[1] + 2 * c[2] < 2 * sum(c)), st.integers(0, 9))
def test_the_p_value_given_inbreeding_is_that_of_exact_fractions(count: tuple[int, int, int], tenths: int) -> None:
    found = exact_p_values(*np.array([count]).T, tenths / 10, threads=1)[0]
    expected = exact_in_fractions(*count, Fraction(tenths, 10))
    assert found == pytest.approx(expected, rel=1e-9)  # θ itself is rounded, and is raised to tens of powers


def test_no_call_is_nan_and_one_allele_alone_is_one() -> None:
    assert np.array_equal(exact_p_values(np.array([0, 5, 0]), np.zeros(3, int), np.array([0, 0, 7]), 0.3),
                          [np.nan, 1, 1], equal_nan=True)
    assert exact_p_values(*np.zeros((3, 0), dtype=int)).shape == (0,)


def test_a_p_value_too_small_for_a_float_is_zero_and_the_walk_still_ends() -> None:
    lines = np.array([[1000], [0], [1000]])
    assert exact_p_values(*lines)[0] == 0
    assert 0.5 < exact_p_values(*lines, 0.9999)[0] <= 1


def test_complete_inbreeding_admits_only_the_heterozygote_that_odd_alleles_force() -> None:
    hom_ref_M, het_M, hom_alt_M = np.array([[5, 0, 5], [5, 1, 5], [5, 2, 5], [5, 3, 5]]).T
    assert exact_p_values(hom_ref_M, het_M, hom_alt_M, 1.0).tolist() == [1, 1, 0, 0]


def test_inbreeding_below_what_the_frequencies_admit_is_taken_as_the_bound() -> None:
    rare, common = exact_p_values(np.array([95, 25]), np.array([5, 70]), np.array([0, 5]), -0.4)
    assert rare == pytest.approx(1)  # all five rare alleles are in heterozygotes: what F = −0.4 wants
    assert common > 0.05


def test_the_test_keeps_its_level_in_an_inbred_panel_when_it_is_told_of_it() -> None:
    rng = np.random.default_rng(3)
    p_M = rng.uniform(0.05, 0.95, 4000)
    for inbreeding in (0.0, 0.5, 0.95):
        pq_M = p_M * (1 - p_M)
        shares_M3 = np.stack([(1 - p_M) ** 2 + inbreeding * pq_M, 2 * pq_M * (1 - inbreeding),
                              p_M ** 2 + inbreeding * pq_M], axis=1)
        panel = rng.multinomial(300, shares_M3).T
        observed = panel_inbreeding(*panel)
        assert observed == pytest.approx(inbreeding, abs=0.01)  # standard error about .003 at 4,000 variants
        share = (exact_p_values(*panel, observed) < 0.05).mean()
        assert 0.02 < share < 0.06  # an exact test of discrete counts is below its level, never much above
        if inbreeding:
            assert (exact_p_values(*panel) < 0.05).mean() > 0.85  # the plain test flags the inbreeding itself


def test_each_variant_may_have_its_own_inbreeding() -> None:
    panel = np.array([[40, 20, 40], [40, 20, 40], [40, 20, 40]]).T
    together = exact_p_values(*panel, np.array([0.0, 0.6, np.nan]))
    assert together[:2].tolist() == [exact_p_values(*panel, 0.0)[0], exact_p_values(*panel, 0.6)[0]]
    assert np.isnan(together[2])
    assert disequilibrium(*panel)[0] == 4


def test_threads_do_not_change_a_bit() -> None:
    panel = np.random.default_rng(1).integers(0, 60, (3, 501))
    assert np.array_equal(exact_p_values(*panel, threads=1), exact_p_values(*panel, threads=3), equal_nan=True)


def test_wrong_arguments_are_named() -> None:
    three = np.ones((3, 2), dtype=int)
    with pytest.raises(ValueError, match=r"inbreeding must be between -1 and 1; found 1.5"):
        exact_p_values(*three, 1.5)
    with pytest.raises(ValueError, match="expected three counts per variant"):
        exact_p_values(three[0], three[1], three[2, :1])


def test_a_sample_in_proportions_shows_no_inbreeding_whatever_its_size() -> None:
    rng = np.random.default_rng(5)
    few = rng.multinomial(4, [0.49, 0.42, 0.09], 200_000).T
    assert panel_inbreeding(*few) == pytest.approx(0, abs=0.006)  # standard error about .002; biased it would be .125
    assert panel_inbreeding(np.array([3]), np.array([0]), np.array([0])) == 0
