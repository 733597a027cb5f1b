"""Recipes by name, and reading back a fitted model of any of them. One's own are named `package.module:Class`."""

from __future__ import annotations

import hashlib
import importlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

from genomic_platform.errors import GenomicPlatformError, NotAvailable, ProgramError
from genomic_platform.models.line_model import PARAMETERS, RUN
from genomic_platform.models.protocol import FittedModel, Model
from genomic_platform.models.search.budget import Budget

if TYPE_CHECKING:
    from genomic_platform.models.search.space import Searchable

_HERE = "genomic_platform.models"
SEARCH = "search:"


class BuiltIn(NamedTuple):
    """A recipe of the platform's.

    Attributes
    ----------
    path : `module:Class`, imported when it is asked for: no recipe waits for another's packages.
    said : what it is, in a line.
    learns : what it learns from besides what every recipe does: `pedigree`, `families` or `line_means` of TrainingSet.
    on_a_card : a graphics card makes it faster.
    """

    path: str
    said: str
    learns: tuple[str, ...] = ()
    on_a_card: bool = False


RECIPES: dict[str, BuiltIn] = {
    "genomic_blup": BuiltIn(f"{_HERE}.genomic_blup:GenomicBlup", "GBLUP, VanRaden relationship, REML", ("pedigree",)),
    "kernel": BuiltIn(f"{_HERE}.kernel:Kernel", "Gaussian kernels, averaged over bandwidths by restricted likelihood"),
    "family_blup": BuiltIn(
        f"{_HERE}.family_blup:FamilyBlup",
        "GBLUP whose marker effects differ between families, their correlation by REML", ("families",)),
    "reaction_norm": BuiltIn(
        f"{_HERE}.mixed.reaction_norm_recipe:ReactionNormRecipe",
        "Lines × environments in a single stage, environment covariates where there are any", ("line_means",)),
    "bayes_b": BuiltIn(f"{_HERE}.bayes.recipe:BayesB",
                       "Bayesian regression: some markers have an effect, each a variance of its own"),
    "bayes_c_pi": BuiltIn(f"{_HERE}.bayes.recipe:BayesCPi",
                          "Bayesian regression: some markers have an effect, all one variance"),
    "bayes_r": BuiltIn(f"{_HERE}.bayes.recipe:BayesR",
                       "Bayesian regression: marker effects of four sizes, one of them 0"),
    "bayesian_lasso": BuiltIn(f"{_HERE}.bayes.recipe:BayesianLasso",
                              "Bayesian regression: every marker an effect, most near 0"),
    "marker_network": BuiltIn(
        f"{_HERE}.networks.marker_network:MarkerNetwork",
        "GBLUP and a network over all markers, kept where it helps lines it has not seen", on_a_card=True),
    "convolutional_network": BuiltIn(
        f"{_HERE}.networks.convolutional_network:ConvolutionalNetwork",
        "GBLUP and a network over features of neighbouring markers, window by window", on_a_card=True),
    "graph_network": BuiltIn(
        f"{_HERE}.networks.graph_network:GraphNetwork",
        "GBLUP and a network over a line's scores and those of its nearest relatives", on_a_card=True),
    "reaction_norm_network": BuiltIn(
        f"{_HERE}.networks.reaction_norm_network:ReactionNormNetwork",
        "reaction_norm and a network of markers × covariates, kept where it helps in new environments",
        ("line_means",), on_a_card=True),
    "whole_genome_ridge": BuiltIn(
        f"{_HERE}.whole_genome.recipe:WholeGenomeRidge",
        "GBLUP's equal model in marker effects, without a relationship matrix: for many lines", on_a_card=True),
    "arc_cosine": BuiltIn(f"{_HERE}.arc_cosine:ArcCosine",
                          "Arc-cosine kernel, number of layers by restricted likelihood"),
    "boosted_trees": BuiltIn(f"{_HERE}.trees.recipe:BoostedTrees",
                             "Boosted trees on population structure and chosen markers", ("families",)),
    "stacked": BuiltIn(f"{_HERE}.stacked:Stacked",
                       "Several recipes, weighted by what they predict in folds inside the training lines",
                       ("families", "pedigree")),
}


def load_recipe(name: str, budget: Budget | None = None) -> Model:
    """The recipe called `name` in program.toml.

    Parameters
    ----------
    budget : of a search of its settings (`search:NAME`); None = the default.

    Raises
    ------
    ProgramError : no such name, module or class, or a class without `name`, `code_version` and `fit`; a search of
        settings of a recipe that declares none.
    """
    if name.startswith(SEARCH):
        from genomic_platform.models.search.recipe import SearchedRecipe

        searched = cast("Searchable", load_recipe(name.removeprefix(SEARCH)))  # which it says itself if it is not
        return cast(Model, SearchedRecipe(searched, budget or Budget()))  # whose name is its own, not its class's
    path = RECIPES[name].path if name in RECIPES else name
    recipe = _made(_find(path, f"recipe '{name}'"), name)
    missing = [need for need in ("name", "code_version", "fit") if not hasattr(recipe, need)]
    if missing:
        raise ProgramError(f"recipe '{name}': expected the attributes name, code_version and fit; missing "
                           f"{', '.join(missing)}; follow the protocol in genomic_platform/models/protocol.py")
    return recipe


def _made(recipe: type, name: str) -> Model:
    try:
        return recipe()
    except GenomicPlatformError:
        raise
    except Exception as error:
        raise ProgramError(f"recipe '{name}' cannot be made without arguments ({type(error).__name__}: {error}); give "
                           "every setting of the class a default") from error


def load_fitted(folder: Path) -> FittedModel:
    """Read a model that any recipe saved; its model.json names the class.

    Raises
    ------
    NotAvailable : no model in the folder. ProgramError : its class cannot be imported here.
    """
    if not (folder / PARAMETERS).is_file():
        raise NotAvailable(f"{folder}: no {PARAMETERS}; expected a folder that a fitted model was saved to")
    path = json.loads((folder / PARAMETERS).read_text())["class"]
    return _find(path, f"model in {folder.name}").load(folder)


def parameters_digest(folder: Path) -> str:
    """sha256 (hex) over a saved model's files, names and contents, without the record of the run (run.json)."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.name != RUN):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{path.relative_to(folder).as_posix()}\t{content}\n".encode())
    return digest.hexdigest()


def _find(path: str, what: str) -> type:
    module_name, _, class_name = path.partition(":")
    if not class_name:
        raise ProgramError(f"{what}: expected one of {', '.join(sorted(RECIPES))} or package.module:Class; "
                           f"found '{path}'")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ProgramError(f"{what}: module {module_name} cannot be imported ({error}); install it into the "
                           "environment the platform runs in, or put its folder on PYTHONPATH") from error
    except (Exception, SystemExit) as error:
        raise ProgramError(f"{what}: module {module_name} fails when it is imported ({type(error).__name__}: {error}); "
                           "correct the module") from error
    if not isinstance(found := getattr(module, class_name, None), type):
        raise ProgramError(f"{what}: module {module_name} has no class {class_name}")
    return found
