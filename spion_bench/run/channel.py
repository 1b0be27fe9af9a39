"""The worker's end of the pipes to its runner; no torch."""

from __future__ import annotations

import os
import queue
import signal
import threading
from collections.abc import Callable, Iterable
from typing import Any, TextIO

from spion_bench.records.cell import Stored
from spion_bench.run.messages import REQUESTS


def end_group() -> None:
    """Kill this worker and what it started, in the middle of whatever runs."""
    os.killpg(0, signal.SIGKILL)


class Channel:
    """The worker's end of the pipes.

    Args:
        requests: Lines of requests.
        events: Where events go.
        on_end: Called once there are no more requests, as the runner is gone.
    """

    def __init__(
        self, requests: Iterable[bytes], events: TextIO, on_end: Callable[[], None] = end_group
    ) -> None:
        self._events = events
        self._on_end = on_end
        self._requests: queue.Queue[Any] = queue.Queue()
        threading.Thread(target=self._listen, args=(requests,), daemon=True).start()

    def receive(self) -> Any:
        """Wait for the next request, one of ``messages.Request``."""
        return self._requests.get()

    def send(self, event: Stored) -> None:
        """Send one event."""
        self._events.write(event.model_dump_json() + "\n")
        self._events.flush()

    def _listen(self, requests: Iterable[bytes]) -> None:
        for line in requests:
            self._requests.put(REQUESTS.validate_json(line))
        self._on_end()
