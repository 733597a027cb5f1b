"""Mixed models with several random terms on records of lines in environments.

`terms` says how effects covary, `variance` estimates components, `model` fits and predicts, `fixed` prepares fixed
effects, `reaction_norm` and `multi_trait` are models made of them. One term on line means belongs to `trait_fit`.
"""
