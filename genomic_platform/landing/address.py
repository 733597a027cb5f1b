"""The address of a mirror as program.toml may name it; what is at it, is `landing.mirror`'s."""

from __future__ import annotations

import re
from urllib.parse import urlsplit


def mirror_address(value: str) -> str:
    """The address as given. Raises ValueError for one that is none, or that has keys in it."""
    if value and not re.match(r"[a-z][a-z0-9+.-]*://.", value):
        raise ValueError("expected an address such as s3://bucket/prefix or file:///folder")
    if urlsplit(value).password:
        raise ValueError("expected an address without keys, since every release keeps program.toml; repair: set "
                         "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment")
    return value
