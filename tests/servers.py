"""A web server on this machine that behaves as badly as it is told to."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import re
import socket
import struct
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclasses.dataclass
class Reply:
    """How one request is answered; the defaults are those of a good server.

    Attributes:
        status: Status instead of 200 or 206; the body is empty then.
        headers: Headers besides, such as ``Location``.
        stop_after: Bytes of the body after which the connection ends; None sends all.
        stall_s: Silence before it ends, in seconds.
        reset: Whether it ends with a reset.
        length: Content-Length that is announced instead of the right one; -1 announces none.
        chunked: Whether the body comes in chunks, without an announced length.
        ignore_range: Whether the whole file is sent although a part is asked for.
        ignore_condition: Whether If-Range is passed over.
        etag: ETag instead of one that follows from the content; empty sends none.
    """

    status: int | None = None
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    stop_after: int | None = None
    stall_s: float = 0.0
    reset: bool = False
    length: int | None = None
    chunked: bool = False
    ignore_range: bool = False
    ignore_condition: bool = False
    etag: str | None = None


class Server(ThreadingHTTPServer):
    """Serves ``files``, by path; ``replies`` are those to the next requests, ``usual`` is the one afterwards."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.replies: list[Reply] = []
        self.usual = Reply()
        self.requests: list[dict[str, str]] = []
        self.closing = threading.Event()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"

    def ranges(self) -> list[str | None]:
        """What part each request asked for."""
        return [request.get("Range") for request in self.requests]

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that leave early are part of the game."""


@contextlib.contextmanager
def serving() -> Iterator[Server]:
    """A server that runs inside the ``with`` block."""
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.requests.append({"path": self.path, **self.headers})
        reply = self.server.replies.pop(0) if self.server.replies else self.server.usual
        content = self.server.files.get(self.path)
        if reply.status is not None or content is None:
            self._head(reply.status or 404, {"Content-Length": "0", **reply.headers})
            return
        etag = f'"{hashlib.sha256(content).hexdigest()[:16]}"' if reply.etag is None else reply.etag
        headers = {"ETag": etag} if etag else {}
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        holds = reply.ignore_condition or self.headers.get("If-Range", etag) == etag
        status, body = 200, content
        if asked and holds and not reply.ignore_range:
            start = int(asked[1])
            if start >= len(content):
                self._head(416, {"Content-Length": "0", "Content-Range": f"bytes */{len(content)}"})
                return
            status, body = 206, content[start:]
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        if reply.chunked:
            headers["Transfer-Encoding"] = "chunked"
        elif reply.length != -1:
            headers["Content-Length"] = str(len(body) if reply.length is None else reply.length)
        self._head(status, {**headers, **reply.headers})
        self._send(body[: reply.stop_after], reply.chunked)
        if reply.stall_s:
            self.server.closing.wait(reply.stall_s)
        if reply.chunked and reply.stop_after is None:
            self.wfile.write(b"0\r\n\r\n")
        if reply.reset:
            self.wfile.flush()
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.protocol_version = "HTTP/1.1"
        self.close_connection = True
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _send(self, body: bytes, chunked: bool) -> None:
        for start in range(0, len(body), 4096):
            piece = body[start : start + 4096]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""
