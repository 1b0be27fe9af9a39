"""Downloading one file over HTTP: resumes where it was cut off, retries, and checks lengths.

This uses urllib and not pooch, the usual library for scientific data: pooch starts again from the
first byte whenever a connection drops, so a file of 8 GB might never arrive.
"""

from __future__ import annotations

import errno
import http.client
import re
import shutil
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from spion_bench import __version__
from spion_bench.datasets.partial import Source, discard, notes_of, resume_point, size_of
from spion_bench.records.quote import quote

Progress = Callable[[int, int | None], None]
"""Called with the bytes there are so far and, where known, the bytes there will be."""

SPARE_BYTES = 256 << 20  # a full disk would also break other programs

_CHUNK_BYTES = 1 << 17
_LONGEST_WAIT_S = 60.0
_LENGTH = "([0-9]{1,15})"  # bytes; less than a petabyte
_BUSY = {408, 425, 429, 500, 502, 503, 504}  # statuses that may pass
_RANGE_NOT_SATISFIABLE = 416
_PASSING = (ConnectionError, TimeoutError, http.client.HTTPException, urllib.error.URLError)


class _WrongPartError(http.client.HTTPException):
    """The server sent a different part of the file than the one asked for."""


class DownloadError(OSError):
    """A file could not be downloaded; the message says which, why, and how to get it otherwise."""


@dataclass(frozen=True)
class Patience:
    """How long to keep trying.

    Attributes:
        attempts: Attempts in a row without a new byte before the download is given up.
        first_wait_s: Wait before the second attempt; it doubles each time, up to a minute.
        timeout_s: Time without a byte after which a connection is given up.
        least_speed: Bytes per second, over ``speed_window_s``; a slower connection is given up.
            So are, as the last one is, ``attempts`` in a row that were too slow.
        speed_window_s: Time over which the speed is measured.
    """

    attempts: int = 5
    first_wait_s: float = 1.0
    timeout_s: float = 30.0
    least_speed: float = 1000.0
    speed_window_s: float = 60.0


DEFAULT_PATIENCE = Patience()


class _TooSlowError(ConnectionError):
    """Bytes arrive, but so few that the file would never be whole."""


def download(
    url: str,
    partial: Path,
    *,
    size: int | None = None,
    patience: Patience = DEFAULT_PATIENCE,
    on_progress: Progress = lambda done, total: None,
) -> bool:
    """Download ``url`` to ``partial``, whose bytes from an earlier, interrupted call are kept.

    A partial file is continued only if the server says (``If-Range``) that it still has the same
    version; otherwise it is downloaded from its first byte. ``<partial>.json`` stores that
    version.

    Args:
        url: An ``http`` or ``https`` address.
        partial: Where the bytes go; the caller checks and renames it.
        size: Bytes expected, where known.
        patience: How long to keep trying.
        on_progress: Called after every chunk.

    Returns:
        Whether bytes of an earlier call or connection were used.

    Raises:
        ValueError: If ``url`` is no such address.
        DownloadError: If the server has no such file or a different size, cannot be reached, or is
            too slow.
        OSError: If the disk is full or not writable.
    """
    check_address(url)
    failures = 0
    while True:
        before = size_of(partial)
        try:
            return _fetch_rest(url, partial, size, patience, on_progress)
        except _PASSING as error:
            problem = _lasting_problem(error)
            has_grown = size_of(partial) > before and not isinstance(error, _TooSlowError)
            failures = 0 if has_grown else failures + 1
            if problem or failures >= patience.attempts:
                raise DownloadError(f"{url}: {problem or _describe(error)}") from error
            time.sleep(min(patience.first_wait_s * 2**failures, _LONGEST_WAIT_S))


def check_address(url: str) -> str:
    """Return the host of an ``http`` or ``https`` address.

    Raises:
        ValueError: If ``url`` is no such address.
    """
    try:
        parts = urllib.parse.urlsplit(url)
        is_complete = parts.scheme in ("http", "https") and bool(parts.hostname)
        is_plain = url.isascii() and url.isprintable() and " " not in url
        (parts.hostname or "").encode("idna")
        _ = parts.port  # raises for what is no number
    except ValueError:
        is_complete = is_plain = False
    if not (is_complete and is_plain):
        raise ValueError(f"url: expected an http or https address, got {quote(url)}")
    return parts.hostname or ""


def check_disk(folder: Path, needed: int) -> None:
    """Raise OSError if ``folder`` has no room for ``needed`` bytes and some to spare."""
    free = shutil.disk_usage(folder).free
    if free < needed + SPARE_BYTES:
        raise OSError(
            errno.ENOSPC,
            f"{needed / 1e9:.2f} GB are needed, {free / 1e9:.2f} GB are free; make room or choose "
            "another --data-dir",
            str(folder),
        )


def _fetch_rest(
    url: str, partial: Path, size: int | None, patience: Patience, on_progress: Progress
) -> bool:
    """Make one request for what is missing; return whether earlier bytes were used."""
    start, known = resume_point(url, partial)
    if known is not None and start == known.total:
        on_progress(start, start)
        return True
    # S310: the address was checked, and the opener speaks nothing but HTTP.
    request = urllib.request.Request(url, headers=_headers(start, known))  # noqa: S310
    try:
        with _opener().open(request, timeout=patience.timeout_s) as response:
            start = start if response.status == http.client.PARTIAL_CONTENT else 0
            source = _examine(url, response, start, known, size)
            check_disk(partial.parent, source.total - start)
            if start == 0:
                discard(partial)  # before new notes are written: notes must match the bytes
            notes_of(partial).write_text(source.model_dump_json(), encoding="utf-8")
            _copy(response, partial, start, source.total, patience, on_progress)
    except _WrongPartError:
        discard(
            partial
        )  # this server's parts cannot be used: the next attempt takes the whole file
        raise
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == _RANGE_NOT_SATISFIABLE:
            discard(partial)
        raise
    return start > 0


def _headers(start: int, known: Source | None) -> dict[str, str]:
    headers = {"User-Agent": f"spion_bench/{__version__}", "Accept-Encoding": "identity"}
    if known is not None and known.validator:
        headers |= {"Range": f"bytes={start}-", "If-Range": known.validator}
    return headers


def _opener() -> urllib.request.OpenerDirector:
    """Return an opener for HTTP only: a redirect cannot lead to a file or to FTP."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener


def _examine(
    url: str,
    response: http.client.HTTPResponse,
    start: int,
    known: Source | None,
    size: int | None,
) -> Source:
    """Check what the server is about to send; return what it belongs to."""
    if "text/html" in (response.headers.get("Content-Type") or ""):
        raise DownloadError(f"{url}: the server sent a web page, not the file")
    total = _total_length(response, start)
    if total is None:
        raise DownloadError(
            f"{url}: the server does not state the file's length, so a broken download could not "
            "be detected"
        )
    if size is not None and total != size:
        raise DownloadError(f"{url}: expected {size} bytes, the server offers {total}")
    if start and known is not None and total != known.total:
        raise _WrongPartError(f"the file's length changed from {known.total} to {total}")
    etag = response.headers.get("ETag")
    is_strong = etag is not None and not etag.startswith("W/")
    validator = etag if is_strong else response.headers.get("Last-Modified")
    return Source(url=url, validator=validator, total=total)


def _total_length(response: http.client.HTTPResponse, start: int) -> int | None:
    if response.status == http.client.PARTIAL_CONTENT:
        found = re.fullmatch(
            rf"bytes {_LENGTH}-{_LENGTH}/{_LENGTH}", response.headers.get("Content-Range") or ""
        )
        if found is None or int(found[1]) != start:
            raise _WrongPartError(
                f"asked for bytes from {start}, got "
                f"{quote(response.headers.get('Content-Range') or '')}"
            )
        return int(found[3])
    length = response.headers.get("Content-Length")
    return int(length) if length and re.fullmatch(_LENGTH, length) else None


def _copy(
    response: http.client.HTTPResponse,
    partial: Path,
    start: int,
    total: int,
    patience: Patience,
    on_progress: Progress,
) -> None:
    done = start
    window_start, window_done = time.monotonic(), done
    with open(partial, "r+b" if start else "wb") as file:
        file.seek(start)
        on_progress(done, total)
        # read1 returns what has arrived; read would wait for a whole chunk, however slow it is.
        while chunk := response.read1(min(_CHUNK_BYTES, total - done)):
            file.write(chunk)
            done += len(chunk)
            on_progress(done, total)
            if (seconds := time.monotonic() - window_start) >= patience.speed_window_s:
                speed, least = (done - window_done) / seconds, patience.least_speed
                if speed < least and done < total:
                    raise _TooSlowError(
                        f"{speed:.0f} bytes per second, expected {least:.0f} or more"
                    )
                window_start, window_done = time.monotonic(), done
    if done < total:
        raise ConnectionError(f"the connection ended after {done} of {total} bytes")


def _lasting_problem(error: Exception) -> str | None:
    """Return what is wrong if trying again cannot help, else None."""
    if isinstance(error, urllib.error.HTTPError):
        if error.code in _BUSY or error.code == _RANGE_NOT_SATISFIABLE:
            return None
        return _describe(error)
    reason = getattr(error, "reason", None)
    return str(reason) if isinstance(reason, ssl.SSLCertVerificationError) else None


def _describe(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"the server answered {error.code} {error.reason}"
    if isinstance(error, urllib.error.URLError):
        return f"the server cannot be reached: {error.reason}"
    return f"the connection broke: {error}"
