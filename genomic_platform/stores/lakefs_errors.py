"""What a lakeFS server's refusals, and its silence, are called here: one table, the cause kept.

Refusals come as exceptions of `lakefs` or of `lakefs_sdk`, silence as one of urllib3, and a name that the client itself
refuses as one of pydantic. Nothing is asked of the server here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from genomic_platform.errors import MergeConflict, ObjectNotFound, StoreError, StoreUnavailable

#: HTTP status → (our error, what it means and how to repair it). Others: StoreError below 500, else StoreUnavailable.
_TABLE: dict[int, tuple[type[StoreError], str]] = {
    401: (StoreError, "expected credentials that the server knows, it refused them (wrong or expired); repair: set "
                      "GENOMIC_PLATFORM_LAKEFS_ACCESS_KEY_ID and GENOMIC_PLATFORM_LAKEFS_SECRET_ACCESS_KEY"),
    403: (StoreError, "the server does not allow it to this user, or protects the branch; repair: write on a branch "
                      "and merge it, or ask who administers the server"),
    404: (ObjectNotFound, "expected it on the server, found none"),
    409: (MergeConflict, "it is in conflict with what the server holds; nothing was changed"),
    412: (StoreError, "a check of the server refused it, nothing was changed"),
    429: (StoreUnavailable, "the server asks to wait; repair: try again"),
}


@dataclass(frozen=True)
class Answer:
    """What the server said: HTTP status (None: nothing came back) and its words."""

    status: int | None
    words: str

    @property
    def nothing_to_do(self) -> bool:
        """The commit, merge or revert would change nothing: a success for us."""
        return self.status == 400 and "no changes" in self.words


def answer(error: BaseException | None) -> Answer | None:
    """What an exception of the client libraries says of the server, or None when it is none of theirs."""
    from lakefs.exceptions import ServerException
    from lakefs_sdk.exceptions import ApiException
    from urllib3.exceptions import HTTPError

    if isinstance(error, ServerException):
        return Answer(error.status_code, _words(error.body) or str(error.reason or ""))
    if isinstance(error, ApiException):
        return Answer(error.status or None, _words(error.body) or str(error.reason or ""))
    if isinstance(error, HTTPError | ConnectionError | TimeoutError):
        reason = getattr(error, "reason", None) or error  # of the last try
        return Answer(None, str(reason).rpartition(": ")[2] or type(error).__name__)
    return None


def refusal(error: Exception, about: str, endpoint: str) -> StoreError | None:
    """Our error for one of the client libraries', or None when it is not theirs.

    Parameters
    ----------
    about : what was asked, and of what: `reading p/2013/a at main`.
    """
    from pydantic.v1 import ValidationError

    if isinstance(error, ValidationError):
        return StoreError(f"{about}: the name is not one that lakeFS takes: {error.errors()[0]['msg']}")
    found = answer(error)
    if found is None:
        return None
    if found.status is None:
        return StoreUnavailable(f"{about}: no answer from lakeFS at {endpoint} ({found.words}); repair: check that it "
                                "runs, and GENOMIC_PLATFORM_LAKEFS_ENDPOINT")
    kind, meaning = _TABLE.get(found.status) or (
        (StoreError, "the server refused it") if found.status < 500 else (StoreUnavailable, "the server failed"))
    return kind(f"{about}: {meaning} (lakeFS at {endpoint}: {found.status} {found.words})")


def _words(body: object) -> str:
    """The message in a body, which may be JSON, parsed JSON, or anything else a wrong address answers with."""
    if isinstance(body, bytes | str):
        try:
            body = json.loads(body)
        except ValueError:
            return ""
    return str(body.get("message", "")) if isinstance(body, dict) else ""
