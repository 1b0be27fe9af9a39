"""A web server for tests that serves a dictionary and misbehaves when asked to."""

from __future__ import annotations

import contextlib
import http.server
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Fault:
    """How one answer goes wrong.

    Attributes:
        drop_after: The connection ends after so many bytes of the body.
        status: This status instead of the file.
        ignore_range: The whole file, whatever part was asked for.
        shift: A partial answer starts so many bytes after what was asked for.
        drip_s: The body comes byte by byte, with this time between two of them.
        headers: Replace those of the answer; None leaves one out.
    """

    drop_after: int | None = None
    status: int | None = None
    ignore_range: bool = False
    shift: int = 0
    drip_s: float = 0.0
    headers: dict[str, str | None] = field(default_factory=dict)


class Server(http.server.ThreadingHTTPServer):
    """Serves ``files``; the n-th request meets the n-th of ``faults``, later ones none."""

    daemon_threads = False  # so that closing waits for the last answer
    block_on_close = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.faults: list[Fault] = []
        self.ranges: list[str | None] = []  # asked for, by request
        self.etag = '"one"'

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        fault = self.server.faults.pop(0) if self.server.faults else Fault()
        asked = self.headers.get("Range")
        self.server.ranges.append(asked)
        content = self.server.files.get(self.path.removeprefix("/"))
        if fault.status is not None or content is None:
            self._answer(fault.status or 404, {"Content-Length": "0", **fault.headers})
            return
        is_same = self.headers.get("If-Range") in (None, self.server.etag)
        start = 0
        headers: dict[str, str | None] = {"Content-Type": "application/octet-stream"}
        if asked and is_same and not fault.ignore_range:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(content):
                self._answer(416, {"Content-Length": "0"})
                return
            first = start + fault.shift
            headers["Content-Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
        body = content[start:]
        headers |= {"Content-Length": str(len(body)), "ETag": self.server.etag, **fault.headers}
        self._answer(206 if "Content-Range" in headers else 200, headers)
        body = body[: fault.drop_after]
        if not fault.drip_s:
            self.wfile.write(body)
            return
        with contextlib.suppress(ConnectionError):  # a client that does not wait for the end
            for number in range(len(body)):
                self.wfile.write(body[number : number + 1])
                time.sleep(fault.drip_s)

    def _answer(self, status: int, headers: dict[str, str | None]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        """Stay quiet."""


@contextmanager
def serving() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
