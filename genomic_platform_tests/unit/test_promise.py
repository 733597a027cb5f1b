"""What seasons past promise: the distribution against plain quadrature and simulation, the rule's verdicts, groups."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy import integrate, stats

from genomic_platform.models import promise, scores
from genomic_platform.models.next_season import NextSeason
from genomic_platform.models.promise import accuracy_promise, effective_lines, fisher_z, intraclass

TRAIT = "yield"


def harvest(season: str, r: float, n: int = 100, *, seed: int = 0, environments: tuple[str, ...] = ("A",),
            family: str | None = None, known: bool = True) -> pl.DataFrame:
    """Lines whose correlation of predicted and observed is exactly r in every environment."""
    rng = np.random.default_rng([seed, *season.encode()])
    x, e = rng.normal(size=(2, n))
    x, e = (x - x.mean()) / x.std(), e - e.mean()
    e -= x * (x @ e) / n
    y = r * x + np.sqrt(1 - r**2) * e / e.std()
    return pl.concat([pl.DataFrame({
        "trait": TRAIT, "season": season, "environment": f"{name}_{season}",
        "line_id": [f"{family or 'L'}{i:03}" for i in range(n)], "family": pl.Series([family] * n, dtype=pl.String),
        "known": known, "predicted": x, "observed": y}) for name in environments])


def judged(*seasons: pl.DataFrame, level: str = "season") -> pl.DataFrame:
    pairs = pl.concat(seasons)
    return accuracy_promise(pairs, season=pairs["season"].max(), directions={}).filter(pl.col("level") == level)


@pytest.mark.parametrize(("r", "verdict"), [(0.45, "within"), (-0.3, "below"), (0.97, "above")])
def test_the_interval_judges(r: float, verdict: str) -> None:
    past = [harvest(str(2010 + i), value) for i, value in enumerate((0.5, 0.4, 0.55, 0.48, 0.45))]
    row = judged(*past, harvest("2020", r)).row(0, named=True)
    assert row["verdict"] == verdict
    assert (row["n_seasons"], row["n_lines"], row["label"]) == (5, 100, "")
    assert row["realised"] == pytest.approx(r)
    assert row["lower"] < row["promised"] < row["upper"]
    assert 0.4 < row["promised"] < 0.55
    assert "5 forward seasons promised for 100 lines, 100 % of them known" in row["message"]


def test_two_seasons_promise_nothing_and_few_lines_tell_nothing() -> None:
    row = judged(harvest("2018", 0.5), harvest("2019", 0.5), harvest("2020", 0.1)).row(0, named=True)
    assert (row["verdict"], row["promised"], row["lower"], row["n_seasons"]) == ("no_promise", None, None, 2)
    assert row["message"].startswith("cannot be promised: 2 earlier forward seasons")
    past = [harvest(str(2010 + i), 0.5) for i in range(4)]
    few = judged(*past, harvest("2020", 0.5, n=19)).row(0, named=True)
    assert (few["verdict"], few["lower"]) == ("too_few", None)
    assert few["realised"] == pytest.approx(0.5)
    small = judged(*past[:2], harvest("2012", 0.5, n=19), harvest("2020", 0.5)).row(0, named=True)
    assert (small["verdict"], small["n_seasons"]) == ("no_promise", 2)
    flat = judged(*past, harvest("2020", 0.5).with_columns(predicted=pl.lit(0.0))).row(0, named=True)
    assert (flat["verdict"], flat["realised"]) == ("no_promise", None)
    assert "do not vary" in flat["message"]


def mixed(season: str, r_known: float, r_new: float, n_known: int, n_new: int) -> pl.DataFrame:
    new = harvest(season, r_new, n_new, known=False, seed=1).with_columns(line_id="N" + pl.col("line_id"))
    return pl.concat([harvest(season, r_known, n_known), new])


def test_the_promise_is_for_the_kinds_of_lines_harvested() -> None:
    """Known lines at .8, new ones at .2: what is promised follows their shares in this harvest."""
    past = [mixed(str(2010 + i), 0.8, 0.2, 60 + i, 140 - i) for i in range(4)]
    old, half, new = (judged(*past, table).row(0, named=True) for table in (
        harvest("2020", 0.8), mixed("2020", 0.8, 0.2, 100, 64), harvest("2020", 0.2, known=False)))
    assert (old["promised"], new["promised"]) == (pytest.approx(0.8), pytest.approx(0.2))
    assert half["promised"] == pytest.approx(half["realised"], abs=0.01)  # 61 % counts as three fifths
    assert {row["verdict"] for row in (old, half, new)} == {"within"}
    assert "60 % of them known" in half["message"]
    only_known = judged(*(harvest(str(2010 + i), 0.8) for i in range(4)), mixed("2020", 0.8, 0.2, 60, 40))
    assert (only_known["verdict"].item(), only_known["n_seasons"].item()) == ("no_promise", 0)
    few_new = judged(*(harvest(str(2010 + i), 0.8) for i in range(4)), mixed("2020", 0.8, 0.2, 95, 5))
    assert few_new["n_seasons"].item() == 4


def test_weighted_lines_are_repeated_lines() -> None:
    rng = np.random.default_rng(10)
    x, y, times = rng.normal(size=30), rng.normal(size=30), rng.integers(1, 4, 30)
    wanted = np.corrcoef(np.repeat(x, times), np.repeat(y, times))[0, 1]
    assert promise.weighted_correlation(x, y, times.astype(float)) == pytest.approx(wanted)
    known = np.arange(30) < 10
    weight = promise._weights(known, 0.8)
    assert weight[known].sum() / weight.sum() == pytest.approx(0.8)


def test_the_first_season_and_the_scores_beside() -> None:
    assert accuracy_promise(harvest("2019", 0.5).clear(), season="2019", directions={}).is_empty()
    table = harvest("2019", 0.6)
    x, y = table["predicted"].to_numpy(), table["observed"].to_numpy()
    for direction in ("maximise", "minimise", "target(7)"):
        row = accuracy_promise(table, season="2019", directions={TRAIT: direction},
                               averages={TRAIT: 6.5}).row(0, named=True)
        assert row["slope"] == pytest.approx(scores.slope(x, y))
        assert row["bias"] == pytest.approx(scores.bias(x, y))
        assert row["top20_hit"] == scores.top_fifth_hit(x, y, direction, 6.5)
        assert row["gain_selected"] == pytest.approx(scores.selection_gain(x, y, direction, 6.5))


def test_later_seasons_and_row_order_do_not_matter() -> None:
    pairs = pl.concat([harvest(str(2010 + i), 0.5 - 0.02 * i, environments=("A", "B")) for i in range(6)])
    wanted = accuracy_promise(pairs.filter(pl.col("season") <= "2014"), season="2014", directions={})
    assert accuracy_promise(pairs.reverse(), season="2014", directions={}).equals(wanted)


def test_environments_are_judged_where_a_season_has_several() -> None:
    past = [harvest(str(2010 + i), 0.5, environments=("A", "B"), seed=i) for i in range(4)]
    assert judged(*past, harvest("2020", 0.5), level="environment").is_empty()
    now = [harvest("2020", 0.5, environments=("A", "B")), harvest("2020", -0.5, environments=("C",))]
    rows = judged(*past, *now, level="environment")
    assert dict(rows.select("label", "verdict").iter_rows()) == {
        "A_2020": "within", "B_2020": "within", "C_2020": "below"}
    assert "held for 3 groups at once" in rows["message"][0]


def test_more_groups_looked_at_make_wider_intervals() -> None:
    """One family in twenty below its own 95 % interval is no alarm: twenty share the 5 %."""
    names = [f"F{i:02}" for i in range(20)]

    def families(season: str, count: int) -> list[pl.DataFrame]:
        return [harvest(season, 0.4 + 0.01 * (i % 5), 30, seed=i, family=name) for i, name in enumerate(names[:count])]

    past = [table for i in range(4) for table in families(str(2010 + i), 20)]
    one, all_ = (judged(*past, *families("2020", count), level="family") for count in (1, 20))
    assert (one.height, all_.height) == (1, 20)
    first = all_.row(0, named=True)
    assert first["upper"] - first["lower"] > 1.2 * (one["upper"].item() - one["lower"].item())
    assert first["promised"] == pytest.approx(one["promised"].item())
    small = judged(*past, *families("2020", 3), harvest("2020", 0.4, 12, family="G"), level="family")
    assert small.filter(label="G")["verdict"].item() == "too_few"
    assert "held for 3 groups" in small.filter(label="F00")["message"].item()  # G is not one of them


def plain_predictive(z: np.ndarray, error: np.ndarray, spread: float, value: float, new_error: float) -> float:
    """P(next < value) by quadrature over α of the half-Cauchy, each season one observation."""
    def given(alpha: float) -> tuple[float, float]:
        v = error + alpha**2
        precision = (1 / v).sum()
        mean = (z / v).sum() / precision
        density = stats.halfcauchy.pdf(alpha, scale=spread) * np.exp(
            stats.norm.logpdf(z, mean, np.sqrt(v)).sum()) * np.sqrt(2 * np.pi / precision)
        return density, float(stats.norm.cdf(value, mean, np.sqrt(1 / precision + alpha**2 + new_error)))

    total = integrate.quad(lambda a: given(a)[0], 0, np.inf, limit=200)[0]
    return integrate.quad(lambda a: given(a)[0] * given(a)[1], 0, np.inf, limit=200)[0] / total


def test_the_distribution_is_that_of_plain_quadrature() -> None:
    z, error = np.array([0.4, 0.7, 0.45, 0.9]), np.array([0.01, 0.02, 0.005, 0.04])
    ours = NextSeason.after(z, error, list("abcd"), spread=0.25)
    for value in (0.0, 0.3, 0.62, 1.0):
        wanted = plain_predictive(z, error, 0.25, value, 0.015)
        assert ours.below(value, 0.015) == pytest.approx(wanted, abs=0.004)  # 60 points of α
        assert ours.chance(value, 0.015) == pytest.approx(2 * min(wanted, 1 - wanted), abs=0.008)
    low, high = ours.interval(0.015, 0.95)
    assert (ours.below(low, 0.015), ours.below(high, 0.015)) == (pytest.approx(0.025), pytest.approx(0.975))


def test_the_likelihood_of_several_groups_is_that_of_the_whole_covariance_matrix() -> None:
    """Weights of the grid against multivariate normal densities, μ integrated over by a wide prior."""
    rng = np.random.default_rng(4)
    season = np.array([0, 0, 0, 1, 1, 2, 2, 2, 2])
    y, error = rng.normal(0.5, 0.3, 9), rng.uniform(0.01, 0.05, 9)
    ours = NextSeason.after(y, error, season.tolist(), spread=0.25)
    points = 0.25 * np.tan(np.pi / 2 * (np.arange(24) + 0.5) / 24)
    cells = [(3, 3), (10, 5), (5, 12), (15, 15)]
    wide, log = 100.0, []
    for a, b in cells:
        covariance = np.diag(error + points[b] ** 2) + points[a] ** 2 * (season[:, None] == season) + wide**2
        log.append(stats.multivariate_normal.logpdf(y, np.zeros(9), covariance))
        inverse = np.linalg.inv(covariance - wide**2)
        mean = (inverse.sum(axis=0) @ y) / inverse.sum()
        assert ours.mean_G[24 * a + b] == pytest.approx(mean)
        assert ours.variance_G[24 * a + b] == pytest.approx(1 / inverse.sum() + points[a] ** 2 + points[b] ** 2)
    found = np.log([ours.weight_G[24 * a + b] for a, b in cells])
    assert found - found[0] == pytest.approx(np.array(log) - log[0], abs=1e-3)  # the prior of μ is not quite flat


def test_one_season_is_refused() -> None:
    with pytest.raises(ValueError, match="1 season; expected at least two"):
        NextSeason.after(np.array([0.5, 0.6]), np.array([0.1, 0.1]), ["a", "a"], spread=0.25)


def test_coverage_of_the_promise() -> None:
    """95 % intervals after three and six seasons that differ with sd .15 in z, 100 lines: nominal within 3 sd."""
    rng, inside = np.random.default_rng(6), {3: [], 6: []}
    for k, found in inside.items():
        for _ in range(400):
            z = fisher_z(0.5) + 0.15 * rng.normal(size=k + 1) + rng.normal(size=k + 1) / np.sqrt(97)
            low, high = NextSeason.after(z[:k], np.full(k, 1 / 97), range(k), spread=promise.SPREAD).interval(
                1 / 97, 0.95)
            found.append(low < z[k] < high)
    assert all(0.92 < np.mean(found) <= 1.0 for found in inside.values()), {k: np.mean(v) for k, v in inside.items()}


def test_effective_number_is_the_sampling_variance_of_r() -> None:
    """Simulated r of two independent family-structured columns: its variance is 1 / (effective − 1)."""
    rng, families = np.random.default_rng(7), [f"F{i // 20}" for i in range(200)]
    group = np.repeat(np.arange(10), 20)
    drawn, sizes = [], []
    for _ in range(1500):
        x, y = (np.sqrt(share) * rng.normal(size=10)[group] + np.sqrt(1 - share) * rng.normal(size=200)
                for share in (0.6, 0.4))
        drawn.append(np.corrcoef(x, y)[0, 1])
        sizes.append(effective_lines(x, y, families))
    assert np.median(sizes) == pytest.approx(1 + 1 / np.var(drawn), rel=0.2)  # 4 % sd of a variance, 10 % ICC
    assert np.median(sizes) < 60


def test_effective_number_without_families() -> None:
    x, y = np.random.default_rng(8).normal(size=(2, 50))
    assert effective_lines(x, y, [None] * 50) == pytest.approx(51)
    assert intraclass(x, np.zeros(50, dtype=int)) == 0.0


def test_intraclass_is_the_textbooks() -> None:
    """Snedecor & Cochran's formulas for unequal sizes, in plain loops."""
    rng, family = np.random.default_rng(9), np.repeat([0, 1, 2, 3], [5, 9, 3, 8])
    x = rng.normal(size=4)[family] + rng.normal(size=25)
    groups = [x[family == f] for f in range(4)]
    within = sum(((g - g.mean()) ** 2).sum() for g in groups) / 21
    among = sum(len(g) * (g.mean() - x.mean()) ** 2 for g in groups) / 3
    n0 = (25 - sum(len(g) ** 2 for g in groups) / 25) / 3
    between = (among - within) / n0
    assert intraclass(x, family) == pytest.approx(between / (between + within))


def test_z_of_a_perfect_correlation_is_finite() -> None:
    assert np.isfinite([fisher_z(1.0), fisher_z(-1.0)]).all()
    assert fisher_z(0.5) == pytest.approx(0.5493, abs=1e-4)
