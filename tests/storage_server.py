"""A real server of object storage on loopback (moto's), which can be told to fail."""

import socket
import threading
import time
import urllib.request

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

VARIABLES = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
}


class _Quiet(WSGIRequestHandler):
    def log_request(self, *args):
        pass

    def log(self, *args):
        pass


class StorageServer:
    def __init__(self):
        self.fault = lambda method, path: None  # or "500", "hangs", "lost": done, and the answer does not arrive
        self.requests = []
        self._app = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True, request_handler=_Quiet)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.port}"
        self.variables = {**VARIABLES, "AWS_ENDPOINT_URL": self.url}

    def bucket(self, name):
        urllib.request.urlopen(urllib.request.Request(f"{self.url}/{name}", method="PUT")).close()

    def close(self):
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, environ, start_response):
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        self.requests.append((method, path))
        fault = self.fault(method, path)
        if fault == "500":
            start_response("500 Internal Server Error", [("Content-Length", "0")])
            return [b""]
        if fault == "hangs":
            time.sleep(5)
        if fault == "lost":
            self._app(environ, lambda *args: None)
        if fault:
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            raise ConnectionAbortedError
        return self._app(environ, start_response)


class Once:
    """Fails for the first request, or the first few, that do something."""

    def __init__(self, fault, method, part, n=1):
        self._fault, self._method, self._part, self._left = fault, method, part, n

    def __call__(self, method, path):
        if method != self._method or self._part not in path or not self._left:
            return None
        self._left -= 1
        return self._fault
