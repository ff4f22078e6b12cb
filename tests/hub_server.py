"""A real HTTP server on loopback that keeps what is uploaded to it, and serves folders, by the hub's API."""

import base64
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "c" * 40


class HubServer:
    def __init__(self, *, private=True, refuses=False, holds=None):
        """
        Args:
            holds: folders by the names of the models that they are.
        """
        self.private, self.refuses, self.holds = private, refuses, holds or {}
        self.created, self.files, self.large, self.tokens = [], {}, {}, set()
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self):
                self.do_GET()

            def do_GET(self):
                if file := re.fullmatch(r"/(\w+/\w+)/resolve/\w+/(.+)", self.path):
                    return self.serve(hub.holds[file[1]] / file[2])
                if named := re.match(r"/api/models/(\w+/\w+)/(?:revision|tree)/", self.path):
                    return self.describe(named[1], sorted(hub.holds[named[1]].iterdir()))
                self.reply({"id": "me/mine", "private": hub.private, "siblings": [], "tags": []})

            def do_PUT(self):
                hub.large[self.path.rpartition("/")[2]] = self.body()
                self.reply({})

            def do_POST(self):
                hub.tokens.add(self.headers.get("Authorization"))
                body = self.body()
                if hub.refuses:
                    self.reply({"error": "You are not allowed to write here"}, 403)
                elif self.path.endswith("/create"):
                    hub.created.append(json.loads(body))
                    self.reply({"url": f"{hub.url}/me/mine", "name": "me/mine", "id": "me/mine"})
                elif "/preupload/" in self.path:
                    self.reply({"files": [self.mode(file["path"]) for file in json.loads(body)["files"]]})
                elif self.path.endswith("/objects/batch"):
                    objects = json.loads(body)["objects"]
                    self.reply({"transfer": "basic", "objects": [self.place(one) for one in objects]})
                elif "/commit/" in self.path:
                    for line in map(json.loads, body.splitlines()):
                        self.keep(**line)
                    self.reply({"commitUrl": f"{hub.url}/me/mine/commit/0", "commitOid": "0"})
                else:
                    self.reply({})  # the check of the card's metadata

            def describe(self, name, paths):
                tree = [{"type": "file", "path": one.name, "size": one.stat().st_size, "oid": "0"} for one in paths]
                listed = {"id": name, "sha": COMMIT, "siblings": [{"rfilename": one.name} for one in paths]}
                self.reply(tree if "/tree/" in self.path else listed)

            def serve(self, path):
                data = path.read_bytes() if path.exists() else b""
                self.send_response(200 if path.exists() else 404)
                if not path.exists():
                    self.send_header("X-Error-Code", "EntryNotFound")
                self.send_header("X-Repo-Commit", COMMIT)
                self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(data)

            def mode(self, path):
                mode = "lfs" if path.endswith((".safetensors", ".gguf")) else "regular"
                return {"path": path, "uploadMode": mode, "shouldIgnore": False}

            def place(self, one):
                return {**one, "actions": {"upload": {"href": f"{hub.url}/lfs/{one['oid']}"}}}

            def keep(self, key, value):
                if key == "file":
                    hub.files[value["path"]] = base64.b64decode(value["content"])
                elif key == "lfsFile":
                    hub.files[value["path"]] = hub.large[value["oid"]]

            def body(self):
                if self.headers.get("Transfer-Encoding") != "chunked":
                    return self.rfile.read(int(self.headers.get("Content-Length", 0)))
                read = b""
                while size := int(self.rfile.readline(), 16):
                    read += self.rfile.read(size)
                    self.rfile.readline()
                self.rfile.readline()
                return read

            def reply(self, value, status=200):
                data = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *raised):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
