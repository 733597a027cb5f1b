"""The season's report for a breeder: one self-contained, printable page, as a pure function of published tables.

What the page is given is `inputs`, what it says in words `words`, its sections `ranking`, `evidence` and `changes`, how
it looks `style`. Nothing is estimated here; what a number means is explained where it stands.
"""

from genomic_platform.results.season_page.inputs import SeasonResults, TraitFacts
from genomic_platform.results.season_page.page import SeasonPage, season_page

__all__ = ["SeasonPage", "SeasonResults", "TraitFacts", "season_page"]
