"""What `accuracy` measured, from the predictions it kept: a Markdown table a scheme, recipes as rows.

A cell holds r, `!` where a baseline did better in half or more of what was left out, after `/` r within families, and
in brackets the 95 % interval of the difference to the first recipe (`models.paired`), over the replicates both have.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import polars as pl

from genomic_platform.models.ability import BY_UNIT, summarise
from genomic_platform.models.paired import compare_models

BEGIN, END = "<!-- tables: benchmarks/accuracy.py -->", "<!-- end of tables -->"


@dataclass(frozen=True)
class Shown:
    """A scheme on a set, as it is shown. by_unit : a column an environment. pooled : r over all folds at once."""

    set_name: str
    label: str
    scheme: str
    by_unit: bool
    pooled: bool


class Kept:
    """A folder of predictions, one file a set, scheme and recipe, and runs.jsonl with a line for each."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.log = folder, folder / "runs.jsonl"

    def path(self, shown: Shown, recipe: str) -> Path:
        return self.folder / shown.set_name / shown.label.replace(", ", "-").replace(" ", "_") / f"{recipe}.parquet"

    def has(self, shown: Shown, recipe: str) -> bool:
        return self.path(shown, recipe).is_file()

    def add(self, shown: Shown, recipe: str, found: pl.DataFrame | None, **said: float | str) -> None:
        """Predictions, or None with the `reason` why there are none."""
        if found is not None:
            path = self.path(shown, recipe)
            path.parent.mkdir(parents=True, exist_ok=True)
            found.write_parquet(path.with_suffix(".part"))
            path.with_suffix(".part").rename(path)
        with self.log.open("a", encoding="utf-8") as log:
            log.write(json.dumps(asdict(shown) | {"recipe": recipe} | said) + "\n")

    def runs(self) -> dict[Shown, dict[str, dict[str, float | str]]]:
        """Every scheme on every set → recipe → its last line."""
        found: dict[Shown, dict[str, dict[str, float | str]]] = {}
        for line in self.log.read_text(encoding="utf-8").splitlines() if self.log.is_file() else ():
            said = json.loads(line)
            shown = Shown(**{key: said.pop(key) for key in Shown.__dataclass_fields__})
            found.setdefault(shown, {})[said.pop("recipe")] = said
        return found


def tables(kept: Kept, titles: Mapping[str, str], recipes: Sequence[str]) -> str:
    """All tables as Markdown; `recipes` in the order of the rows, the first the one others are compared with."""
    runs, lines = kept.runs(), []
    for name, title in titles.items():
        shown = [own for own in runs if own.set_name == name]
        if shown:
            lines += [f"## {title}", ""]
        for own in shown:
            lines += [f"### {own.label}", "", *_table(kept, own, runs[own], recipes), ""]
    return "\n".join(lines).rstrip() + "\n"


def _table(kept: Kept, shown: Shown, runs: Mapping[str, Mapping[str, float | str]],
           recipes: Sequence[str]) -> list[str]:
    first = pl.read_parquet(kept.path(shown, recipes[0]))
    columns = _columns(first, shown)
    head = ["recipe", *columns, *(["mean"] if len(columns) > 1 else [])]
    lines = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    missing = {}
    for recipe in recipes:
        if not kept.has(shown, recipe):
            missing.setdefault(str(runs.get(recipe, {}).get("reason", "not run")), []).append(f"`{recipe}`")
            continue
        own = first if recipe == recipes[0] else pl.read_parquet(kept.path(shown, recipe))
        fewer = own["replicate"].n_unique()
        mark = f" ({fewer} of {n} divisions)" if fewer < (n := first["replicate"].n_unique()) else ""
        base = first.filter(pl.col("replicate").is_in(own["replicate"].unique().to_list()))
        found = [_cell(_part(base, column, shown), _part(own, column, shown), shown) for column in columns]
        lines.append(_row(f"`{recipe}`{mark}", found))
    for baseline, words in (("own_mean", "the line's own mean"), ("family_mean", "its family's mean")):
        values = [_scores(_part(first, column, shown), shown)[f"baseline_{baseline}"].mean() for column in columns]
        if any(value is not None for value in values):
            lines.append(_row(words, [(_number(value), value) for value in values]))
    return lines + [line for reason, names in missing.items() for line in ("", f"{', '.join(names)}: {reason}.")]


def _columns(first: pl.DataFrame, shown: Shown) -> list[str]:
    """Environments, or traits where those are not shown."""
    of = "trait" if not shown.by_unit else "environment" if shown.scheme == "cv2" else "unit"
    return sorted(set(first[of].drop_nulls()))


def _part(found: pl.DataFrame, column: str, shown: Shown) -> pl.DataFrame:
    of = "trait" if not shown.by_unit else "environment" if shown.scheme == "cv2" else "unit"
    return found.filter(pl.col(of) == column)


def _scores(part: pl.DataFrame, shown: Shown) -> pl.DataFrame:
    scores = summarise(part, pooled=shown.pooled)
    return scores if shown.by_unit or shown.scheme in BY_UNIT else scores.filter(pl.col("environment").is_null())


def _cell(base: pl.DataFrame, part: pl.DataFrame, shown: Shown) -> tuple[str, float | None]:
    """What is shown of a recipe, and its r."""
    scores = _scores(part, shown)
    # One value for all lines is no correlation; left out of the mean, it would flatter. `paired` counts it so too.
    r = scores.select(pl.when(pl.col("no_r") == "constant").then(0.0).otherwise("r_mean")).to_series().mean()
    cell = _number(r)
    # In half or more of the units a baseline did better on the lines it has.
    cell += "!" * (2 * scores["loses_to"].list.len().gt(0).sum() >= scores.height)
    if scores["r_within_family"].null_count() < scores.height:
        cell += f" / {_number(scores['r_within_family'].mean())}"
    (one,), (two,) = set(base["recipe"]), set(part["recipe"])
    if one != two:
        pair = compare_models(pl.concat([base, part]), one, two, pooled=shown.pooled, metrics=("r",)).row(0, named=True)
        cell += f" ({pair['lower']:+.3f} to {pair['upper']:+.3f})".replace("0.", ".").replace("-", "−")
    return cell, r  # pyright: ignore[reportReturnType]


def _row(name: str, found: Sequence[tuple[str, object]]) -> str:
    values = [r for _, r in found if isinstance(r, float)]
    mean = _number(sum(values) / len(values)) if len(values) == len(found) else "–"
    return f"| {' | '.join([name, *(cell for cell, _ in found), *([mean] if len(found) > 1 else [])])} |"


def _number(value: object) -> str:
    return f"{value:.3f}".replace("0.", ".", 1).replace("-", "−") if isinstance(value, float) else "–"


def put_between_marks(page: Path, made: str) -> None:
    """The page with what lies between its two marks replaced."""
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, mark, after = rest.partition(END)
    if not mark:
        raise SystemExit(f"{page}: expected the lines {BEGIN} and {END}")
    page.write_text(f"{before}{BEGIN}\n\n{made}\n{END}{after}", encoding="utf-8")
