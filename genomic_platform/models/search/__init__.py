"""Settings of a recipe chosen inside its training lines, by Optuna within a budget; `search:NAME` in `recipes`.

A recipe that can be searched is a frozen dataclass with one more class variable, `space`: setting → range (`space`).
Which lines judge is in `inner`, what is tried next and when it is stopped in `trials`, the recipe before training in
`recipe`, after it in `fitted`. Optuna is imported inside functions: without the extra `search` all can still be named.
"""
