"""A real SLURM on this machine: a controller and two nodes on the loopback interface.

As root, without systemd and without accounting. Its files lie in a folder of the test, but for
/etc/slurm/slurm.conf: programs that a job starts do not see SLURM_CONF, so the configuration has
to be where they look for it. That file is a link, made at the start and removed at the end; where
a configuration of someone else stands, nothing is started. Two test runs on one machine take turns.
"""

import contextlib
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from processes import descendants

CONFIGURATION = Path("/etc/slurm/slurm.conf")
LOCK = Path("/tmp/dustcast-slurm-test.lock")
PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch", "srun", "squeue", "scancel", "scontrol")
NODES = ("node1", "node2")
# The nodes claim more than the machine may have (config_overrides), so that every request fits.
CPUS, MEMORY_MB = 8, 16_000

# cred_expire: so long does a job that has lost its node wait to start again (120 s if not set).
TEMPLATE = """\
ClusterName=dustcast
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=10
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
AccountingStorageType=accounting_storage/none
MinJobAge=3600
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SlurmdTimeout=8
KillWait=2
ReturnToService=2
SchedulerParameters=batch_sched_delay=0,sched_interval=5
NodeName=DEFAULT CPUs={cpus} RealMemory={memory}
NodeName={nodes[0]} NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]}
NodeName={nodes[1]} NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]}
PartitionName=main Nodes={nodes[0]},{nodes[1]} Default=YES MaxTime=INFINITE State=UP
"""


def why_not():
    """Return why no SLURM can be started here, None if one can."""
    missing = [name for name in PROGRAMS if not shutil.which(name)]
    if missing:
        return f"SLURM is not installed ({missing[0]} is missing): run make slurm"
    if os.geteuid() != 0:
        return "SLURM's daemons are started as root, and this is another user"
    if CONFIGURATION.exists() and not CONFIGURATION.is_symlink():
        return f"this machine has a SLURM of its own ({CONFIGURATION})"
    return None


def free_ports(count):
    """Return ports of the loopback interface that nobody listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def ask(*command):
    """Return what a command prints."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


class Cluster:
    """SLURM for the length of a ``with`` statement.

    Parameters
    ----------
    folder : Path
        Empty folder for its files.
    """

    def __init__(self, folder):
        self.folder = folder
        self.processes = {}

    def __enter__(self):
        self._lock = LOCK.open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def _start(self):
        (self.folder / "state").mkdir()
        key = self.folder / "munge.key-file"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        host = socket.gethostname().partition(".")[0]
        configuration = self.folder / "slurm.conf"
        configuration.write_text(
            TEMPLATE.format(
                host=host,
                folder=self.folder,
                ports=free_ports(3),
                nodes=NODES,
                cpus=CPUS,
                memory=MEMORY_MB,
            )
        )
        CONFIGURATION.parent.mkdir(exist_ok=True)
        CONFIGURATION.unlink(missing_ok=True)  # a link that a killed test left
        CONFIGURATION.symlink_to(configuration)
        files = [
            f"--{option}={self.folder / f'munge.{option}'}"
            for option in ("key-file", "socket", "pid-file", "log-file", "seed-file")
        ]
        # The folders above are those of the test: munged would refuse them as not its own.
        self.launch("munged", "--foreground", "--force", *files)
        self.wait(lambda: (self.folder / "munge.socket").exists(), "munged does not start")
        self.launch("slurmctld", "-D")
        for node in NODES:
            self.start_node(node)
        self.wait(lambda: self.idle() == set(NODES), "the nodes do not come up")

    def launch(self, program, *arguments, name=None):
        """Start a daemon in the foreground, in a folder of its own, its output in a file."""
        name = name or program
        (self.folder / name).mkdir(exist_ok=True)
        with (self.folder / f"{name}.out").open("a") as out:
            self.processes[name] = subprocess.Popen(
                [program, *arguments], cwd=self.folder / name, stdout=out, stderr=out
            )

    def start_node(self, node):
        """Start the daemon of a node."""
        self.launch("slurmd", "-D", "-N", node, name=node)

    def kill_node(self, node):
        """Take a node down with all that runs on it, as a power cut would."""
        process = self.processes.pop(node)
        process.kill()
        process.wait()
        for step in steps(self.folder / node):
            for pid in (step, *descendants(step)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def idle(self):
        """Return the nodes that would take a job."""
        done = subprocess.run(
            ["sinfo", "--noheader", "--Node", "--format=%N %T"], capture_output=True, text=True
        )
        rows = [line.split() for line in done.stdout.splitlines()]
        return {name for name, state in rows if state == "idle"}

    def jobs(self):
        """Return every job that the controller knows: a dict of its fields by id."""
        fields = {
            "state": "%T",
            "cpus": "%C",
            "memory": "%m",
            "limit": "%l",
            "node": "%N",
        }
        text = ask(
            "squeue", "--states=all", "--noheader", f"--format=%i|{'|'.join(fields.values())}"
        )
        rows = [line.split("|") for line in text.splitlines()]
        return {row[0]: dict(zip(fields, row[1:])) for row in rows}

    def script(self, number):
        """Return the script that a job was submitted with."""
        return ask("scontrol", "write", "batch_script", number, "-")

    def wait(self, condition, complaint, seconds=30):
        """Wait until a condition holds."""
        limit = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < limit, f"{complaint}: {self.last_words()}"
            dead = [name for name, process in self.processes.items() if process.poll() is not None]
            assert not dead, f"{dead} ended: {self.last_words()}"
            time.sleep(0.1)

    def last_words(self):
        """Return the ends of the logs."""
        return "\n".join(
            f"{path.name}: {path.read_text(errors='replace')[-600:]}"
            for path in sorted(self.folder.glob("*.out"))
        )

    def stop(self):
        """End what was started, by process id, and remove the link."""
        for node in NODES:
            if node in self.processes:
                self.kill_node(node)
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes.clear()
        if CONFIGURATION.is_symlink():
            CONFIGURATION.unlink()
        self._lock.close()


def steps(folder):
    """Return the processes that look after the steps of a node.

    They leave their daemon, but stay in the folder in which it was started.
    """
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            is_step = (path / "cmdline").read_bytes().startswith(b"slurmstepd")
            if is_step and (path / "cwd").resolve() == folder:
                found.append(int(path.name))
    return found


if __name__ == "__main__":  # python slurm_cluster.py FOLDER: a cluster to try things on
    with Cluster(Path(sys.argv[1]).resolve()):
        input("SLURM runs; press Enter to end it. ")
