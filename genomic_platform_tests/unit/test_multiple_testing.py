"""False discovery rates beside scipy's."""

from __future__ import annotations

import numpy as np

from genomic_platform.models.multiple_testing import false_discovery_rates


def test_false_discovery_rates_are_those_of_scipy() -> None:
    from scipy.stats import false_discovery_control

    p_M = np.random.default_rng(16).uniform(size=500) ** 2
    np.testing.assert_allclose(false_discovery_rates(p_M), false_discovery_control(p_M), rtol=1e-12)
    with_gap = np.insert(p_M, 10, np.nan)
    np.testing.assert_array_equal(np.delete(false_discovery_rates(with_gap), 10), false_discovery_rates(p_M))
    assert len(false_discovery_rates(np.empty(0))) == 0
