"""A teacher's server that fails in 17 ways as one seed says, and keeps a ledger of what it was asked and delivered.

`python ledger_server.py SEED LEDGER` prints its port. What it does with a request depends on the seed, the question and
how often it was asked, and on nothing else, so that a seed replays.
"""

import asyncio
import gzip
import json
import sys
from random import Random

SHARE = 0.3  # of the requests that fail
REFUSED = 0.004  # of the questions, at each try
LIMITED = 0.0005  # of the requests: all have to wait a second

FAULTS = {
    "429 without a time": (429, [], b"{}"),
    "429 with garbage": (429, [("Retry-After", "soon")], b"{}"),
    "429 with a negative time": (429, [("Retry-After", "-5")], b"{}"),
    "500": (500, [], b'{"error": "x"}'),
    "502": (502, [], b"<html>bad gateway</html>"),
    "503 with a time": (503, [("Retry-After", "1")], b""),
    "529": (529, [], b"overloaded"),
    "an error inside status 200": (200, [], b'{"error": {"message": "upstream went away", "code": 502}}'),
    "HTML": (200, [], b"<html>hello</html>"),
    "null": (200, [], b"null"),
    "no choice": (200, [], b'{"choices": []}'),
    "no content": (200, [], b'{"choices": [{"message": {"content": null}}]}'),
    "cut JSON": (200, [], b'{"choices": [{"message": {"content": "6 * 3'),
    "bad UTF-8": (200, [], b'{"choices": "\xff"}'),
    "a zipped bomb": (200, [("Content-Encoding", "gzip")], gzip.compress(b" " * (17 << 20))),
    "a reset": None,
    "a short body": None,
}


def fault(seed, question, tries):
    """Return what happens to a request; "" for an answer."""
    draw = Random(f"{seed}/{question}/{tries}")
    if Random(f"{seed}/{question}").random() < REFUSED:
        return "refused"
    if draw.random() < LIMITED:
        return "limited"
    return draw.choice(list(FAULTS)) if draw.random() < SHARE else ""


class Server:
    def __init__(self, seed, ledger):
        self._seed, self._ledger, self._tries = seed, ledger, {}

    async def serve(self):
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()

    async def _connected(self, reader, writer):
        try:
            while await self._answer(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _answer(self, reader, writer):
        """Answer a request; return whether the connection stays."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.split("content-length:")[1].split("\r\n")[0])
        body = json.loads(await reader.readexactly(length))
        question = body["messages"][0]["content"].split()[2]
        tries = self._tries[question] = self._tries.get(question, 0) + 1
        kind = fault(self._seed, question, tries)
        self._write(question, tries, kind, "asked")
        if kind == "a reset":
            writer.transport.abort()
            return False
        status, headers, data = self._reply(kind, question)
        length = len(data) + 50 * (kind == "a short body")
        lines = [f"HTTP/1.1 {status} X", f"Content-Length: {length}", *(f"{name}: {value}" for name, value in headers)]
        writer.write("\r\n".join([*lines, "", ""]).encode() + data)
        await writer.drain()
        if not kind:
            self._write(question, tries, kind, "delivered")
        return kind != "a short body"

    def _reply(self, kind, question):
        if kind == "refused":
            return 400, [], b'{"error": {"message": "flagged by the filter"}}'
        if kind == "limited":
            return 429, [("Retry-After", "1")], b"{}"
        if FAULTS.get(kind) is not None:
            return FAULTS[kind]
        choice = {"message": {"content": f"Half of {question} and so on. The answer is 2."}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 7, "completion_tokens": 9}
        return 200, [], json.dumps({"model": "m", "choices": [choice], "usage": usage}).encode()

    def _write(self, question, tries, kind, what):
        self._ledger.write(json.dumps([question, tries, kind, what]).encode() + b"\n")


if __name__ == "__main__":
    seed, ledger = sys.argv[1:]
    with open(ledger, "wb", buffering=0) as file:
        asyncio.run(Server(seed, file).serve())
