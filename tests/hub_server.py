"""A real HTTP server on loopback that keeps what is uploaded to it, by the hub's API."""

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class HubServer:
    def __init__(self, *, private=True, refuses=False):
        self.private, self.refuses = private, refuses
        self.created, self.files, self.large, self.tokens = [], {}, {}, set()
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
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
