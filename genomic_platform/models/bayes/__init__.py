"""Bayesian whole-genome regressions: priors of marker effects, their Gibbs sampler, its diagnostics, the recipes."""
