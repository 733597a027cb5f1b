"""Whole-genome regression where lines are too many for a relationship matrix: all of it is passes over packed calls.

`recipe` is the recipe, `trait_job` a trait's way through REML to its solutions, `components` a step of REML,
`block_solver` the linear algebra, `passes` the products with all calls, shared by traits.
"""
