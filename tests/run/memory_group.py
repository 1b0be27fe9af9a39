"""A control group whose processes the system kills once they hold too much memory."""

import contextlib
import os
import time
import uuid
from pathlib import Path

GROUPS = Path("/sys/fs/cgroup")


class NoGroupError(Exception):
    """No group can be made here; the message says what was tried."""


@contextlib.contextmanager
def memory_group(limit):
    """Yield the file that takes the numbers of processes which may hold ``limit`` bytes together.

    Memory that a process held before it came is not counted. The group lies within the groups of
    this process, whose limits stay in force, and is removed at the end.

    Raises:
        NoGroupError: Where this account may not make a group, or there are no such groups.
    """
    group, limit_name = _place()
    try:
        group.mkdir()
    except OSError as error:
        raise NoGroupError(f"mkdir {group}: {error.strerror}") from error
    try:
        try:
            (group / limit_name).write_text(str(limit))
        except OSError as error:
            raise NoGroupError(f"write {group / limit_name}: {error.strerror}") from error
        with contextlib.suppress(OSError):  # only where the kernel counts swapped memory
            (group / "memory.swap.max").write_text("0")
        yield group / "cgroup.procs"
    finally:
        _remove(group)


def _place():
    """Return where a group may be made and the name of its limit: version 1's, else version 2's."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError as error:
        raise NoGroupError(f"/proc/self/cgroup: {error.strerror}") from error
    name = f"spion-bench-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    own = {controllers: path for _, controllers, path in (line.split(":", 2) for line in lines)}
    if "memory" in own:
        return GROUPS / "memory" / own["memory"].lstrip("/") / name, "memory.limit_in_bytes"
    if "" not in own:
        raise NoGroupError("/proc/self/cgroup names no group that limits memory")
    # A group of version 2 with processes has no groups below it, so this one stands next to it.
    return GROUPS / Path(own[""]).parent.relative_to("/") / name, "memory.max"


def _remove(group):
    """Remove a group; its processes may take a moment to be gone."""
    for _ in range(100):
        with contextlib.suppress(OSError):
            return group.rmdir()
        time.sleep(0.05)
    return group.rmdir()
