"""Warm: the command line, imported once, and forked for each test that only wants to see what a command does.

To import it costs more than most of what tests ask of it. How it starts, tests say that start it cold.
"""

import asyncio
import atexit
import gc
import os
import random
import signal
import socket
import struct
import subprocess
import sys
from asyncio import StreamReader, StreamReaderProtocol
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

import msgspec

ROOT = Path(__file__).parent.parent
NUMBER = struct.Struct("i")


class Errand(NamedTuple):
    arguments: Sequence[str]
    folder: str
    environment: Mapping[str, str]


# --- Where it is imported ---------------------------------------------------------------------------


def main() -> None:
    """Forks for every errand that comes over standard input, until nobody can send one any more."""
    import gateway.broadcasts
    import gateway.doctor
    import gateway.explain
    import gateway.forget
    import gateway.reference
    import gateway.sandboxes
    import gateway.server
    import gateway.sync
    import gateway.worker  # noqa: F401
    from gateway import cli

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those who mind a command
    gc.freeze()  # or each child would copy all of it, only to look through it
    with socket.socket(fileno=os.dup(0)) as errands:
        while True:
            said, handles, _, _ = socket.recv_fds(errands, NUMBER.size, 3)
            if not said:
                return
            (size,) = NUMBER.unpack(said)
            errand = errands.recv(size, socket.MSG_WAITALL)
            if os.fork() == 0:
                errands.close()
                _become(msgspec.json.decode(errand, type=Errand), *handles)
                return cli.main()
            for handle in handles:
                os.close(handle)


def _become(errand: Errand, teller: int, out: int, err: int) -> None:
    """In the child: what runs the command returns, and what minds it tells its number, then how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    pid = os.fork()
    if pid:
        os.close(out)
        os.close(err)
        with suppress(BrokenPipeError):
            os.write(teller, NUMBER.pack(pid))
            os.write(teller, NUMBER.pack(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])))
        os._exit(0)
    os.close(teller)
    for handle, place in ((os.open(os.devnull, os.O_RDONLY), 0), (out, 1), (err, 2)):
        os.dup2(handle, place)
        os.close(handle)
    os.chdir(errand.folder)
    os.environ.clear()
    os.environ.update(errand.environment)
    sys.argv = ["switchboard", *errand.arguments]
    signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests may ignore it
    random.seed()


# --- Where it is asked ------------------------------------------------------------------------------


class Command:
    """A command that runs, with what tests ask of asyncio's own processes."""

    def __init__(self, pid: int, teller: StreamReader, stdout: StreamReader, stderr: StreamReader) -> None:
        self.pid = pid
        self.stdout = stdout
        self.stderr = stderr
        self.returncode: int | None = None
        self._end = asyncio.create_task(self._until_it_ends(teller))

    async def _until_it_ends(self, teller: StreamReader) -> int:
        (self.returncode,) = NUMBER.unpack(await teller.readexactly(NUMBER.size))
        await teller.read()  # to its end, with which it is closed
        return self.returncode

    async def wait(self) -> int:
        return await asyncio.shield(self._end)

    async def communicate(self) -> tuple[bytes, bytes]:
        out, err, _ = await asyncio.gather(self.stdout.read(), self.stderr.read(), self.wait())
        return out, err

    def send_signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


async def start(folder: Path, *arguments: str, environment: Mapping[str, str]) -> Command:
    errand = msgspec.json.encode(Errand(arguments, str(folder), environment))
    teller, out, err = (os.pipe() for _ in range(3))
    theirs = [writes for _, writes in (teller, out, err)]
    errands = _warm()
    socket.send_fds(errands, [NUMBER.pack(len(errand))], theirs)
    errands.sendall(errand)
    for handle in theirs:
        os.close(handle)
    told, *streams = [await _reader(reads) for reads, _ in (teller, out, err)]
    (pid,) = NUMBER.unpack(await told.readexactly(NUMBER.size))
    return Command(pid, told, *streams)


async def _reader(handle: int) -> StreamReader:
    reader = StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: StreamReaderProtocol(reader), os.fdopen(handle, "rb", buffering=0)
    )
    return reader


@cache
def _warm() -> socket.socket:
    """What it takes errands over: one for this process and all of its tests."""
    ours, theirs = socket.socketpair()
    process = subprocess.Popen(
        [sys.executable, "-c", "from tests.warm import main; main()"],
        cwd=ROOT,
        env=os.environ | {"PYTHONWARNINGS": "error"},
        stdin=theirs.fileno(),
    )
    theirs.close()

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours
