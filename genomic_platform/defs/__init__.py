"""The asset graph: what exists, what it depends on, when it runs. Thin and autoloaded; computes nothing.

`season_asset.py` says how every asset runs; the folders are the graph's groups. Numbers come from the library rooms.
"""
