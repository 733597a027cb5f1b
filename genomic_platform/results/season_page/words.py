"""Words and small markup of the season's report: each verdict in plain language, numbers, tables, lists.

Everything that comes from a person's files goes through `escape` here or where it is put into markup.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import NamedTuple

DECISION = {
    "initial": "first model", "refresh": "retrained, same recipe", "replace": "replaced by a better recipe",
    "keep": "earlier model kept", "pending": "new model waits for approval", "rejected": "new model rejected by hand",
    "rollback": "gone back to an earlier model"}
POPULATION = {
    "no_test": "no test exists", "too_few": "too few to tell", "same_base": "same breeding base",
    "new_family": "lines from a new base", "platform": "fault of platform or coding likely"}
INPUTS = {"no_test": "no test exists", "too_few": "too few to tell", "same": "as in earlier seasons",
          "shifted": "shifted"}
PREDICTIONS = {"first": "first values, nothing to compare", "usual": "as usual", "changed": "changed"}
PROMISE = {"no_promise": "nothing could be promised", "too_few": "too few lines to tell", "within": "as promised",
           "below": "below the promise", "above": "above the promise"}
HELPED = {"yes": "it helped", "no": "it did not help", "cannot tell": "cannot tell"}
CAUSE = {"season": "a new harvest", "drift": "drift", "accuracy": "lost accuracy",
         "before_planting": "the next planting", "after_harvest": "the end of harvest", "hand": "a decision by hand"}
BASELINE = {"family_mean": "the family's earlier mean", "own_mean": "the line's own earlier mean"}
MEANS = {
    "initial": "The trait's first season: the recipe that predicted best in folds inside its records.",
    "refresh": "The same recipe was fitted again with this season's records, and passed its checks.",
    "replace": "Another recipe predicted past seasons better, by the programme's rule.",
    "keep": "The earlier model goes on as it is.",
    "pending": "A newer model is ready; the earlier one goes on until a person agrees.",
    "rejected": "A person turned the newer model down.",
    "rollback": "This harvest, or a person, showed the newer model to be worse than its predecessor."}
#: Letters of a name that is kept on one line.
ONE_LINE = 20
#: Verdicts that ask for attention, those that are good news, and the rest.
_TONE = {"alert": {"new_family", "platform", "shifted", "changed", "below", "no", "rollback", "rejected"},
         "good": {"same_base", "same", "usual", "within", "above", "yes"}}


class Head(NamedTuple):
    """A column: what stands over it, and its kind: `n` number, `t` text, `id` name of the row, `w` words."""

    words: str
    kind: str = "n"


def badge(verdict: str, words: Mapping[str, str]) -> str:
    """A verdict as a small label, in words; its colour only repeats them."""
    tone = next((name for name, verdicts in _TONE.items() if verdict in verdicts), "plain")
    return f"<span class='badge {tone}'>{escape(words.get(verdict, verdict))}</span>"


def table(heads: Sequence[Head], rows: Iterable[Sequence[str]], kind: str = "cards",
          notes: Mapping[int, str] | None = None) -> str:
    """A table of cells that are markup already.

    Parameters
    ----------
    kind : `cards`: on a phone each row becomes a card whose cells carry their heads; `slim`: few and narrow columns,
        a table everywhere. notes : number of a row, from 0 → markup that stands under it over the table's width.
    """
    notes = notes or {}
    head = "".join(f"<th class='{h.kind}' scope=col>{breakable(h.words)}</th>" for h in heads)
    body = "".join(_row(heads, row, notes.get(i, "")) for i, row in enumerate(rows))
    return f"<div class=scroll><table class='{kind}'><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


def _row(heads: Sequence[Head], row: Sequence[str], note: str) -> str:
    cells = "".join(f"<td class='{h.kind}' data-label='{escape(h.words)}'>{cell}</td>"
                    for h, cell in zip(heads, row, strict=True))
    if not note:
        return f"<tr>{cells}</tr>"
    return f"<tr class=noted>{cells}</tr><tr class=note><td colspan={len(heads)}>{note}</td></tr>"


def breakable(text: str) -> str:
    """Words for a narrow place: where one is long, it may be broken anywhere."""
    long = max(map(len, text.split()), default=0) > ONE_LINE
    return f"<span class=long>{escape(text)}</span>" if long else escape(text)


def name_of(identifier: str, mark: str = "") -> str:
    """A name from a file, on one line with its mark where it is short enough, else broken where there is need."""
    kind = "name" if len(identifier) <= ONE_LINE else "long"
    return f"<span class={kind}>{escape(identifier)}{f'&nbsp;{mark}' if mark else ''}</span>"


def listed(items: Iterable[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(item)}</li>" for item in items) + "</ul>"


def paragraph(text: str, kind: str = "") -> str:
    return f"<p{f' class={kind}' if kind else ''}>{escape(text)}</p>"


def absent(what: str) -> str:
    """What was not looked at, said in place of it."""
    return paragraph(f"{what} not assessed in this season.", "absent")


def baselines(names: Sequence[str]) -> str:
    """What did better than the model, in words."""
    return joined([BASELINE.get(name) or name.replace("_", " ") for name in names])


def tally(counts: Mapping[str, int], words: Mapping[str, str]) -> str:
    """How often each verdict was given: `as promised 4; too few lines to tell 2`."""
    return "; ".join(f"{word} {counts[verdict]:,}" for verdict, word in words.items() if verdict in counts)


def joined(words: Sequence[str], last: str = "and") -> str:
    """`a`, `a and b`, `a, b and c`."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}" if words else ""


def few(words: Sequence[str], most: int = 6) -> str:
    """The first of the words, and how many more there are."""
    return joined([*words[:most], *([f"{len(words) - most} more"] if len(words) > most else [])])


def r_of(value: float | None) -> str:
    """A predictive ability: two decimals, a true minus, – where there is none."""
    return "–" if value is None else f"{round(value, 2) + 0.0:.2f}".replace("-", "−")


def decimals(size: float | None) -> int:
    """Decimals that show two figures of a number of this size."""
    return max(0, 1 - math.floor(math.log10(size))) if size and math.isfinite(size) else 2


def signed(value: float | None, places: int) -> str:
    """`+812`, `−0.031`, `0`; – where there is none."""
    if value is None:
        return "–"
    text = f"{value:+,.{places}f}"
    return text[1:] if not float(text.replace(",", "")) else text.replace("-", "−")


def measured(value: float | None, unit: str, size: float | None = None) -> str:
    """A signed value with its unit, to two figures of `size` (its own where none is given); plain text."""
    return f"{signed(value, decimals(size or abs(value or 0)))}{f' {unit}' if unit else ''}"


def percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.0f}\u00a0%".replace("-", "−")


def recipe_name(recipe: str) -> str:
    """`genomic_blup` → genomic BLUP; a recipe of one's own keeps its name."""
    return recipe if ":" in recipe else recipe.replace("_", " ").replace("blup", "BLUP")
