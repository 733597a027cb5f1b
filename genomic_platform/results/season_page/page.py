"""The report as a whole, in the order a breeder reads it, and as what the store keeps: a folder with index.html."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape, unescape
from pathlib import Path

from genomic_platform.errors import counted
from genomic_platform.results.season_page import changes, evidence, ranking, words
from genomic_platform.results.season_page.inputs import SeasonResults
from genomic_platform.results.season_page.style import STYLE

FILE = "index.html"
#: Where a published page says which release it is of; a name from a file cannot hold it, since names are escaped.
_RELEASE = "<!-- release -->"
_ADVICE = "<h2>What to do with this list</h2><p>"


@dataclass(frozen=True)
class SeasonPage:
    """The page as HTML. The same results give the same bytes: no clock, no commit, no run."""

    html: str

    def save(self, folder: Path) -> None:
        (folder / FILE).write_text(self.html, encoding="utf-8")

    @property
    def summary(self) -> str:
        """What to do with the list, as plain text."""
        return unescape(self.html.partition(_ADVICE)[2].partition("</p>")[0])

    @classmethod
    def load(cls, folder: Path) -> SeasonPage:
        return cls((folder / FILE).read_text(encoding="utf-8"))

    def released(self, commit: str, time: str, code_version: str) -> str:
        """The page with its release named: what is known only after the page was made."""
        said = (f"<p class=sub>Published {escape(time)} · commit <code>{escape(commit[:12])}</code> · code "
                f"<code>{escape(code_version)}</code></p>")
        return self.html.replace(_RELEASE, said, 1)


def season_page(given: SeasonResults) -> SeasonPage:
    """The whole report."""
    title = f"{given.program}, season {given.season}"
    body = "".join([
        _header(given), "<main><section class=do>", _ADVICE, escape(ranking.advice(given)), "</p></section>",
        ranking.ranking(given), evidence.evidence(given), ranking.doubts(given), changes.drift(given),
        changes.retraining(given), changes.glossary(), "</main>", _made_from(given)])
    return SeasonPage("<!doctype html>\n<html lang=en><head><meta charset=utf-8><meta name=viewport "
                      f"content='width=device-width,initial-scale=1'><title>{escape(title)}: season report</title>"
                      f"<style>{STYLE}</style></head><body>{body}</body></html>\n")


def _header(given: SeasonResults) -> str:
    recipes = sorted({words.recipe_name(recipe) for recipe in given.decisions["recipe"]})
    facts = [given.crop, counted(given.index.height, "line"), counted(len(given.traits), "trait"),
             f"models: {words.joined(recipes)}" if recipes else ""]
    return (f"<header><h1>{escape(given.program)} <span>season {escape(given.season)}</span></h1>"
            f"<p class=sub>Season report · {escape(' · '.join(fact for fact in facts if fact))}</p>{_RELEASE}</header>")


def _made_from(given: SeasonResults) -> str:
    """Data versions of what the page was made from, history as a count: the fingerprint covers all of it."""
    own = {name: version for name, version in sorted(given.versions.items()) if "@" not in name and name != "season"}
    earlier = counted(len(given.versions) - len(own) - ("season" in given.versions), "table")
    said = "; ".join(f"{escape(name)} <code>{escape(version[:12])}</code>" for name, version in own.items())
    made = f"Fingerprint <code>{escape(given.fingerprint[:12])}</code>. " if given.fingerprint else ""
    return (f"<footer><p>Made from {said or 'tables without versions'}; and {earlier} of earlier seasons. {made}"
            "The same data give the same page. Where a line's value comes from: <code>genomic-platform trace</code>."
            "</p></footer>")
