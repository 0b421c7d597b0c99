"""A one-node Slurm for tests: real daemons on this machine, no systemd, no cgroups, fake GPUs.

    python tests/slurm/cluster.py snakemake --profile slurm ...

starts the cluster, runs the command in it, and stops the cluster. Tests use `Cluster` as a
context manager. Everything that the daemons write lives in one directory; nothing outside it is
touched, and the daemons end with the process that started them.

Needs the Debian packages slurmctld, slurmd, slurm-client and munge.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType

PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch", "srun", "squeue", "scontrol", "scancel")
NODE = "testnode"

SLURM_CONF = """\
ClusterName=clipsieve_tests
SlurmctldHost={host}({address})
SlurmctldPort={controller_port}
SlurmdPort={node_port}
{listen}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={root}/munge.socket
CredType=cred/munge
StateSaveLocation={root}/state
SlurmdSpoolDir={root}/spool
SlurmctldPidFile={root}/slurmctld.pid
SlurmdPidFile={root}/slurmd.pid
SlurmctldLogFile={root}/slurmctld.log
SlurmdLogFile={root}/slurmd.log
MailProg=/bin/true
SwitchType=switch/none
MpiDefault=none
# Process groups: with linuxproc the children of a killed payload run on for a minute.
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=5,batch_sched_delay=0
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
# Without cgroups memory is sampled, and a step over its request is killed.
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=2
JobAcctGatherParams=OverMemoryKill
# Finished jobs stay visible to squeue and scontrol for the whole test session.
MinJobAge=7200
KillWait=2
SlurmctldTimeout=30
SlurmdTimeout=60
ReturnToService=2
JobRequeue=1
SlurmdParameters=config_overrides
GresTypes=gpu
DefMemPerCPU=500
NodeName={node} NodeHostname={host} NodeAddr={address} CPUs={cpus} Boards=1 \
SocketsPerBoard=1 CoresPerSocket={cpus} ThreadsPerCore=1 RealMemory={memory_mb} \
Gres=gpu:fake:{gpus} State=UNKNOWN
PartitionName=cpu Nodes={node} Default=YES MaxTime=1-00:00:00 DefaultTime=30 State=UP
PartitionName=gpu Nodes={node} Default=NO MaxTime=1-00:00:00 DefaultTime=30 State=UP
"""


class ClusterError(RuntimeError):
    """The cluster did not start, or a Slurm command failed."""


def missing_programs() -> list[str]:
    """Return the names of the needed programs that are not on the path."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    return [name for name in PROGRAMS if shutil.which(name, path=path) is None]


def _die_with_parent() -> None:
    """Have the kernel end this child when the process that started it dies."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def _free_ports(count: int) -> list[int]:
    """Return `count` distinct free ports of the loopback."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [server.getsockname()[1] for server in sockets]
    for server in sockets:
        server.close()
    return ports


def _fake_device(path: Path) -> None:
    """Make a null device (Slurm then sets CUDA_VISIBLE_DEVICES), or a file where that is denied."""
    try:
        os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    except PermissionError:
        path.touch()


class Cluster:
    """Start, question and stop a one-node Slurm.

    Parameters
    ----------
    root
        Directory for the configuration, state and logs of the daemons; made if missing. Keep the
        path short: it holds a socket.
    cpus, memory_mb, gpus
        What the node claims to have; nothing of it is measured.
    """

    def __init__(self, root: Path, *, cpus: int = 8, memory_mb: int = 24000, gpus: int = 2) -> None:
        self.root = root
        self.cpus = cpus
        self.memory_mb = memory_mb
        self.gpus = gpus
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}

    def environment(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return an environment in which the Slurm commands speak to this cluster."""
        env = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "SBATCH_"))}
        env["PATH"] = f"{self.root}/bin:{env.get('PATH', '')}:/usr/sbin:/sbin"
        env["SLURM_CONF"] = str(self.root / "slurm.conf")
        env.update(extra or {})
        return env

    def call(self, *command: str, timeout: float = 30) -> str:
        """Run a Slurm command and return what it printed."""
        done = subprocess.run(
            command, env=self.environment(), capture_output=True, text=True, timeout=timeout
        )
        if done.returncode:
            raise ClusterError(f"{' '.join(command)}: {done.stderr.strip()}")
        return done.stdout

    def jobs(self) -> list[dict[str, str]]:
        """Return what scontrol knows of every job, finished ones included, oldest first."""
        lines = self.call("scontrol", "--oneliner", "show", "job").splitlines()
        jobs = [
            dict(re.findall(r"(\S+?)=(\S*)", line)) for line in lines if line.startswith("JobId=")
        ]
        return sorted(jobs, key=lambda job: int(job["JobId"]))

    def wait_until(self, what: str, check: Callable[[], bool], timeout: float = 60) -> None:
        """Ask `check` until it holds; raise ClusterError naming `what` when it never does."""
        end = time.monotonic() + timeout
        while not check():
            for name, daemon in self._daemons.items():
                if daemon.poll() is not None:
                    raise ClusterError(f"{name} ended with {daemon.returncode}{self._logs()}")
            if time.monotonic() > end:
                raise ClusterError(f"{what}: not after {timeout:.0f} s{self._logs()}")
            time.sleep(0.1)

    def __enter__(self) -> Cluster:
        try:
            self._configure()
            self._start("munged", "--foreground", "--force", "--num-threads=2")
            self.wait_until("munged's socket", (self.root / "munge.socket").exists)
            self._start("slurmctld", "-D", "-f", f"{self.root}/slurm.conf")
            self._start("slurmd", "-D", "-N", NODE, "-f", f"{self.root}/slurm.conf")
            self.wait_until("an idle node", self._is_idle)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Job steps outlive the daemons, so the jobs end first.
        if {"slurmctld", "slurmd"} <= self._daemons.keys():
            try:
                self.call("scancel", "--user", self._user())
                self.wait_until("an empty queue", lambda: not self.call("squeue", "-h"), 30)
            except (ClusterError, subprocess.TimeoutExpired) as problem:
                print(f"cluster: {problem}", file=sys.stderr)
        for name in reversed(list(self._daemons)):
            daemon = self._daemons.pop(name)
            daemon.terminate()
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        # What is left of jobs that did not end in time; they have this cluster's folder in PATH.
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if f"PATH={self.root}/bin:".encode() in (entry / "environ").read_bytes():
                    os.kill(int(entry.name), signal.SIGKILL)

    def _configure(self) -> None:
        host = socket.gethostname().split(".")[0]
        try:
            address = socket.gethostbyname(host)
            # Listen on the address of the host's name (most often the loopback), not on all.
            listen = "CommunicationParameters=NoCtldInAddrAny,NoInAddrAny"
        except OSError:
            # A name without an address: everything meets on the loopback.
            address, listen = "127.0.0.1", ""
        for name in ("bin", "state", "spool"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        controller_port, node_port = _free_ports(2)
        (self.root / "slurm.conf").write_text(
            SLURM_CONF.format(
                root=self.root,
                host=host,
                address=address,
                listen=listen,
                user=self._user(),
                node=NODE,
                controller_port=controller_port,
                node_port=node_port,
                cpus=self.cpus,
                memory_mb=self.memory_mb,
                gpus=self.gpus,
            )
        )
        lines = []
        for index in range(self.gpus):
            device = self.root / f"gpu{index}"
            _fake_device(device)
            lines.append(f"NodeName={NODE} Name=gpu Type=fake File={device}\n")
        (self.root / "gres.conf").write_text("".join(lines))
        # The plugin's job step drops every SLURM_ variable before it calls srun.
        srun = shutil.which("srun")
        wrapper = self.root / "bin" / "srun"
        wrapper.write_text(f'#!/bin/sh\nSLURM_CONF={self.root}/slurm.conf exec {srun} "$@"\n')
        wrapper.chmod(0o755)
        key = self.root / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(1024))

    def _start(self, name: str, *options: str) -> None:
        arguments = list(options)
        if name == "munged":
            arguments += [f"--key-file={self.root}/munge.key", f"--socket={self.root}/munge.socket"]
            arguments += [f"--pid-file={self.root}/munged.pid", f"--seed-file={self.root}/seed"]
        with open(self.root / f"{name}.out", "wb") as output:
            self._daemons[name] = subprocess.Popen(
                [name, *arguments],
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )

    def _is_idle(self) -> bool:
        try:
            state = self.call("sinfo", "-h", "-n", NODE, "-o", "%T", timeout=10).split()
        except (ClusterError, subprocess.TimeoutExpired):
            return False
        return bool(state) and state[0] == "idle"

    def _logs(self) -> str:
        tails = []
        for path in sorted([*self.root.glob("*.log"), *self.root.glob("*.out")]):
            lines = path.read_text(errors="replace").splitlines()[-5:]
            tails += [f"\n{path.name}: {line}" for line in lines]
        return "".join(tails)

    @staticmethod
    def _user() -> str:
        import pwd

        return pwd.getpwuid(os.getuid()).pw_name


def main(command: list[str]) -> int:
    """Run a command inside a fresh cluster and return its exit status."""
    if not command:
        print(__doc__, file=sys.stderr)
        return 2
    if missing := missing_programs():
        print(f"cluster: not installed: {', '.join(missing)}", file=sys.stderr)
        return 2
    with (
        tempfile.TemporaryDirectory(prefix="cs-slurm-", ignore_cleanup_errors=True) as root,
        Cluster(Path(root)) as cluster,
    ):
        return subprocess.run(command, env=cluster.environment()).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
