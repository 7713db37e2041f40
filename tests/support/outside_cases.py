"""A capsule that uses sockets and programs in every way that the SDK offers.

The same tools run against the fake host of unit tests and, built into a component, against the
kernel: `tests/integration/test_sdk_outside.py`. Spec: host-abi 12, 13.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from astrid_sdk import ipc, net, poll, process, tool
from astrid_sdk.errors import HostError

MANIFEST = """
[package]
name = "outside-cases"
version = "0.1.0"

[capabilities]
net_connect = ["127.0.0.1:*", "10.0.0.1:80"]
net_tcp_bind = ["127.0.0.1:*"]
net_udp = ["bind:127.0.0.1:*", "send:127.0.0.1:*"]
host_process = ["sh -c", "cat", "sleep", "no-such-program"]
allow_persistent = true

[subscribe]
"astrid.process.v1.exited.*" = { wit = "opaque" }
"""
SCRIPT = 'cat; cat "$FILE"; echo "$MORE" >&2; exit 3'


def refused(function: Callable[[], Any]) -> list[Any]:
    """The exception that Python programs know it as, its case, and what would help."""
    try:
        function()
    except HostError as error:
        builtin = [kind for kind in type(error).__mro__ if kind.__module__ == "builtins"]
        name = "" if builtin[0] in (Exception, OSError) else builtin[0].__name__
        hint = getattr(error, "hint", None) or "".join(getattr(error, "__notes__", ()))
        return [name, error.case, hint]
    return ["nothing was refused"]


@tool
def tcp_out(port: int) -> dict[str, Any]:
    """Talk to a peer that says what it hears."""
    with net.connect("127.0.0.1", port) as stream:
        stream.nodelay, stream.hop_limit, stream.keepalive = True, 9, 30
        stream.read_timeout, stream.linger = 5.5, 2.0
        options = [stream.nodelay, stream.hop_limit, stream.keepalive, stream.read_timeout]
        options += [stream.linger, stream.write_timeout]
        stream.write(memoryview(b"hello"))
        ready = poll.wait_any([stream.ready()])
        peeked, read = stream.peek(2), stream.read_exactly(5)
        stream.write_frame(b"in a frame")
        frame = stream.read_frame()
        idle = refused(lambda: stream.read_frame(wait=False))
        is_peer = stream.peer == ("127.0.0.1", port)
        stream.shutdown("send")
        end = [stream.read(), stream.read_frame()]
    return {
        "options": options,
        "ready": ready,
        "read": [peeked.decode(), read.decode(), (frame or b"").decode()],
        "idle": idle,
        "is_peer": is_peer,
        "end": [(end[0] or b"").decode(), end[1]],
        "closed": refused(stream.read),
    }


@tool
def tcp_large(port: int) -> bool:
    """Send more than fits anywhere, and have it back."""
    data = bytes(range(256)) * 4096
    with net.connect("127.0.0.1", port) as stream:
        found = b""
        for start in range(0, len(data), 65536):
            stream.write(data[start : start + 65536])
            found += stream.read_exactly(65536)
        try:
            stream.shutdown("send")
            stream.read_exactly(1)
        except EOFError:
            return found == data
    return False


@tool
def tcp_in(port: int) -> list[str]:
    """Take a client and answer it."""
    with net.listen("127.0.0.1", port) as listener:
        where = listener.local
        nobody = listener.accept(timeout=0) if port == 0 else None
        stream = listener.accept(timeout=20)
        if stream is None:
            return ["nobody came"]
        with stream:
            heard = stream.read_exactly(4)
            stream.write(heard.upper())
            return [heard.decode(), where.host, str(where.port == port), str(nobody)]


@tool
def datagrams(port: int) -> list[Any]:
    """Talk to a peer that says what it hears, in datagrams."""
    with net.udp("127.0.0.1") as sock:
        sock.read_timeout = 5
        sent = sock.send_to(b"ping", "127.0.0.1", port)
        found = sock.receive_from()
        none_yet = sock.peer
        sock.connect("127.0.0.1", port)
        sock.send(b"to the peer")
        poll.wait_any([sock.ready()])
        heard = sock.receive(2)
        peer = sock.peer
        sock.read_timeout = 0.01
        silence = sock.receive()
        sock.disconnect()
        return [
            sent,
            None if found is None else [found.data.decode(), found.sender == ("127.0.0.1", port)],
            none_yet,
            (heard or b"").decode(),
            peer == ("127.0.0.1", port),
            silence,
            refused(lambda: sock.send(b"x"))[:2],
            sock.local.port > 0,
        ]


@tool
def sockets_refused() -> list[Any]:
    """What the manifest, the airlock and the other side refuse."""
    return [
        refused(lambda: net.connect("127.0.0.2", 1)),
        refused(lambda: net.connect("10.0.0.1", 80)),
        refused(lambda: net.connect("127.0.0.1", 1)),
        refused(lambda: net.listen("0.0.0.0")),  # noqa: S104 - refused
        refused(lambda: net.udp("::1", 53)),
        refused(lambda: net.udp("127.0.0.1").send_to(b"x", "127.0.0.2", 53)),
        refused(lambda: net.connect("", 1)),
        refused(net.listen_local),
        net.lookup("127.0.0.1"),
        net.lookup("10.0.0.1"),
        refused(lambda: net.lookup("example.org")),
    ]


@tool
def programs_run() -> list[Any]:
    """Run programs, beside the capsule and to their end."""
    done = process.run(
        ["sh", "-c", SCRIPT], stdin=b"in ", env={"MORE": "err"}, files={"FILE": b"file"}
    )
    with process.start(["cat"]) as cat:
        cat.write(b"hello")
        poll.wait_any([cat.has_output()])
        logs = cat.logs()
        late = refused(lambda: cat.wait(0.01))
        is_number = cat.pid > 1
        rest = cat.communicate(b"more", timeout=20)
        poll.wait_any([cat.ended()])
    with process.start(["sleep", "60"]) as asleep:
        asleep.signal("term")
        ended = asleep.wait(20)
        over = refused(lambda: asleep.signal("int"))
    with process.start(["sleep", "60"]) as killed:
        kill = killed.kill()
    return [
        done,
        done.exit.is_success,
        logs,
        late,
        is_number,
        rest,
        ended,
        over,
        [kill.was_running, kill.exit],
        refused(killed.logs)[:2],
    ]


@tool
def programs_kept() -> list[Any]:
    """Keep a program by its id."""
    keeping = process.Keeping(label="mine", stdin_open=True, buffer_bytes=8192, lifetime=60)
    made = process.keep(["cat"], keeping=keeping)
    found = process.KeptProcess(made.id)
    info = found.status()
    found.write(b"kept")
    with found.attach() as attached:
        poll.wait_any([attached.has_output()])
    chunk = found.read_since()
    again = found.read_since(chunk.cursor, max_bytes=10)
    logs = found.logs()
    found.signal("stop")
    found.signal("cont")
    listed = [one.id == made.id for one in process.kept("mine")]
    early = refused(found.release)
    found.close_stdin()
    ended = found.wait(20)
    with found.attach() as attached:  # its last output may come after its end
        poll.wait_any([attached.has_output()])
    end = found.read_since(chunk.cursor)
    with ipc.subscribe("astrid.process.v1.exited.*") as events:
        badly = refused(lambda: found.watch("not.one"))
        found.watch("mine")
        (told,) = events.recv(20).messages
    found.unwatch()
    found.release()
    found.release()
    other = process.keep(["sleep", "60"])
    return [
        [info.label, info.command, info.is_running, info.exit, info.is_stdin_open],
        [chunk.data.decode(), chunk.is_end, again.data.decode(), logs.stdout, logs.is_running],
        listed,
        [one.id for one in process.statuses([made.id, "gone"])],
        early,
        ended,
        end.is_end,
        badly,
        [told.topic, told.json()["id"] == made.id, told.json()["exit"]],
        refused(found.status),
        other.stop(20),
        refused(other.logs)[1],
    ]


@tool
def programs_refused() -> list[Any]:
    """What the manifest and common sense refuse."""
    found = [
        refused(lambda: process.run(["true"])),
        refused(lambda: process.run(["sh", "script"])),
        refused(lambda: process.run(["cat"], cwd="../up")),
        refused(lambda: process.run(["cat"], env={"1A": "x"})),
        refused(lambda: process.run(["cat"], stdin=bytes(2_600_001))),
        refused(lambda: process.start(["no-such-program"])),
    ]
    for wrong in ("cat", []):
        try:
            process.run(wrong)
        except ValueError as error:
            found.append([str(error)])
    return found
