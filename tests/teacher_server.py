"""A real HTTP server on loopback that plays a teacher by a script and records its requests, and ways to ask it."""

import contextlib
import json
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import chain

from srit.records import Problem
from srit.stages.demonstrations import answered
from srit.teachers import Question
from srit.teachers.openai.endpoint import Endpoint
from srit.teachers.openai.teacher import OpenAITeacher
from srit.teachers.paid import Paid

KEY = "sk-canary-0123456789"


def answer(text="6 * 3 = 18. The answer is 18.", finish="stop", **more):
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
    usage = {"prompt_tokens": 7, "completion_tokens": 9, "total_tokens": 16}
    return {
        "id": "x",
        "object": "chat.completion",
        "created": 0,
        "model": "m",
        "choices": [choice],
        "usage": usage,
        **more,
    }


class Reply:
    """What the server does with one request."""

    def __init__(self, body=None, *, status=200, headers=(), cut=False, drip=0.0, reset=False):
        self.body = body if isinstance(body, bytes) else json.dumps(answer() if body is None else body).encode()
        self.status, self.headers, self.cut, self.drip, self.reset = status, dict(headers), cut, drip, reset


def failing_for(word, reply, otherwise=None):
    """A default that sends `reply` to the questions with a word, and answers all others."""

    def answered(body):
        prompt = body["messages"][0]["content"]
        return reply if word in prompt else otherwise or Reply(answer(f"{prompt} The answer is 2."))

    return answered


class TeacherServer:
    def __init__(self, script=()):
        self.script = list(script)  # replies to the first requests; then `default`
        self.default = Reply()
        self.requests = []
        lock, teacher = threading.Lock(), self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with lock:
                    teacher.requests.append(
                        (time.monotonic(), {name.lower(): value for name, value in self.headers.items()}, body)
                    )
                    reply = teacher.script.pop(0) if teacher.script else teacher.default
                if callable(reply):
                    reply = reply(body)
                if reply.reset:
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(reply.body) + 50 * reply.cut))
                self.send_header("Connection", "close")
                self.end_headers()
                with contextlib.suppress(OSError):  # the client may hang up, as it should
                    self._send(reply)

            def _send(self, reply):
                if not reply.drip:
                    self.wfile.write(reply.body)
                    return
                for byte in reply.body:
                    self.wfile.write(bytes([byte]))
                    self.wfile.flush()
                    time.sleep(reply.drip)

            def log_message(self, *arguments):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def close(self):
        self._server.shutdown()
        self._server.server_close()


def questions(n=1):
    return [Question(Problem(f"p{i}", "sums", "train", f"{i} + 1?", "2"), f"What is {i} + 1?") for i in range(n)]


def asked(server, n=1, **settings):
    """The answers of a server to n questions, asked one at a time unless `settings` say otherwise."""
    defaults = {"concurrency": 1, "deadline_seconds": 5.0, "give_up_seconds": 5.0, "first_wait_seconds": 0.01}
    return each_of(OpenAITeacher(Endpoint(server.url, "m", **defaults | settings)).answer(questions(n)))


def each_of(arriving):
    """The answers of a teacher that yields those that come together as a list."""
    return list(chain.from_iterable(arriving))


def stored_answers():
    """An empty store of answers that lasts for one test."""
    kept = {}

    def keep(came):
        for key, one in came:
            kept.setdefault(key, []).append(one)

    return Paid(kept, keep, (), set())


def ask(questions, teacher, paid):
    """The answers by problem."""
    return {question.problem.id: answer for question, answer in answered(questions, teacher, paid)}
