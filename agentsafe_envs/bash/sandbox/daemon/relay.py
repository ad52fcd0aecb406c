"""The relay: first process of a container, between the container's standard streams and the daemon.

Runs in the container only, standard library only. It makes the daemon's user namespace, gives its own rights away,
and hands the daemon's socket over where the process outside has shown it a way. Elsewhere it passes on frames (see
frames): requests and replies, and what the pipes of sessions carry. When its input ends, it leaves, and the container
with all that runs in it ends.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import select
import socket
import struct
import sys
import time
from typing import Any

import frames
from frames import CONTROL, STDERR, STDOUT, TRACE, Frame, Window, drain, write_some
from watch import READ, WRITE, Watch

SYSTEM = "/system"  # the agent's; nothing of it is ever run outside of a sandbox
BASE = "/mnt"
FIRST_USER, USERS = 100_000, 65_536  # of the container, root of the daemon's namespace and those after it
NOBODY = 65_534
STREAMS = 5
TRACE_PAUSE_S = 0.005  # between two looks at a trace; a report is passed on at once, and what was traced before with it
FALLBACK_TUNNELS = {
    f"{kind}0" for kind in ("erspan", "gre", "gretap", "ip6_vti", "ip6gre", "ip6tnl", "ip_vti", "sit", "tunl")
}
"""Some kernels give each network these: they are down and lead nowhere."""


class RelayedSession:
    """The pipes of one session."""

    def __init__(self, number: int, descriptors: list[int]) -> None:
        self.script: int | None = descriptors[0]
        self.outputs = dict(zip(range(CONTROL, TRACE + 1), descriptors[1:], strict=True))
        self.window = Window(number)
        self.waiting = bytearray()  # for the script

    def read(self) -> list[tuple[int, bytes]]:
        """What the outputs hold, in an order that says no less than the pipes do; no data is an end.

        All that was written before a report comes before it, and the end of the trace comes after everything: what is
        to come first is read last.
        """
        found: dict[int, tuple[bytes, bool]] = {}
        for kind in (CONTROL, TRACE, STDOUT, STDERR):
            if kind in self.outputs:
                found[kind] = drain(self.outputs[kind])
        order = [kind for kind in (STDOUT, STDERR, TRACE, CONTROL) if kind in found]
        read = [(kind, found[kind][0]) for kind in order if found[kind][0]]
        order = [kind for kind in (STDOUT, STDERR, CONTROL, TRACE) if kind in found]
        return read + [(kind, b"") for kind in order if found[kind][1]]


class Relay:
    """Passes frames on until the input ends; never waits for one reader while another could go on."""

    def __init__(self, daemon: socket.socket) -> None:
        self.daemon = daemon
        self.sessions: dict[int, RelayedSession] = {}
        self.arriving = frames.FrameReader()
        self.out = bytearray()
        self.requests = bytearray()
        self.asked_for = 0  # session that the request in progress starts, 0 for none
        self.paused: dict[int, float] = {}  # sessions whose trace is not looked at, and until when
        self.reply = bytearray()
        self.watch = Watch()
        for descriptor in (0, 1):
            os.set_blocking(descriptor, False)

    def run(self) -> None:
        """Pass on, for ever."""
        self.watch.set(0, READ, self.take_in)
        while True:
            self.watch.set(1, WRITE if self.out else 0, self.put_out)
            self.watch.set(self.daemon.fileno(), READ | (WRITE if self.requests else 0), self.talk)
            self.watch.wait(max(0, min(self.paused.values()) - time.monotonic()) if self.paused else None)
            for number in [each for each, until in self.paused.items() if until <= time.monotonic()]:
                del self.paused[number]
                self.watch_outputs(number, self.sessions[number])
            self.put_out()

    def send(self, kind: int, session: int, data: bytes) -> None:
        """Have a frame go out."""
        self.out += Frame(kind, session, data).pack()

    def put_out(self, _: int = 0) -> None:
        """Write what goes."""
        if not write_some(1, self.out)[1]:
            sys.exit(0)

    def take_in(self, _: int) -> None:
        """Read frames and do what they say."""
        data = os.read(0, frames.CHUNK_BYTES)
        if not data:
            sys.exit(0)
        for frame in self.arriving.feed(data):
            if frame.kind == frames.REQUEST:
                self.asked_for = frame.session
                self.requests += struct.pack("=Q", len(frame.data)) + frame.data
            elif session := self.sessions.get(frame.session):
                self.passed(frame, session)

    def passed(self, frame: Frame, session: RelayedSession) -> None:
        """What the other end says of a session."""
        if frame.kind == frames.MOVED:
            session.window.reopen(frame)
            self.watch_outputs(frame.session, session)
        elif frame.kind == frames.LET_GO:
            self.paused.pop(frame.session, None)
            self.let_go(self.sessions.pop(frame.session))
        else:
            session.waiting += frame.data
            self.write_script(session)

    def talk(self, events: int) -> None:
        """Pass a request on to the daemon, or its reply back."""
        if events & WRITE:
            with contextlib.suppress(BlockingIOError):  # full: the rest goes when the daemon has read
                del self.requests[: self.daemon.send(self.requests, socket.MSG_DONTWAIT)]
        if not events & READ:
            return
        size = struct.unpack_from("=Q", self.reply)[0] if len(self.reply) >= 8 else 0
        chunk = self.daemon.recv(min(8 + size - len(self.reply), frames.WINDOW_BYTES))
        if not chunk:
            sys.exit(1)
        self.reply += chunk
        if len(self.reply) < 8 or len(self.reply) < 8 + struct.unpack_from("=Q", self.reply)[0]:
            return
        answer, number = bytes(self.reply[8:]), self.asked_for
        self.reply.clear()
        if number and marshal.loads(answer)[0]:
            self.begin(number, socket.recv_fds(self.daemon, 1, STREAMS)[1])
        self.send(frames.REPLY, number, answer)

    def begin(self, number: int, descriptors: list[int]) -> None:
        """Take over the pipes of a session that has started."""
        for descriptor in descriptors:
            os.set_blocking(descriptor, False)
        session = self.sessions[number] = RelayedSession(number, descriptors)
        self.watch_outputs(number, session)

    def watch_outputs(self, number: int, session: RelayedSession) -> None:
        """Wait for output while the window is open."""
        events = READ if session.window.left > 0 else 0
        for kind, descriptor in session.outputs.items():
            now = 0 if kind == TRACE and number in self.paused else events
            self.watch.set(descriptor, now, lambda _: self.pass_outputs(number, session))

    def pass_outputs(self, number: int, session: RelayedSession) -> None:
        """Send what the outputs hold."""
        found = session.read()
        if {kind for kind, _ in found} == {TRACE}:
            self.paused[number] = time.monotonic() + TRACE_PAUSE_S
        for kind, data in found:
            self.send(kind, number, data)
            session.window.left -= len(data)
            if not data:
                self.close(session.outputs.pop(kind))
        self.watch_outputs(number, session)

    def write_script(self, session: RelayedSession, _: int = 0) -> None:
        """Give the shell what goes into its pipe; one that is leaving reads no more."""
        if session.script is None:
            return
        written, is_read = write_some(session.script, session.waiting)
        self.out += session.window.note_moved(written)
        if is_read:
            self.watch.set(session.script, WRITE if session.waiting else 0, lambda _: self.write_script(session))
        else:
            self.close(session.script)
            session.script = None

    def let_go(self, session: RelayedSession) -> None:
        """Close what is left of a session's pipes."""
        for descriptor in (*session.outputs.values(), *(() if session.script is None else (session.script,))):
            self.close(descriptor)

    def close(self, descriptor: int) -> None:
        """Close a descriptor that may be watched."""
        self.watch.set(descriptor, 0)
        os.close(descriptor)


def start_daemon() -> socket.socket:
    """Fork the daemon and map its users; answers the near end of its socket."""
    near, far = socket.socketpair()
    child = os.fork()
    if child == 0:
        near.close()
        nothing = os.open("/dev/null", os.O_RDWR)
        for stream in (0, 1):
            os.dup2(nothing, stream)
        os.chdir(SYSTEM)
        sys.argv = ["serve", str(far.fileno()), BASE]
        import serve

        serve.main()
    far.close()
    if near.recv(1) != b"x":
        sys.exit(1)  # the daemon has said why
    for name in ("uid_map", "gid_map"):
        with open(f"/proc/{child}/{name}", "w") as opened:
            opened.write(f"0 {FIRST_USER} {USERS}")
    near.sendall(b"x")
    return near


def drop_rights() -> None:
    """Become a user without any: whoever took over the relay would have nothing."""
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)


def look_around() -> dict[str, Any]:
    """What the container is, measured from inside."""
    with open("/proc/self/status") as opened:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in opened if ":\t" in line)
    with open("/proc/net/dev") as opened:
        interfaces = {line.partition(":")[0].strip() for line in opened.readlines()[2:]} - FALLBACK_TUNNELS
    with open(f"{SYSTEM}/manifest.json") as opened:
        manifest = opened.read()
    return {
        "machine": os.uname().machine,
        "manifest": manifest,
        "capabilities": status["CapBnd"],
        "no_new_privileges": status["NoNewPrivs"],
        "seccomp": status["Seccomp"],
        "interfaces": " ".join(sorted(interfaces)),
        "read_only": str(bool(os.statvfs("/").f_flag & os.ST_RDONLY)),
        "memory": _limit("memory.max", "memory/memory.limit_in_bytes"),
        "memory_and_swap": _memory_and_swap(),
        "processes": _limit("pids.max", "pids/pids.max"),
    }


def _limit(*names: str) -> str:
    """A limit of the container's control group, by its name in either version; empty where there is none."""
    for name in names:
        try:
            with open(f"/sys/fs/cgroup/{name}") as opened:
                return opened.read().strip()
        except OSError:
            continue
    return ""


def _memory_and_swap() -> str:
    """Limit of memory and swap together: the second version counts swap alone."""
    swap = _limit("memory.swap.max")
    if swap.isdigit():
        return str(int(_limit("memory.max")) + int(swap))
    return _limit("memory/memory.memsw.limit_in_bytes")


def hand_over(daemon: socket.socket) -> bool:
    """Give the process outside the daemon's socket itself, where it can be reached; whether that went well."""
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(f"{frames.HANDOVER_FOLDER}/{frames.HANDOVER_NAME}")
            socket.send_fds(connection, [b"x"], [daemon.fileno()])
        except OSError:
            return False
    return True


def stay(daemon: socket.socket) -> None:
    """Wait until the input ends, or the daemon has left."""
    watched = select.poll()
    watched.register(0, select.POLLIN)
    watched.register(daemon, 0)  # that the other end has closed is told always
    watched.poll()


def run_relay() -> None:
    """Start the daemon, say hello, and hand the daemon over or relay."""
    found = look_around()
    daemon = start_daemon()
    drop_rights()
    found["handed_over"] = hand_over(daemon)
    sys.stdout.buffer.write(Frame(frames.HELLO, 0, marshal.dumps(found, frames.MARSHAL_VERSION)).pack())
    sys.stdout.buffer.flush()
    if found["handed_over"]:
        stay(daemon)
    else:
        Relay(daemon).run()
