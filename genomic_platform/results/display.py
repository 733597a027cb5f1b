"""How results look in a terminal. Nothing is computed here."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import polars as pl
from rich.console import Console
from rich.table import Table

from genomic_platform.errors import GenomicPlatformError, InputError, NotAvailable, Notice, counted
from genomic_platform.models.scores import MIN_LINES

if TYPE_CHECKING:
    from genomic_platform.landing.initialise import Initialised
    from genomic_platform.landing.inspection import Inspection
    from genomic_platform.program import Program
    from genomic_platform.results.evaluation import Evaluation
    from genomic_platform.results.history import Entry
    from genomic_platform.results.status import Status
    from genomic_platform.runs import SeasonRun
    from genomic_platform.settings import Settings


#: Width of running text, and below which a table's columns stand closer.
_TEXT, _NARROW = 100, 120

#: What to do about settings or code that are newer than what is published.
REPLAYS = "`run --replay` makes the seasons again with it, `run --force` computes everything anew"

def _table(out: Console, columns: Sequence[str], right: Sequence[str] = ()) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", collapse_padding=out.width < _NARROW)
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return table


def _show(out: Console, table: Table) -> None:
    """Print a table, without the blanks that fill its lines where no terminal needs them."""
    if out.is_terminal:
        out.print(table, soft_wrap=False)
        return
    with out.capture() as captured:
        out.print(table, soft_wrap=False)
    for line in captured.get().splitlines():
        out.out(line.rstrip(), highlight=False)


def _text(out: Console, text: str, style: str = "", hang: str = "") -> None:
    """Print running text broken between words, further lines behind `hang`."""
    for line in textwrap.wrap(text, min(_TEXT, out.width), subsequent_indent=hang):
        out.print(line, style=style)


def _number(value: float | int | None, digits: int = 3) -> str:
    if value is None:
        return "–"
    if isinstance(value, int):
        return str(value)
    text = f"{value:.{digits}f}"
    return text.replace("0.", ".", 1) if abs(value) < 1 and digits == 3 else text


def notices(out: Console, found: Sequence[Notice]) -> None:
    for notice in found:
        out.print(f"note: {notice}", style="yellow")


def inspection_report(out: Console, found: Inspection) -> None:
    """What files are, then what was accepted; problems are raised by the caller."""
    if found.genotypes and not found.genotypes.problems:
        out.print(f"genotypes: {found.genotypes.kind}, {counted(len(found.genotypes.lines), 'line')} × "
                  f"{counted(found.genotypes.n_variants, 'variant')}")
    if found.trials and found.trials.columns:
        trials = found.trials
        seasons = "season" if len(trials.seasons) == 1 else "seasons"
        out.print(f"trials: {counted(trials.n_rows, 'row')}, {counted(len(trials.line_ids), 'line')}, "
                  f"{counted(trials.environments.height, 'environment')}, {seasons} {', '.join(trials.seasons)}")
        for kind, columns in (("trait", trials.traits), ("covariate", trials.covariates)):
            for column, reason in columns.items():
                out.print(f"  {kind} {column}: {reason}")
    if found.environments and not found.environments.problems:
        out.print(f"environments: {counted(found.environments.environments.height, 'row')}, "
                  f"{counted(len(found.environments.variables), 'variable')}")
    if found.weather and not found.weather.problems:
        daily = found.weather.daily
        out.print(f"daily weather: {counted(daily.height, 'day')} of "
                  f"{counted(daily['environment'].n_unique(), 'environment')}, "
                  f"{counted(len(found.weather.variables), 'variable')}")
    if found.registry:
        out.print(f"lines: {counted(found.registry.records.height, 'line')}, "
                  f"{counted(len(found.registry.synonyms), 'synonym')}")
    notices(out, found.notices)
    if not found.problems:
        out.print("these files can be used", style="green")


def init_report(out: Console, made: Initialised) -> None:
    inspection_report(out, made.inspection)
    out.print(f"\nprogramme {made.program.name} in {made.program.folder}; guessed, to be looked at in program.toml:")
    for guess in made.guesses:
        out.print(f"  {guess}")
    out.print(f"\nnext: genomic-platform run {made.program.folder}")


class ProgressLines:
    """Progress while seasons run: one line that moves in a terminal, one line a season elsewhere."""

    def __init__(self, out: Console) -> None:
        self.out, self.season = out, ""
        self.status = out.status("") if out.is_terminal else None

    def __enter__(self) -> ProgressLines:
        if self.status:
            self.status.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.status:
            self.status.stop()

    def step(self, season: str, step: str, seconds: float) -> None:
        if self.status:
            self.status.update(f"season {season}  {seconds:5.1f} s  {step}")
        elif season != self.season:
            self.out.print(f"season {season} …")
        self.season = season

    def summary(self, outcomes: Sequence[SeasonRun], seconds: float) -> None:
        for run in outcomes:
            self.out.print(f"season {run.season}  {'published' if run.published else 'NOT published'}  "
                           f"{run.seconds:5.1f} s  run {run.run_id[:8]}")
        self.out.print(f"{counted(len(outcomes), 'season')} in {seconds:.1f} s")


def report_tables(out: Console, found: dict[str, Any]) -> None:
    """One table a trait: a row a season."""
    for trait in dict.fromkeys(r["trait"] for r in found["results"]):
        rows = [r for r in found["results"] if r["trait"] == trait]
        cells = [_report_row(row) for row in rows]
        # A column that says nothing in any season only costs width.
        shown = [c for c in cells[0] if any(row[c] != "–" for row in cells)]
        table = _table(out, shown, right=[c for c in shown if c not in ("season", "champion", "decision", "drift")])
        for row in cells:
            table.add_row(*(row[c] for c in shown))
        last = rows[-1]
        folds = {recipe: scores["cv1"] for recipe, scores in rows[0]["candidate_scores"].items()
                 if scores["cv1"] is not None}
        out.print(trait + (f" ({last['unit']})" if last["unit"] else ""), style="bold")
        _show(out, table)
        _champion_now(out, next(c for c in found["champions"] if c["trait"] == trait))
        out.print(f"in folds of season {rows[0]['season']}: "
                  + (", ".join(f"{recipe} {_number(r)}" for recipe, r in folds.items()) or "not to be had") + "\n")
    _text(out, "all, known, new, within: forward predictive ability r, on the season's harvest, of the champion "
          "published one season before, trained on so many lines: for all, known and new lines, and within families. "
          "own, family: r of the baselines, the line's or family's earlier mean (! did better than the champion on the "
          "same lines). n=2, constant: too few lines for r, or values that do not vary. decision: taken after the "
          "harvest.", "dim")


def _champion_now(out: Console, now: dict[str, Any]) -> None:
    out.print(f"champion now: {now['recipe']} v{now['registry_version']}, trained through season "
              f"{now['trained_through']} on {counted(now['n_train'], 'line')}")
    if now["pinned"]:
        out.print(f"  pinned: {now['pinned']}", style="yellow")
    if now["proposed"]:
        out.print(f"  {now['proposed']}, fitted through the latest season, waits for `genomic-platform approve` or "
                  "`reject`", style="yellow")


def _report_row(row: dict[str, Any]) -> dict[str, str]:
    def baseline(name: str) -> str:
        return _number(row["baselines"][name]) + ("!" if name in row["loses_to"] else "")

    version = f" v{row['registry_version']}" if row["registry_version"] is not None else ""
    return {
        "season": row["season"], "champion": f"{row['champion_recipe']}{version}" if row["champion_recipe"] else "–",
        "lines": _number(row["n_train"]), "all": _scored(row["r_all"], row["n_scored"]),
        "known": _scored(row["r_known"], row["n_known"]), "new": _scored(row["r_new"], row["n_new"]),
        "within": _number(row["r_within_family"]), "own": baseline("own_mean"),
        "family": baseline("family_mean"), "top20": _number(row["top20_hit"], 2), "slope": _number(row["slope"], 2),
        "decision": row["decision"], "drift": row["drift_decision"].replace("_", " ")}


def _scored(r: float | None, n_lines: int | None) -> str:
    """r of so many lines, or why there is none: `n=2`, `constant`; `–` where no line was to be scored."""
    if r is not None or not n_lines:
        return _number(r)
    return f"n={n_lines}" if n_lines < MIN_LINES else "constant"


def ranking_table(out: Console, program: Program, ranked: pl.DataFrame, season: str, first: int) -> None:
    """The first lines by selection index, each trait as value (reliability)."""
    traits = [t for t in program.traits if f"{t}_genotypic_value" in ranked.columns]
    heads = [_broken(trait) for trait in traits]
    table = _table(out, ["rank", "line", "index", "rel.", *heads], right=["rank", "index", "rel.", *heads])
    out.print(f"\nfirst {min(first, ranked.height)} lines of season {season} by selection index; values are deviations "
              "from the average line (reliability)", style="bold")
    for row in ranked.head(first).iter_rows(named=True):
        cells = []
        for trait in traits:
            value = row[f"{trait}_genotypic_value"]
            digits = 0 if value is not None and abs(value) >= 100 else 1 if value is not None and abs(value) >= 1 else 3
            sign = "+" if value is not None and value > 0 else ""
            cells.append("–" if value is None else
                         f"{sign}{value:.{digits}f} ({row[f'{trait}_genotypic_value_reliability']:.2f})")
        table.add_row(str(row["rank"]), row["line_id"], f"{row['index']:.2f}", f"{row['index_reliability']:.2f}",
                      *cells)
    _show(out, table)


def _broken(trait: str) -> str:
    """A long trait name on two lines, broken after the underscore nearest its middle."""
    breaks = [i + 1 for i, letter in enumerate(trait) if letter == "_"]
    if len(trait) <= 14 or not breaks:
        return trait
    at = min(breaks, key=lambda i: abs(i - len(trait) / 2))
    return f"{trait[:at]}\n{trait[at:]}"


def evaluation_table(out: Console, found: Evaluation) -> None:
    columns = ["trait", "environment", "model", "scheme", "r", "sd", "within", "slope", "top20", "own", "family",
               "lines", "folds", "replicates"]
    table = _table(out, columns, right=columns[4:])
    for row in found.table.sort("trait", "environment", nulls_last=False, maintain_order=True).iter_rows(named=True):
        numbers = [row["no_r"] or _number(row["r_mean"]),
                   *(_number(row[c]) for c in ("r_sd", "r_within_family", "slope", "top20_hit"))]
        baselines = [_number(row[f"baseline_{b}"]) + "!" * (b in row["loses_to"]) for b in ("own_mean", "family_mean")]
        table.add_row(row["trait"], row["environment"] or "line mean", row["model"], row["scheme"], *numbers,
                      *baselines, *(str(row[c]) for c in ("n_lines", "n_folds", "replicates")))
    out.print("predictive ability (r)", style="bold")
    _show(out, table)
    for pair in found.comparisons.iter_rows(named=True):
        interval = f" ({pair['lower']:+.3f} to {pair['upper']:+.3f})" if pair["lower"] is not None else ""
        within = " within families" if pair["metric"] == "r_within_family" else ""
        out.print(f"{pair['trait']}: {pair['second']} − {pair['first']}{within} {pair['difference']:+.3f}{interval}")
    for said in found.leaks:
        out.print(f"warning: {said}", style="yellow")


def status_report(out: Console, found: Status, where: str) -> None:
    out.print(f"programme {found.program}  {found.folder}", style="bold")
    for kind, files in found.files.items():
        out.print(f"  {kind:13}{', '.join(files) or '–'}")
    if found.refusal:
        out.print("landing files cannot be used as they are; what was published stays:", style="red")
        out.print(found.refusal)
    table = _table(out, ["season", "state", "commit", "code", "run", "last run"])
    for season in found.seasons:
        table.add_row(season.season, season.state, season.commit[:12] or "–", season.code_version or "–",
                      season.run_id[:8] or "–", season.last_run or "–")
    out.print()
    _show(out, table)
    for season in found.seasons:
        if season.failure:
            out.print(f"season {season.season} failed: {season.failure}", style="red")
    for trait, said in found.waiting.items():
        out.print(f"{trait}: {said}", style="yellow")
    for said in found.changed:
        out.print(f"note: {said}; {REPLAYS}", style="yellow")
    if found.budget.message:
        out.print(f"budget: {found.budget.message}", style={"ok": "", "stop": "red"}.get(found.budget.state, "yellow"))
    notices(out, found.notices)
    stale = [s.season for s in found.seasons if s.state != "published"]
    when = ", once the files are repaired" if found.refusal else ""
    out.print(f"\nto run{when}: {', '.join(stale)}  (genomic-platform run {_short(found.folder)})" if stale
              else "\nnothing is stale")
    out.print(f"where to look: {where}   workspace {found.workspace}")


def trace_report(out: Console, found: dict[str, Any]) -> None:
    """Where a value comes from, from the number back to its sources."""
    value, model, decision, release = found["value"], found["model"], found["decision"], found["release"]
    learned, unit = found["learned_from"], f" {found['unit']}" if found["unit"] else ""
    rank = f"rank {value['rank']}" if value["rank"] else "not ranked"
    lines = [
        ("value", "; ".join(f"{kind} {_number(value[f'{kind}_value'])}{unit}, reliability "
                            f"{_number(value[f'{kind}_value_reliability'])}" for kind in ("genotypic", "breeding"))
                  + f"; {rank}"),
        ("model", f"{model['recipe']} v{model['registry_version']}, trained through season {model['trained_through']}; "
                  f"content {model['model_version'][:12]}, code {model['code_version']}, fingerprint "
                  f"{model['fingerprint'][:12]}"),
        ("fitted by", f"Dagster run {model['dagster_run_id'][:8]}, MLflow run {model['mlflow_run_id'][:8]}, on data "
                      f"of commit {model['commit'][:12]}"),
        ("learned from", f"{counted(learned['n_lines'], 'line')}; " + ", ".join(
            f"{s['season']} ({counted(s['n_records'], 'record')})" for s in learned["seasons"])),
        ("its own", ", ".join(f"{r['environment']} {_number(r['mean'])}" for r in learned["own_records"])
         or "no record: predicted from its genotype"),
        ("put in place", f"{decision['decision']}, by {decision['by']}, {decision['time']}"),
        *(("", reason) for reason in decision["reasons"]),
        *(("since", f"{d['action']} by {d['who']}, {d['time']}: {d['reason']}") for d in found["decided_since"]),
        ("published", f"commit {release['commit'][:12]}, {release['time']}, code {release['code_version']}"),
        *(("source", f"{s.get('file', '')}: {s.get('title', '')} (licence {s.get('licence', 'unknown')}, jurisdiction "
                     f"{s.get('jurisdiction', 'unknown')})") for s in found["sources"])]
    out.print(f"{found['line_id']}  {found['trait']}  season {found['season']}", style="bold")
    for name, text in lines:
        out.print(f"  {name:13} {text}")


def history_report(out: Console, entries: Sequence[Entry]) -> None:
    """A block a trigger: when and what, what was done, what it brought."""
    if not entries:
        out.print("nothing has happened yet")
    for entry in entries:
        out.print(f"{entry.time:%Y-%m-%d %H:%M}  season {entry.season}  {entry.kind}", style="bold")
        for name, text in (("why", entry.trigger), ("done", entry.done), ("helped", entry.helped),
                           ("run", entry.run_id or "")):
            for number, part in enumerate(text.split("; ") if text else ()):
                _text(out, f"  {'' if number else name:7}{part}", hang=" " * 11)


def settings_table(out: Console, settings: Settings) -> None:
    table = _table(out, ["setting", "value", "meaning"])
    for name, value, meaning in settings.table():
        table.add_row(name, str(value) or "–", meaning)
    _show(out, table)


def _short(path: str) -> str:
    relative = os.path.relpath(path)
    return relative if len(relative) < len(path) else path


def known_error(err: Console, error: GenomicPlatformError) -> None:
    """An error of ours: what kind, how many problems, and each of them."""
    title = {InputError: "these files cannot be used", NotAvailable: "not there"}.get(type(error), "error")
    count = f" ({len(error.problems)} problems)" if isinstance(error, InputError) and len(error.problems) > 1 else ""
    err.print(f"{title}{count}:", style="bold red")
    err.print(str(error))


def unexpected_error(err: Console, error: Exception) -> None:
    """An error nobody foresaw: the system's refusal (disk, rights), or a fault of the program."""
    if isinstance(error, OSError):
        err.print("the system refused:", style="bold red")
        err.print(f"{error.filename or 'a file'}: {error.strerror or error}; repair: make room, or correct rights or "
                  "path, then give the same command; what was published before stays as it was")
        return
    err.print(f"unexpected {type(error).__name__}:", style="bold red")
    err.print(f"{error}\nThis is a fault of the program; the same command with --debug shows where.")
