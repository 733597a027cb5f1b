"""Asking one repository of a lakeFS server: the connection, what is tried again, answers of several pages.

Nothing is known here of the store's verbs. Our errors for the server's refusals are `lakefs_errors`'s.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from genomic_platform.errors import MissingExtra, ObjectNotFound, StoreError
from genomic_platform.stores.lakefs_errors import answer, refusal

if TYPE_CHECKING:
    from lakefs.client import Client
    from lakefs_sdk.client import LakeFSClient

T = TypeVar("T")
PAGE = 1000
#: Pauses in seconds between tries of what may succeed later: no answer, too many requests, the server failed.
WAITS_S = (0.25, 0.5, 1.0, 2.0, 4.0)


class LakeFSRepository:
    """One repository of a lakeFS server, as asked by one user.

    Parameters
    ----------
    endpoint : address of the server, `http://host:8000`.
    access_key_id, secret_access_key : of the lakeFS user.
    repository : its name.
    """

    def __init__(self, endpoint: str, access_key_id: str, secret_access_key: str, repository: str,
                 waits_s: Sequence[float] = WAITS_S) -> None:
        self.endpoint = endpoint.rstrip("/")
        self.repository = repository
        self._credentials = {"username": access_key_id, "password": secret_access_key}
        self._waits_s = tuple(waits_s)

    @cached_property
    def client(self) -> Client:
        """The connection, made when first asked for."""
        try:
            from lakefs.client import Client
        except ImportError as error:
            raise MissingExtra("lakeFS needs the package lakefs; repair: pip install 'genomic-platform[lakefs]'"
                               ) from error
        return Client(host=self.endpoint, **self._credentials)

    @cached_property
    def api(self) -> LakeFSClient:
        """lakeFS's API, once the server has shown that it has the repository."""
        api = self.client.sdk_client
        try:
            self.ask(f"repository {self.repository}", api.repositories_api.get_repository, self.repository)
        except StoreError as error:
            said = answer(error.__cause__)
            if said is None or not said.words:  # a web page, or an error of something else
                raise StoreError(f"{self.endpoint}: expected a lakeFS server, found something else; repair: check "
                                 "GENOMIC_PLATFORM_LAKEFS_ENDPOINT") from error
            if isinstance(error, ObjectNotFound):
                raise ObjectNotFound(f"repository {self.repository}: none on lakeFS at {self.endpoint}; repair: "
                                     "genomic-platform store setup makes it, or check "
                                     "GENOMIC_PLATFORM_LAKEFS_REPOSITORY") from error
            raise
        return api

    def ask(self, about: str, call: Callable[..., T], *arguments: Any, **options: Any) -> T:
        """Ask the server, again after a pause where that may help; its refusal is raised as ours."""
        for wait_s in (*self._waits_s, None):
            try:
                return call(*arguments, **options)
            except Exception as error:
                known = refusal(error, about, self.endpoint)
                if known is None:
                    raise
                if wait_s is None or not known.transient:
                    raise known from error
                time.sleep(wait_s)
        raise AssertionError("the last pause is None")

    def pages(self, about: str, call: Callable[..., Any], *arguments: Any, **options: Any) -> Iterator[Any]:
        after, more = "", True
        while more:
            page = self.ask(about, call, self.repository, *arguments, **{"amount": PAGE, "after": after, **options})
            yield from page.results
            after, more = page.pagination.next_offset, page.pagination.has_more
