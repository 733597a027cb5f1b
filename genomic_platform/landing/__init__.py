"""A programme's landing files: which they are, what is wrong with them, which seasons they make stale, and `init`.

What one kind of file means belongs to `genotypes/` and `phenotypes/`; here files are seen together.
"""
