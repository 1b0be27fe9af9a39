"""Files and folders that cannot be read, also where the tests run as root."""

import ctypes
import os
from contextlib import contextmanager

_VERSION_3 = 0x20080522
_READS_EVERYTHING = 0b110  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH


class _Header(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _Data(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint32) for name in ("effective", "permitted", "inheritable")]


@contextmanager
def unreadable(path):
    """Nobody may read ``path`` in this thread; see capset(2)."""
    libc, header, data = ctypes.CDLL(None, use_errno=True), _Header(_VERSION_3, 0), (_Data * 2)()
    assert libc.capget(ctypes.byref(header), data) == 0
    before, mode = data[0].effective, path.stat().st_mode
    path.chmod(0)
    data[0].effective &= ~_READS_EVERYTHING
    try:
        assert libc.capset(ctypes.byref(header), data) == 0
        assert not os.access(path, os.R_OK, effective_ids=True)
        yield
    finally:
        data[0].effective = before
        assert libc.capset(ctypes.byref(header), data) == 0
        path.chmod(mode)
