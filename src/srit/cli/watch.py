"""A run's report while the run goes on, served only to browsers on this machine."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock

from srit.errors import SritError
from srit.finished import page
from srit.recipe.begun import begun_recipe
from srit.run_directory import MANIFEST
from srit.stages.report import News

HOST = "127.0.0.1"


class Watched:
    """A run's page, made again whenever the run has made something."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = Lock()
        self._made: tuple[str, bytes] = ("", b"")

    def news(self) -> News:
        """Return how far the run has come."""
        manifest = self._folder / MANIFEST
        data = manifest.read_bytes() if manifest.exists() else b""
        return News(hashlib.sha256(data).hexdigest()[:16], _doing(self._folder))

    def page(self) -> bytes:
        """Return the current page.

        Raises:
            SritError: a file of the run is damaged.
        """
        with self._lock:
            news = self.news()
            if self._made[0] != news.version:
                self._made = (news.version, page(self._folder, live=news).encode())
            return self._made[1]


def server_of(folder: Path, port: int) -> ThreadingHTTPServer:
    """Return a server for a run's page that other machines cannot reach.

    Raises:
        RecipeError: no run was started in the folder.
        OSError: the port is taken.
    """
    begun_recipe(folder)
    return ThreadingHTTPServer((HOST, port), partial(_Handler, Watched(folder)))


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, watched: Watched, *arguments: object) -> None:
        self._watched = watched
        super().__init__(*arguments)  # type: ignore[arg-type]

    def handle(self) -> None:
        """Answer one request, unless the browser has gone."""
        with suppress(ConnectionError):
            super().handle()

    def do_GET(self) -> None:
        """Answer with the page, or with the news."""
        # Another site's page can make its name resolve to this machine, but cannot send this machine's name.
        if self.headers.get("Host", "").rpartition(":")[0] not in (HOST, "localhost"):
            return self._answer(403, "text/plain", b"srit watch answers only to this machine")
        try:
            if self.path == "/state":
                return self._answer(200, "application/json", json.dumps(self._watched.news()._asdict()).encode())
            if self.path == "/":
                return self._answer(200, "text/html", self._watched.page())
        except (SritError, OSError) as error:
            return self._answer(500, "text/plain", str(error).encode(errors="replace"))
        return self._answer(404, "text/plain", b"there is only one page")

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        headers = {"Content-Type": f"{kind}; charset=utf-8", "Content-Length": str(len(body))}
        guarded = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
        for name, value in {**headers, **guarded, "Cross-Origin-Resource-Policy": "same-origin"}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Do not log requests."""


def _doing(folder: Path) -> str:
    """Say which stage a run is making."""
    if not _is_open(folder / ".lock"):
        if (folder / "results.json").exists():
            return "The run is done."
        return "No process on this machine is making this run: rerun its command to continue."
    begun = {path: _changed(path) for path in (folder / ".partial").glob("*/*")}
    if not begun:
        return "The run is working."
    return f"The run is making {max(begun, key=lambda path: begun[path]).parent.name}."


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # the stage has ended meanwhile
        return 0.0


def _is_open(lock: Path) -> bool:
    """Return whether a process holds a run's lock. Trying the lock could make a starting run fail."""
    if not lock.exists():
        return False
    number = lock.stat().st_ino
    held = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    return any(fields[1] == "FLOCK" and fields[5].endswith(f":{number}") for fields in held if len(fields) > 5)
