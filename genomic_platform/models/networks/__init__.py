"""Networks in PyTorch that start as GBLUP, or as a reaction norm, and learn only what lies beyond it.

Recipes are named in `models.recipes`.

torch is imported by `branches`, `feeds` and `training`, which are imported inside functions: without the extra
`networks` the recipes can still be named and listed. Axes: P panel lines, N training lines, Q lines to predict,
B lines of a batch, M markers, R inputs, K inner folds, S seeds, A = K × S members, H features, T traits.
"""
