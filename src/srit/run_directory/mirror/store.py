"""Objects under a URL such as s3://bucket/run: each is written whole, some only if their name is not taken."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from importlib.util import find_spec
from typing import IO, TYPE_CHECKING, Any, TypeVar

from srit.errors import MachineError, RecipeError
from srit.installing import extra_install

if TYPE_CHECKING:
    from obstore.store import ObjectStore

Result = TypeVar("Result")

SCHEMES = ("s3://", "gs://", "az://")
REQUEST_SECONDS = 30  # for one request; large objects take several
TRYING_SECONDS = 60  # for one request and its retries
PIECE = 64 * 2**20  # bytes of an object to read at once


class Store:
    """The objects under a URL. Every error of the storage is a MachineError that names the object."""

    def __init__(self, url: str) -> None:
        """
        Raises:
            RecipeError: it is not such a URL, or srit[s3] is not installed.
        """
        self.url = url.rstrip("/")
        self._objects = _opened(self.url)

    def put(self, key: str, data: bytes | IO[bytes]) -> None:
        """Write an object, replacing what is there."""
        import obstore

        self._tried(key, lambda: obstore.put(self._objects, key, data))

    def create(self, key: str, data: bytes) -> bool:
        """Write an object if its name is not taken, and return whether it was not.

        If the reply is lost, it is unknown whether the object was written, so its content decides: `data` must identify
        its writer.
        """
        import obstore
        from obstore.exceptions import BaseError, GenericError

        last = time.monotonic() + TRYING_SECONDS
        while True:
            try:
                obstore.put(self._objects, key, data, mode="create")
                return True
            except (BaseError, OSError) as error:
                if (there := self.get(key)) is not None:
                    return there == data
                # obstore itself does not retry this request after a timeout.
                if not isinstance(error, GenericError) or time.monotonic() > last:
                    raise self._fault(key, error) from None
            time.sleep(1)

    def get(self, key: str) -> bytes | None:
        """Return the bytes of an object; None: there is none."""
        import obstore

        try:
            return self._tried(key, lambda: bytes(obstore.get(self._objects, key).bytes()))
        except FileNotFoundError:
            return None

    def pieces(self, key: str, size: int) -> Iterator[bytes]:
        """Yield the bytes of an object of a given size.

        Raises:
            FileNotFoundError: there is none.
        """
        import obstore

        for start in range(0, size, PIECE):
            length = min(PIECE, size - start)

            def piece(start: int = start, length: int = length) -> bytes:
                return bytes(obstore.get_range(self._objects, key, start=start, length=length))

            yield self._tried(key, piece)

    def names(self, folder: str, after: str = "") -> list[str]:
        """Return the names of a folder's objects in order, only those after a given name."""
        import obstore

        def listed() -> list[str]:
            offset = f"{folder}/{after}" if after else None
            return sorted(
                found["path"].removeprefix(f"{folder}/")
                for page in obstore.list(self._objects, folder, offset=offset)
                for found in page
            )

        return self._tried(folder, listed)

    def age(self, key: str) -> float:
        """Return how many seconds ago an object was written, by the storage's own clock, to the second."""
        import obstore

        def when(name: str) -> datetime:
            found: datetime = self._tried(name, lambda: obstore.head(self._objects, name)["last_modified"])
            return found

        self.put("clock", b"")
        return (when("clock") - when(key)).total_seconds()

    def remove(self, keys: list[str]) -> None:
        """Remove objects, some of which may already be gone."""
        import obstore

        if keys:
            self._tried(keys[0], lambda: obstore.delete(self._objects, keys))

    def _tried(self, key: str, work: Callable[[], Result]) -> Result:
        """
        Raises:
            FileNotFoundError: there is no such object.
            MachineError: anything else.
        """
        from obstore.exceptions import BaseError

        try:
            return work()
        except FileNotFoundError:
            raise
        except (BaseError, OSError) as error:
            raise self._fault(key, error) from None

    def _fault(self, key: str, error: Exception) -> MachineError:
        reason = str(error).partition("\n")[0][:400]
        return MachineError(f"{self.url}/{key}: the storage cannot be used ({reason}); {_REMEDY}")


_REMEDY = "check the bucket, the keys (AWS_ACCESS_KEY_ID, …) and the network, and rerun the same command"


def _opened(url: str) -> ObjectStore:
    if not url.startswith(SCHEMES) or not url.partition("://")[2].partition("/")[2]:
        raise RecipeError(f"--mirror {url}: give a bucket and a folder in it, such as s3://bucket/runs/mine")
    if find_spec("obstore") is None:
        raise RecipeError(f"--mirror {url}: object storage needs obstore: {extra_install('s3')}")
    from obstore.exceptions import BaseError
    from obstore.store import from_url

    options: Mapping[str, Any] = {
        "client_options": {
            "timeout": timedelta(seconds=REQUEST_SECONDS),
            "connect_timeout": timedelta(seconds=5),
            # A private server may have no certificate; its address says so.
            "allow_http": os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://"),
        },
        "retry_config": {"max_retries": 8, "retry_timeout": timedelta(seconds=TRYING_SECONDS)},
    }
    if url.startswith("s3://") and "AWS_ACCESS_KEY_ID" not in os.environ and find_spec("boto3") is not None:
        options = {**options, **_from_profile()}
    try:
        return from_url(url, **options)
    except (BaseError, OSError, ValueError) as error:
        raise RecipeError(f"--mirror {url}: {str(error).partition(chr(10))[0]}") from None


def _from_profile() -> Mapping[str, Any]:
    """Return what boto3 finds: ~/.aws/credentials, single sign-on. obstore itself knows variables and cloud roles."""
    import boto3
    from obstore.auth.boto3 import Boto3CredentialProvider

    session = boto3.session.Session()
    return {"credential_provider": Boto3CredentialProvider(session)} if session.get_credentials() else {}
