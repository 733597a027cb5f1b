"""A model card as a page: self-contained, printable, no script. What it says is `model_card`'s."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:#1d2733;max-width:60rem;margin:2rem auto;padding:0 1.5rem}
h1{font-size:1.6rem;margin:0}h2{font-size:1.1rem;margin:2rem 0 .5rem;border-bottom:1px solid #d5dde5}
h3{font-size:1rem;margin:1.2rem 0 .3rem}.sub{color:#5b6b7b;margin:.2rem 0 1rem}
table{border-collapse:collapse;margin:.3rem 0 1rem}th,td{text-align:left;padding:.2rem .9rem .2rem 0;vertical-align:top;
border-bottom:1px solid #edf1f5}th{font-weight:600;color:#42515f}
td.n{text-align:right;font-variant-numeric:tabular-nums}
code{font-size:.85em;overflow-wrap:anywhere}li{margin:.15rem 0}
.bar{display:inline-block;position:relative;width:14rem;height:.8rem;background:#edf1f5;border-radius:2px}
.bar i{position:absolute;top:0;bottom:0;background:#9db8d2}.bar b{position:absolute;top:-2px;bottom:-2px;width:2px;
background:#1f4e79}.bar u{position:absolute;top:0;bottom:0;width:1px;background:#8896a5}
@media print{body{margin:0;max-width:none;font-size:12px}h2{break-after:avoid}}
"""


def card_page(card: Mapping[str, Any]) -> str:
    """The whole page as HTML."""
    about, made, held = card["general_description"], card["development"], card["performance"]
    control, data, method = card["monitoring_and_control"], made["data"], made["method"]
    unit = f" ({about['unit']})" if about["unit"] else ""
    body = [
        f"<h1>{escape(about['name'])} · version {about['version']}</h1>",
        f"<p class=sub>{escape(about['recipe'])}, trained through season {escape(about['trained_through'])}; "
        f"decision: {escape(about['decision'])}</p>",
        "<h2>1. General description</h2>",
        _facts({"trait": about["trait"] + unit, "crop": about["crop"], "intended use": about["intended_use"],
                "not intended for": about["not_intended_for"], "content": about["model_version"]}),
        "<h2>2. Elements and development</h2><h3>Data</h3>",
        _facts({"commit": data["commit"], "training lines": data["training_lines"], "markers": data["markers"],
                "lines with values": data["lines_with_values"]}),
        _table(data["seasons"]), "<h3>Sources</h3>" + (_table(data["sources"]) or "<p>none is named</p>"),
        "<h3>Method</h3>", _facts({**{k: method[k] for k in ("seed", "code_version", "fingerprint", "dagster_run_id",
                                                              "mlflow_run_id")}, **method["parameters"]}),
        "<h3>Compute</h3>", _facts({**{k: v for k, v in made["compute"].items() if k != "circumstances"},
                                    **made["compute"]["circumstances"]}),
        f"<h2>3. Performance</h2><p class=sub>{escape(held['measure'])}. The mark is r, the bar its interval, the thin "
        "line zero, from −1 to 1.</p>",
        "<h3>On folds inside the first training set</h3>", _table(held["folds"]) or "<p>none</p>",
        *(f"<h3>On seasons not seen, by {label}</h3>" + _intervals(held[f"by_{label}"])
          for label in ("season", "environment", "family")),
        "<h3>The champions' values as breeders saw them</h3>",
        _table(held["champions_as_published"]) or "<p>no season has been scored yet</p>",
        "<h3>Reliability</h3>", _table(held["reliability"]),
        "<h2>4. Limits and known failures</h2>", _list(card["risk_management"]["limits"]),
        "<h2>5. Monitoring and control</h2>",
        _facts({"approval": control["approval"], "decision": f"{control['decision']['decision']}, "
                                                             f"by {control['decision']['by']}",
                "human oversight": control["human_oversight"], "after release": control["after_release"]}),
        "<h3>Reasons</h3>", _list(control["decision"]["reasons"]),
        "<h3>Decisions by hand</h3>", _table(control["by_hand"]) or "<p>none until now</p>",
        "<h2>6. Changes from the season before</h2>", _changes(card["changes"]),
        "<h2>7. Standards, conformity</h2>",
        f"<p>{escape(card['standards'])} {escape(card['declaration_of_conformity'])}</p>"]
    title = f"{escape(about['name'])} v{about['version']}"
    return (f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title>"
            f"<style>{_STYLE}</style><body>{''.join(body)}</body></html>\n")


def _facts(facts: Mapping[str, Any]) -> str:
    rows = (f"<tr><th>{escape(_words(name))}<td>{_text(value)}" for name, value in facts.items() if value != "")
    return f"<table>{''.join(rows)}</table>"


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return ""
    head = "".join(f"<th>{escape(_words(name))}" for name in rows[0])
    lines = ("<tr>" + "".join(f"<td{' class=n' if isinstance(v, int | float) else ''}>{_text(v)}" for v in row.values())
             for row in rows)
    return f"<table><tr>{head}{''.join(lines)}</table>"


def _intervals(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return "<p>none with ten lines</p>"
    lines = (f"<tr><td>{escape(row['label'])}<td class=n>{_text(row['r'])}<td class=n>{_text(row['lower'])} to "
             f"{_text(row['upper'])}<td>{_bar(row)}<td class=n>{_text(row['lines'])}" for row in rows)
    return f"<table><tr><th><th>r<th>interval<th><th>lines{''.join(lines)}</table>"


def _bar(row: Mapping[str, Any]) -> str:
    if row["lower"] is None:
        return ""
    left, right, mark = (50 * (1 + row[name]) for name in ("lower", "upper", "r"))
    return (f"<span class=bar><u style='left:50%'></u><i style='left:{left:.1f}%;width:{right - left:.1f}%'></i>"
            f"<b style='left:{mark:.1f}%'></b></span>")


def _changes(changes: Mapping[str, Any]) -> str:
    if changes["previous_version"] is None:
        return "<p>This is the first version.</p>"
    rows = [{"": name, f"version {changes['previous_version']}": then, "this version": now}
            for name, (then, now) in changes["differences"].items()]
    return _table(rows) or "<p>none</p>"


def _list(items: Sequence[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(item)}' for item in items)}</ul>"


def _words(name: str) -> str:
    return name.replace("_", " ")


def _text(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:,.3f}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, list):
        return escape(", ".join(_words(str(item)) for item in value)) or "–"
    text = escape(str(value))
    return f"<code>{text}</code>" if len(text) >= 32 and " " not in text else text
