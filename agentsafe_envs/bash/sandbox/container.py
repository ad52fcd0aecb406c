"""The link to a daemon in a container: frames over its standard streams, pumped by one thread.

No descriptor, file or process of this machine reaches the container, so it works wherever Docker does. The pump
gives each session five pipes like those of a local one. What it says of their order is said in ``daemon/frames.py``.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import marshal
import os
import queue
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from agentsafe_envs.bash.sandbox.base import Pipes
from agentsafe_envs.bash.sandbox.client import ANSWER_S
from agentsafe_envs.bash.sandbox.daemon import frames
from agentsafe_envs.bash.sandbox.daemon.frames import Frame, FrameReader, Window
from agentsafe_envs.bash.sandbox.daemon.watch import READ, WRITE, Watch

MODULES = ("frames", "watch", "files", "sessions", "serve", "relay")
"""Code of the daemon, in the order in which it is loaded in the container."""

BOOTSTRAP = """
import marshal, sys, types
for name, code in marshal.load(sys.stdin.buffer).items():
    module = sys.modules[name] = types.ModuleType(name)
    exec(compile(code, name, "exec"), module.__dict__)
sys.modules["relay"].run_relay()
"""
"""What the container runs: it reads its code from its input, so no image goes with one release of this package."""

MOST_COMPLAINT_BYTES = 65_536
_STDERR = 2
_DOCKER_HEADER = struct.Struct(">BxxxI")


class ContainerLink:
    """Reaches the relay in a container.

    Args:
        attached: Socket with its streams as Docker multiplexes them; owned from here on.

    Attributes:
        hello: What the relay has found around it.

    Raises:
        OSError: The relay does not come up.
    """

    def __init__(self, attached: socket.socket) -> None:
        self._socket = attached
        self._out = bytearray()
        self._posted: deque[Callable[[], None]] = deque()
        self._replies: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._channels: dict[int, _Channel] = {}
        self._numbers = itertools.count(1)
        self._streams = _DockerStreams()
        self._arriving = FrameReader()
        self._complaints = bytearray()
        self._over = self._closed = False
        self._watch = Watch()
        self._woken, self._waking = os.pipe()
        for descriptor in (self._woken, self._waking):
            os.set_blocking(descriptor, False)
        attached.setblocking(False)
        self._thread = threading.Thread(target=self._pump, name="container", daemon=True)
        self._thread.start()
        folder = Path(__file__).with_name("daemon")
        code = {name: (folder / f"{name}.py").read_text() for name in MODULES}
        data = marshal.dumps(code, frames.MARSHAL_VERSION)
        self._post(lambda: self._out.extend(data))
        try:
            self.hello: dict[str, Any] = marshal.loads(self._reply())
        except OSError as error:
            words = self.last_words()
            self.close()
            raise OSError(error.errno, f"{error.strerror}: {words}") from error

    @property
    def running(self) -> bool:
        """Whether there is anybody to ask."""
        return not self._over

    def exchange(self, request: bytes) -> bytes:
        """The reply to one request."""
        frame = Frame(frames.REQUEST, 0, request).pack()
        self._post(lambda: self._out.extend(frame))
        return self._reply()

    def exchange_for_pipes(self, request: bytes) -> tuple[bytes, list[int]]:
        """Likewise, and the ends of the session's pipes."""
        if self._over:
            raise OSError(errno.EPIPE, "it is gone")
        channel = _Channel(next(self._numbers))
        frame = Frame(frames.REQUEST, channel.number, request).pack()
        started = False
        try:
            self._post(lambda: self._begin(channel, frame))
            reply = self._reply()
            started = marshal.loads(reply)[0]
        finally:
            if not started:  # the pump lets go of a channel whose script has ended
                for end in channel.ends:
                    os.close(end)
        return reply, list(channel.ends) if started else []

    def last_words(self) -> str:
        """The last line on the container's error output."""
        self._thread.join(1)
        lines = self._complaints.decode("utf-8", "replace").strip().splitlines()
        if lines:
            return lines[-1]
        return "it ended without a word" if self._over else "it still runs"

    def close(self) -> None:
        """End the relay, and with it the container."""
        if self._closed:
            return
        self._closed = True
        self._hang_up()
        self._thread.join(ANSWER_S)
        for descriptor in (self._woken, self._waking):
            os.close(descriptor)

    def _reply(self) -> bytes:
        try:
            reply = self._replies.get(timeout=ANSWER_S)
        except queue.Empty:
            self._hang_up()  # a late answer would pass for that to the next request
            raise TimeoutError(errno.ETIMEDOUT, f"no answer after {ANSWER_S} s") from None
        if reply is None:
            self._replies.put(None)
            raise OSError(errno.EPIPE, "it is gone")
        return reply

    def _hang_up(self) -> None:
        with contextlib.suppress(OSError):  # the other side hung up first
            self._socket.shutdown(socket.SHUT_RDWR)

    def _post(self, work: Callable[[], None]) -> None:
        """Have the pump do something."""
        if self._closed:
            raise OSError(errno.EPIPE, "it was closed")
        self._posted.append(work)
        with contextlib.suppress(BlockingIOError):  # it is woken already
            os.write(self._waking, b"x")

    # What follows runs in the pump's thread.

    def _pump(self) -> None:
        try:
            self._watch.set(self._woken, READ, self._do_posted)
            while not self._over:
                self._watch.set(self._socket.fileno(), READ | (WRITE if self._out else 0), self._talk)
                self._watch.wait()
                self._put_out()
        except OSError as error:
            self._complaints += f"\n{error}\n".encode()
        finally:
            self._over = True
            for channel in self._channels.values():
                channel.close_all()
            self._watch.close()
            self._socket.close()
            self._replies.put(None)

    def _do_posted(self, _: int) -> None:
        os.read(self._woken, frames.CHUNK_BYTES)
        while self._posted:
            self._posted.popleft()()

    def _talk(self, events: int) -> None:
        if not events & READ:
            return
        try:
            data = self._socket.recv(frames.CHUNK_BYTES)
        except BlockingIOError:
            return
        self._over = not data
        for stream, content in self._streams.feed(data):
            if stream == _STDERR:
                self._complaints = (self._complaints + content)[-MOST_COMPLAINT_BYTES:]
                continue
            for frame in self._arriving.feed(content):
                self._came(frame)

    def _put_out(self) -> None:
        while self._out:
            try:
                sent = self._socket.send(memoryview(self._out)[: frames.WINDOW_BYTES])
            except BlockingIOError:
                return
            del self._out[:sent]

    def _came(self, frame: Frame) -> None:
        if frame.kind in (frames.HELLO, frames.REPLY):
            self._replies.put(frame.data)
        elif (channel := self._channels.get(frame.session)) is None:
            return
        elif frame.kind == frames.MOVED:
            channel.window.reopen(frame)
            self._watch_script(channel)
        else:
            channel.queue.append((frame.kind, bytearray(frame.data)))
            self._deliver(channel)

    def _begin(self, channel: _Channel, frame: bytes) -> None:
        self._channels[channel.number] = channel
        self._watch_script(channel)
        self._out += frame

    def _watch_script(self, channel: _Channel) -> None:
        events = READ if channel.window.left > 0 else 0
        self._watch.set(channel.script, events, lambda _: self._take_script(channel))

    def _take_script(self, channel: _Channel) -> None:
        try:
            data = os.read(channel.script, frames.CHUNK_BYTES)
        except BlockingIOError:
            return
        if not data:
            self._let_go(channel)
            return
        self._out += Frame(frames.SCRIPT, channel.number, data).pack()
        channel.window.left -= len(data)
        self._watch_script(channel)

    def _let_go(self, channel: _Channel) -> None:
        """The shell's driver has closed its ends: nothing more of the session is wanted."""
        del self._channels[channel.number]
        for descriptor in (channel.script, *channel.outputs.values()):
            self._watch.set(descriptor, 0)
        channel.close_all()
        self._out += Frame(frames.LET_GO, channel.number, b"").pack()

    def _deliver(self, channel: _Channel) -> None:
        """Put what came into the session's pipes, in order; what does not fit holds up what came after it."""
        moved = 0
        while channel.queue:
            kind, data = channel.queue[0]
            descriptor = channel.outputs.get(kind)
            if descriptor is not None and data:
                moved += frames.write_some(descriptor, data)[0]
                if data:
                    self._watch.set(descriptor, WRITE, lambda _: self._deliver(channel))
                    break
                self._watch.set(descriptor, 0)
            elif descriptor is not None:
                os.close(channel.outputs.pop(kind))
            else:
                moved += len(data)
            channel.queue.popleft()
        self._out += channel.window.note_moved(moved)


class _Channel:
    """One session's pipes; the shell's driver has their outer ends."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.window = Window(number)
        self.queue: deque[tuple[int, bytearray]] = deque()
        self.script, script = os.pipe()
        pairs = [os.pipe() for _ in range(frames.CONTROL, frames.TRACE + 1)]
        self.outputs = {kind: writer for kind, (_, writer) in enumerate(pairs, frames.CONTROL)}
        self.ends = Pipes(script, *(reader for reader, _ in pairs))
        for descriptor in (self.script, *self.outputs.values()):
            os.set_blocking(descriptor, False)

    def close_all(self) -> None:
        """Close the inner ends: the outer ones see the end of the session."""
        for descriptor in (self.script, *self.outputs.values()):
            os.close(descriptor)
        self.outputs.clear()


class _DockerStreams:
    """Tells Docker's multiplexed output and error output apart."""

    def __init__(self) -> None:
        self._arrived = bytearray()
        self._stream = 0
        self._left = 0

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Stream (1 or 2) and content of what arrived."""
        self._arrived += data
        while self._arrived:
            if not self._left:
                if len(self._arrived) < _DOCKER_HEADER.size:
                    return
                self._stream, self._left = _DOCKER_HEADER.unpack_from(self._arrived)
                del self._arrived[: _DOCKER_HEADER.size]
            content = bytes(memoryview(self._arrived)[: self._left])
            del self._arrived[: len(content)]
            self._left -= len(content)
            if content:
                yield self._stream, content
