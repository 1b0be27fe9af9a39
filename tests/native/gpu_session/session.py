"""Running the parts: each in its turn, with a limit, remembered once it is done."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from spion_bench.measure.checkout import read_checkout
from spion_bench.records.files import replace_file
from spion_bench.suite.influence import PACKAGE
from spion_bench.suite.passes import PASSES
from tests import ROOT
from tests.native.gpu_session.parts import Part

REHEARSAL_PROFILE = "tiny"
LEAST_S = 20  # a part with less time than this left is not begun
GRACE_S = 15  # from the request to stop until the kill
SHOWN_LINES = 6
PUBLISHED = ("records.jsonl", "artifacts")


@dataclass
class Session:
    """One folder of results, filled part by part.

    Attributes:
        out: The folder.
        rehearse: Whether the parts run on the CPU, with the profile ``tiny`` and without tools.
        seconds: What all parts together may take, or None.
        threads: CPU threads of what is measured.
    """

    out: Path
    rehearse: bool = False
    seconds: float | None = None
    threads: int = 4
    done: dict[str, dict[str, object]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.out.mkdir(parents=True, exist_ok=True)
        self._file = self.out / "parts.json"
        if self._file.is_file():
            self.done = json.loads(self._file.read_text(encoding="utf-8"))
        checkout = read_checkout(PACKAGE)
        self._code = f"{checkout.sha} {checkout.dirty}"
        self._began = time.monotonic()

    def run(self, parts: tuple[Part, ...]) -> int:
        """Run what is not done; return how many parts did not end well."""
        for part in parts:
            self._run(part)
            replace_file(self._file, json.dumps(self.done, indent=1).encode())
            self._collect(part)
        self._collect_readme(parts)
        return sum(self.done[part.name]["status"] not in ("ok", "missing") for part in parts)

    def command(self, part: Part) -> list[str]:
        """Return what a part runs."""
        words = [sys.executable, *part.command]
        if self.rehearse and part.rehearsal:
            words = [sys.executable, *part.rehearsal]
        elif not self.rehearse:
            words = [*part.tool, *words]
            if part.name == "ncu":
                words[len(part.tool) : len(part.tool)] = ["--export", str(self.out / "attention")]
        if part.measures:
            device = "cpu" if self.rehearse else "cuda"
            profile = REHEARSAL_PROFILE if self.rehearse else part.profile
            words += ["--profile", profile, "--device", device, "--threads", str(self.threads)]
            words += ["--out", str(self.out / "runs" / part.name)]
        return words

    def missing(self, part: Part) -> str | None:
        """Return what this machine or checkout lacks for a part, or None."""
        if part.needs_pass and part.needs_pass not in PASSES:
            return f"there is no pass {part.needs_pass!r} in this checkout"
        if part.tool and not self.rehearse and shutil.which(part.tool[0]) is None:
            return f"no {part.tool[0]} on PATH; it is part of the CUDA toolkit"
        return None

    def _run(self, part: Part) -> None:
        command = self.command(part)
        key = hashlib.sha256(json.dumps([command, self._code]).encode()).hexdigest()[:16]
        before = self.done.get(part.name)
        if before is not None and before["status"] == "ok" and before["key"] == key:
            self._say(part, "done before")
            return
        reason, left = self.missing(part), self._left()
        if reason is not None:
            found = {"status": "missing", "reason": reason, "seconds": 0.0}
        elif left < LEAST_S:
            found = {"status": "skipped", "reason": "no time left", "seconds": 0.0}
        else:
            found = self._execute(part, command, min(part.limit_s, left))
        self.done[part.name] = {**found, "key": key, "command": command}
        reason = f": {found['reason']}" if found["reason"] else ""
        self._say(part, f"{found['status']}, {found['seconds']:.0f} s{reason}")

    def _execute(self, part: Part, command: list[str], limit_s: float) -> dict[str, object]:
        log = self.out / "logs" / f"{part.name}.log"
        log.parent.mkdir(exist_ok=True)
        self._say(part, f"{part.answers} (at most {limit_s:.0f} s)")
        began = time.monotonic()
        variables = {"GPU_SESSION_OUT": str(self.out.resolve()), **dict(part.variables)}
        variables["GPU_SESSION_DEVICE"] = "cpu" if self.rehearse else "cuda"
        with log.open("wb") as file:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **variables},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                code, reason = process.wait(limit_s), ""
            except subprocess.TimeoutExpired:
                code, reason = -1, f"stopped at its limit of {limit_s:.0f} s"
            finally:
                _end(process)
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        print(*(line[:160] for line in lines[-SHOWN_LINES:]), sep="\n", flush=True)
        if code > 0:
            reason = f"exit code {code}; see {log}"
        status = "ok" if code == 0 else "limit" if code == -1 else "failed"
        return {"status": status, "reason": reason, "seconds": time.monotonic() - began}

    def _left(self) -> float:
        if self.seconds is None:
            return float("inf")
        return self.seconds - (time.monotonic() - self._began)

    def _collect(self, part: Part) -> None:
        """Copy a part's records to where they are ready for ``results/records/<machine>/``."""
        source = self.out / "runs" / part.name
        if not part.measures or not (source / "records.jsonl").is_file():
            return
        target = self.published / f"gpu-{part.name}"
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        shutil.copy2(source / "records.jsonl", target)
        if (source / "artifacts").is_dir():
            shutil.copytree(source / "artifacts", target / "artifacts")

    @property
    def published(self) -> Path:
        """The folder to be copied into ``results/records``, named as the machine."""
        return self.out / "records" / ("rehearsal" if self.rehearse else machine_slug())

    def _collect_readme(self, parts: tuple[Part, ...]) -> None:
        lines = [
            "# A GPU session",
            "",
            f"{time.strftime('%Y-%m-%d', time.gmtime())}, commit and tree: {self._code}. What the "
            "records say of driver, torch and compiler is in each of them.",
            "",
            "| Part | What it answers | How it ended | Seconds |",
            "|---|---|---|---:|",
        ]
        for part in parts:
            found = self.done[part.name]
            ended = f"{found['status']}: {found['reason']}" if found["reason"] else found["status"]
            lines.append(f"| {part.name} | {part.answers} | {ended} | {found['seconds']:.0f} |")
        if any(self.done[p.name]["status"] != "ok" for p in parts if p.name.startswith("tests")):
            lines += ["", "Not to be published: not all tests passed."]
        self.published.mkdir(parents=True, exist_ok=True)
        text = "\n".join(lines) + "\n"
        (self.published / "README.md").write_text(text, encoding="utf-8")
        probe = self.out / "probe.json"
        if probe.is_file():
            shutil.copy2(probe, self.published)

    def _say(self, part: Part, words: str) -> None:
        print(f"=== {part.name}: {words}", flush=True)


@cache
def machine_slug() -> str:
    """Return the GPU's name as a folder's."""
    code = "import torch; print(torch.cuda.get_device_name() if torch.cuda.is_available() else '')"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    return re.sub(r"[^a-z0-9]+", "-", found.stdout.strip().lower()).strip("-") or "no-gpu"


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End what a part started: first by request, so that a run stores what it has."""
    for sent, wait_s in ((signal.SIGTERM, GRACE_S), (signal.SIGKILL, None)):
        if process.poll() is not None:
            break
        os.killpg(process.pid, sent)
        try:
            process.wait(wait_s)
        except subprocess.TimeoutExpired:
            continue
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # what outlived the part's own process
