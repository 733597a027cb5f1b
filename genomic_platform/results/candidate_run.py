"""What is logged of a candidate: parameters and metrics by their keys, and pages of plots.

Keys of metrics are `KIND/TRAIT/NAME`; the step is the fold (replicate × folds + fold) or the season scored (its ordinal
in the calendar). Where it is logged, and to which run, is `defs/candidate_runs.py`'s.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape

import numpy as np
import polars as pl

from genomic_platform.errors import counted
from genomic_platform.models.candidate import FittedCandidate
from genomic_platform.models.cross_validation import fold_abilities
from genomic_platform.models.protocol import TrainingSet
from genomic_platform.models.scores import correlation
from genomic_platform.results import svg
from genomic_platform.stores.mlflow_runs import PLOTS, Point

FIT_PAGE, FOLDS_PAGE, FORWARD_PAGE = (f"{PLOTS}/{name}.html" for name in ("fit", "folds", "forward"))
_MOST_POINTS = 3000
_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--page);max-width:66rem;margin:1.5rem auto;
padding:0 1.25rem}h1{font-size:1.4rem;margin:0}h2{font-size:1.1rem;margin:1.8rem 0 .6rem}
.sub{color:var(--soft);margin:.2rem 0 1rem}
.figures{display:grid;gap:2rem 2.2rem;grid-template-columns:repeat(auto-fill,minmax(min(100%,24rem),1fr))}
"""


def candidate_params(candidate: FittedCandidate, known: TrainingSet, *, recipe: str, seed: int, device: str,
                     units: Mapping[str, str]) -> dict[str, object]:
    """Recipe and its settings, seed, size of the training data, units; what a fit says in words (`fit/TRAIT/NAME`)."""
    model, panel = candidate.model, known.genotypes
    settings = getattr(model, "settings", {})
    said = {f"fit/{trait}/{name}": value for trait, facts in model.summary().items() for name, value in facts.items()
            if isinstance(value, str)}
    return {"recipe": recipe, "recipe_code_version": getattr(model, "code_version", ""),
            "trained_through": known.season, "seed": seed, "device": device, "lines": panel.n_lines,
            "markers": panel.n_variants, "traits": ", ".join(known.traits),
            **{f"setting/{name}": value for name, value in settings.items()},
            **{f"unit/{trait}": units.get(trait, "") for trait in known.traits}, **said}


def candidate_points(candidate: FittedCandidate, device: Mapping[str, object]) -> list[Point]:
    """`fit/TRAIT/NAME`: components, heritability, reliability; `cost/NAME`: seconds, memory, and of graphics cards."""
    numbers = {f"fit/{trait}/{name}": value for trait, facts in candidate.model.summary().items()
               for name, value in facts.items() if name not in ("n_lines", "n_markers")}  # parameters already
    numbers |= {f"cost/{name}": value for name, value in [*candidate.cost.items(), *device.items()]}
    return [Point(key, float(value)) for key, value in numbers.items() if isinstance(value, int | float)]


def fold_points(predictions: pl.DataFrame) -> Iterator[Point]:
    """`cv1/TRAIT/r_fold` by fold of one recipe's `fold_predictions`; `r`, `r_sd` are the comparison's own."""
    abilities = fold_abilities(predictions)
    folds = int(abilities["fold"].max() or 0) + 1  # type: ignore[arg-type]
    for row in abilities.iter_rows(named=True):
        yield Point(f"cv1/{row['trait']}/r_fold", row["r"], row["replicate"] * folds + row["fold"])


def score_points(comparison: pl.DataFrame, step: int = 0) -> Iterator[Point]:
    """`SCHEME/TRAIT/r`, `r_sd` and `lines` of one recipe's rows of MODEL_COMPARISON."""
    for row in comparison.iter_rows(named=True):
        for name, column in (("r", "r_mean"), ("r_sd", "r_sd"), ("lines", "n_lines")):
            yield Point(f"{row['scheme']}/{row['trait']}/{name}", row[column], step)


def fit_page(title: str, candidate: FittedCandidate, units: Mapping[str, str]) -> str:
    """Values and reliabilities of all lines known, trait by trait."""
    values = candidate.values.filter(pl.col("environment").is_null())
    sections = []
    for (trait,), own in values.group_by("trait", maintain_order=True):
        parts = [(name, word, own.filter(pl.col("phenotyped") == tried)) for name, word, tried in
                 (("a", "with a record", True), ("b", "without", False))]
        sections.append((str(trait), [
            _histogram("Genotypic value", parts, "genotypic_value",
                       f"deviation from the average line{_unit(units, trait)}"),
            _histogram("Its reliability", parts, "genotypic_value_reliability", "reliability", (0.0, 1.0))]))
    return _page(title, f"Values of {counted(values['line_id'].n_unique(), 'line')}.", sections)


def folds_page(title: str, predictions: pl.DataFrame, units: Mapping[str, str]) -> str:
    """Each line's mean against its prediction from the other folds (columns as of `cross_validate`, one recipe)."""
    sections = []
    for (trait,), own in predictions.group_by("trait", maintain_order=True):
        r = [x for x in fold_abilities(own)["r"] if x is not None]
        said = f"r within folds: mean {np.mean(r):.3f}, {min(r):.3f} to {max(r):.3f}." if r else ""
        sections.append((str(trait), [_scatter("Predicted from the other folds", {"a": ("line", own)}, said,
                                               _unit(units, trait))]))
    return _page(title, "Lines left out in turn, a fifth at a time, inside the training set.", sections)


def forward_page(title: str, pairs: pl.DataFrame, season: str, units: Mapping[str, str]) -> str:
    """A season's harvest against what had been predicted (columns trait, predicted, observed, known)."""
    sections = []
    for (trait,), own in pairs.group_by("trait", maintain_order=True):
        r = correlation(own["predicted"].to_numpy(), own["observed"].to_numpy())
        groups = {"a": ("known", own.filter("known")), "b": ("new", own.filter(~pl.col("known")))}
        said = f"r = {r:.3f} over {counted(own.height, 'line')}." if r is not None else ""
        sections.append((str(trait), [_scatter(f"Harvest of season {season}", groups, said, _unit(units, trait))]))
    return _page(title, f"Predicted before season {season} and harvested in it.", sections)


def _histogram(title: str, parts: Sequence[tuple[str, str, pl.DataFrame]], column: str, label: str,
               ends: tuple[float, float] | None = None) -> str:
    groups = [(name, word, own[column].to_numpy()) for name, word, own in parts]
    every = np.concatenate([values[np.isfinite(values)] for _, _, values in groups])
    low, high = ends or (float(every.min(initial=np.inf)), float(every.max(initial=-np.inf)))
    if low >= high:  # no line, or all lines alike
        low, high = (low - 0.5, low + 0.5) if np.isfinite(low) else (-0.5, 0.5)
    return svg.histogram(title, groups, low, high, (label, "lines"))


def _unit(units: Mapping[str, str], trait: object) -> str:
    """Of an axis, in brackets; "" for a trait without."""
    return f" ({units[str(trait)]})" if units.get(str(trait)) else ""


def _scatter(title: str, groups: Mapping[str, tuple[str, pl.DataFrame]], caption: str, unit: str) -> str:
    drawn = {name: (word, own.gather_every(-(-own.height // _MOST_POINTS))) for name, (word, own) in groups.items()
             if own.height}
    every = pl.concat([own.select("predicted", "observed") for _, own in drawn.values()])
    x, y = (scale(float(every[c].min()), float(every[c].max()))  # type: ignore[arg-type]
            for scale, c in ((svg.x_scale, "predicted"), (svg.y_scale, "observed")))
    marks = "".join(svg.dots(name, x(own["predicted"].to_numpy()), y(own["observed"].to_numpy()))
                    for name, (_, own) in drawn.items())
    key = {name: word for name, (word, _) in drawn.items()}
    return svg.figure(title, marks, x, y, (f"predicted{unit}", f"observed{unit}"), caption,
                      key if len(key) > 1 else None)


def _page(title: str, sub: str, sections: Sequence[tuple[str, Sequence[str]]]) -> str:
    body = "".join(f"<h2>{escape(trait)}</h2><div class=figures>{''.join(figures)}</div>"
                   for trait, figures in sections)
    return ("<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width,"
            "initial-scale=1'><meta name=color-scheme content='light dark'>"
            f"<title>{escape(title)}</title><style>{svg.FIGURE_STYLE}{_STYLE}</style><body><h1>{escape(title)}</h1>"
            f"<p class=sub>{escape(sub)}</p>{body}</body></html>\n")
