"""A real Slurm of one node on this machine: munged, slurmctld and slurmd, in their own folder."""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "scancel")
PACKAGES = "slurm-wlm slurm-client munge"
START_S = 60.0
NODE_TIMEOUT_S = 10
UP = ("idle", "mix", "alloc")

CONFIGURATION = """
ClusterName=spion
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=bf_interval=1,sched_min_interval=100000
ReturnToService=2
JobRequeue=1
KillWait=2
SlurmdTimeout={timeout}
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} State=UNKNOWN
PartitionName=debug Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def why_not():
    """Return why no Slurm can be started here, or None."""
    missing = [program for program in PROGRAMS if find(program) is None]
    if missing:
        return f"no {', '.join(missing)}; apt-get install {PACKAGES}"
    return None if os.geteuid() == 0 else "Slurm's daemons are started as root"


def find(program):
    """Return where a program is; daemons are not on every user's PATH."""
    return shutil.which(program, path=os.pathsep.join((os.environ["PATH"], "/usr/sbin", "/sbin")))


def free_ports(count):
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in opened:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in opened]


class Cluster:
    """The daemons, which ``start`` starts and ``stop`` ends; use it in a ``with`` statement."""

    def __init__(self, folder):
        self._folder = Path(folder)
        self._host = socket.gethostname().split(".")[0]
        self._daemons = {}
        self.environment = {**os.environ, "SLURM_CONF": str(self._folder / "slurm.conf")}

    def __enter__(self):
        self._folder.chmod(0o755)  # munged insists
        for name in ("state", "spool"):
            (self._folder / name).mkdir()
        key = self._folder / "munge.key"
        key.write_bytes(secrets.token_bytes(1024))
        key.chmod(0o400)
        text = CONFIGURATION.format(
            host=self._host,
            ports=free_ports(2),
            folder=self._folder,
            cpus=len(os.sched_getaffinity(0)),
            timeout=NODE_TIMEOUT_S,
        )
        (self._folder / "slurm.conf").write_text(text)
        files = {"key-file": "munge.key", "socket": "munge.socket", "pid-file": "munge.pid"}
        files |= {"log-file": "munge.log", "seed-file": "munge.seed"}
        options = [f"--{option}={self._folder / name}" for option, name in files.items()]
        try:
            self._start("munged", "--foreground", "--force", *options)
            self._start("slurmctld", "-D", "-f", self.environment["SLURM_CONF"])
            self.start_node()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for name in ("slurmd", "slurmctld", "munged"):
            daemon = self._daemons.pop(name, None)
            if daemon is not None:
                daemon.kill()
                daemon.wait()
        self._end_steps()

    def _start(self, program, *options):
        log = (self._folder / f"{program}.log").open("ab")
        with log:
            self._daemons[program] = subprocess.Popen(
                [find(program), *options], stdout=log, stderr=log, env=self.environment
            )

    def start_node(self):
        """Start the node, and wait until the cluster gives it work."""
        self._start("slurmd", "-D", "-N", self._host, "-f", self.environment["SLURM_CONF"])
        deadline = time.monotonic() + START_S
        while self.say("sinfo", "--noheader", "--format=%t").strip() not in (
            "idle",
            "mix",
            "alloc",
        ):
            if time.monotonic() > deadline:
                logs = "\n".join(
                    f"{path.name}: {path.read_text(errors='replace')[-1500:]}"
                    for path in sorted(self._folder.glob("*.log"))
                )
                raise TimeoutError(f"the node is not up after {START_S:g} s\n{logs}")
            time.sleep(0.2)

    def lose_node(self):
        """Kill the node's daemon and all that runs there, as when a machine loses its power."""
        self._daemons.pop("slurmd").kill()
        self._end_steps()

    def _end_steps(self):
        """Kill the node's job steps with all their processes, which have the cluster's mark."""
        for pid in self.processes("SLURM_JOB_ID=") | self.processes("slurmstepd", "cmdline"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def processes(self, mark, file="environ"):
        """Return the processes whose environment or command line holds ``mark``."""
        found = set()
        for path in Path("/proc").glob("[0-9]*"):
            pid = int(path.name)
            if pid != os.getpid() and mark in self.told(pid, file):
                found.add(pid)
        return found

    def told(self, pid, file):
        """Return what /proc tells of a process; "" once it is gone."""
        with contextlib.suppress(OSError):
            return Path(f"/proc/{pid}/{file}").read_bytes().decode(errors="replace")
        return ""

    def say(self, *command):
        """Run one of Slurm's commands and return what it prints; "" if it fails."""
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, check=False
        )
        return done.stdout if done.returncode == 0 else ""

    def queued(self):
        """Return the jobs in the queue with their states."""
        lines = self.say("squeue", "--noheader", "--array", "--format=%i %T").splitlines()
        return dict(line.split() for line in lines)
