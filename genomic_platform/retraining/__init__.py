"""When models are trained again, what is tried then, and what came of it.

Causes are read off what is published; which run answers them, and when, is decided here; sensors and schedules ask.
Nothing here computes a figure: drift and promises are `drift` and `models`.
"""
