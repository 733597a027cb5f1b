"""Making a lakeFS server ready for a workspace: first credentials, the repository, what protects its `main`.

Everything here may be repeated and changes nothing the second time.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from genomic_platform.errors import MergeConflict, StoreError, StoreUnavailable
from genomic_platform.stores.lakefs import LakeFSStore
from genomic_platform.stores.protocol import MAIN

ACTIONS = "_lakefs_actions"


def first_credentials(endpoint: str, access_key_id: str, secret_access_key: str, user: str = "admin") -> bool:
    """Make the first user of a new server; whether it was made now.

    Raises
    ------
    StoreUnavailable : no answer, or an answer that is not a lakeFS server's.
    """
    body = {"username": user, "key": {"access_key_id": access_key_id, "secret_access_key": secret_access_key}}
    request = urllib.request.Request(f"{endpoint.rstrip('/')}/api/v1/setup_lakefs", json.dumps(body).encode(),
                                     {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=30):
            return True
    except urllib.error.HTTPError as error:
        if error.code == 409:  # it has a user already
            return False
        raise StoreUnavailable(f"{endpoint}: expected a new lakeFS server to take its first user, it answered "
                               f"{error.code}; repair: check that it is lakeFS and has its database") from error
    except OSError as error:
        raise StoreUnavailable(f"{endpoint}: no answer ({error}); repair: check that lakeFS runs") from error


def prepare_repository(store: LakeFSStore, storage: str, actions: Sequence[Path] = (),
                       protect: bool = True) -> list[str]:
    """Make the repository unless it exists, with a protected `main` and the server's checks on it; what was done.

    Parameters
    ----------
    storage : where the server keeps the contents, `local://folder` or `s3://bucket/prefix`.
    actions : lakeFS action files, see deploy/lakefs_actions.
    """
    done = ["made repository " + store.repository] * _make_repository(store, storage)
    # First, since the server remembers for seconds that nothing was protected, once it was asked.
    done += [f"protected branch {MAIN}"] * (protect and _protect(store))
    done += ["installed checks on merges"] * (len(actions) > 0 and _install(store, actions))
    return done


def _make_repository(store: LakeFSStore, storage: str) -> bool:
    from lakefs_sdk.models.repository_creation import RepositoryCreation

    def make() -> None:
        store.client.sdk_client.repositories_api.create_repository(
            RepositoryCreation(name=store.repository, storage_namespace=storage, default_branch=MAIN))

    try:
        store.ask(f"making repository {store.repository}", make)
    except MergeConflict:
        return False
    return True


def _install(store: LakeFSStore, actions: Sequence[Path]) -> bool:
    branch = "install-checks"
    store.branch(branch)
    before = store.resolve(MAIN)
    for file in actions:
        store.write(branch, f"{ACTIONS}/{file.name}", file)
    store.commit(branch, "Checks on merges")
    try:
        store.merge(branch, MAIN, "Checks on merges", {"checks_installed": "yes"})
    except StoreError as error:
        raise StoreError(f"{error}; the checks on merges were not changed") from error
    store.delete_branch(branch)
    return store.resolve(MAIN) != before


def _protect(store: LakeFSStore) -> bool:
    from lakefs_sdk.models.branch_protection_rule import BranchProtectionRule

    api = store.api.repositories_api
    rules = store.ask("reading branch protection", api.get_branch_protection_rules, store.repository)
    if any(rule.pattern == MAIN for rule in rules):
        return False
    store.ask("protecting main", api.set_branch_protection_rules, store.repository,
              [*rules, BranchProtectionRule(pattern=MAIN)])
    return True
