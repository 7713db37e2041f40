"""The engine's hostile test guests, also in variants, for tests of the whole kernel."""

from __future__ import annotations

from pathlib import Path

import wasmtime

GUESTS = Path(__file__).parents[2] / "plugins/astrid-engine-wasm/tests/engine_guests"

WRITES_STATE = """
(component
  (import "astrid:kv/host@1.0.0" (instance $kv
    (type $error' (variant (case "invalid-key") (case "too-large") (case "quota")
      (case "cas-mismatch") (case "unknown" string)))
    (export "error-code" (type $error (eq $error')))
    (export "kv-set" (func (param "key" string) (param "value" (list u8))
      (result (result (error $error)))))))
  (core module $libc
    (memory (export "memory") 1)
    (data (i32.const 64) "made-by{value}")
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 4096)))
  (core instance $libc (instantiate $libc))
  (core func $set (canon lower (func $kv "kv-set")
    (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (core module $m
    (import "libc" "memory" (memory 1))
    (import "kv" "set" (func $set (param i32 i32 i32 i32 i32)))
    (func $write
      (call $set (i32.const 64) (i32.const 7) (i32.const 71) (i32.const {size}) (i32.const 128))
      (if (i32.load8_u (i32.const 128)) (then unreachable)))
    (func (export "astrid-install") (call $write) {after_install})
    (func (export "astrid-upgrade") (call $write) {after_upgrade})
    (func (export "run") unreachable))
  (core instance $i (instantiate $m
    (with "libc" (instance $libc)) (with "kv" (instance (export "set" (func $set))))))
  (func (export "astrid-install") (canon lift (core func $i "astrid-install")))
  (func (export "astrid-upgrade") (canon lift (core func $i "astrid-upgrade")))
  {run})
"""
_RUN = '(func (export "run") (canon lift (core func $i "run")))'

ECHO = Path(__file__).parents[1] / "benchmarks/guests/echo_tool.wat"
_KV = """  (import "astrid:kv/host@1.0.0" (instance $kv
    (type $error' (variant (case "invalid-key") (case "too-large") (case "quota")
      (case "cas-mismatch") (case "unknown" string)))
    (export "error-code" (type $error (eq $error')))
    (export "kv-cas" (func (param "key" string) (param "expected" (option (list u8)))
      (param "new" (list u8)) (result (result (error $error)))))))
"""
_CAS = """  (core func $cas (canon lower (func $kv "kv-cas") (memory $mem) (realloc $realloc)))
"""
_CAS_IMPORT = """    (import "kv" "cas" (func $cas (param i32 i32 i32 i32 i32 i32 i32 i32)))
"""
_KEEP = """      (call $cas (local.get $text) (local.get $text-size)
        (i32.const 0) (i32.const 0) (i32.const 0)
        (local.get $text) (local.get $text-size) (i32.const 512))
      (if (i32.load8_u (i32.const 512)) (then unreachable))
"""

_PUBLISHES = """
(component
  (import "astrid:ipc/host@1.0.0" (instance $ipc
    (type $error' (variant (case "capability-denied") (case "invalid-input") (case "closed")
      (case "rate-limited") (case "backpressure") (case "quota") (case "timeout")
      (case "unknown" string)))
    (export "error-code" (type $error (eq $error')))
    (export "publish" (func (param "topic" string) (param "payload" string)
      (result (result (error $error)))))
    (export "publish-as" (func (param "topic" string) (param "payload" string)
      (param "principal" string) (result (result (error $error)))))))
  (core module $Memory
    (memory (export "memory") 2)
    (data (i32.const 64) "{topic}")
    (data (i32.const 512) "{payload}")
    (data (i32.const 2048) "{claimed}")
    (data (i32.const 2304) "continue")
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 65536)))
  (core instance $memory (instantiate $Memory))
  (alias core export $memory "memory" (core memory $mem))
  (alias core export $memory "realloc" (core func $realloc))
  (core func $publish (canon lower (func $ipc "publish") (memory $mem) (realloc $realloc)))
  (core func $claim (canon lower (func $ipc "publish-as") (memory $mem) (realloc $realloc)))
  (core module $M
    (import "env" "memory" (memory 2))
    (import "ipc" "publish" (func $publish (param i32 i32 i32 i32 i32)))
    (import "ipc" "claim" (func $claim (param i32 i32 i32 i32 i32 i32 i32)))
    (func (export "hook") (param i32 i32 i32 i32) (result i32)
      (if (i32.const {claimed_size})
        (then (call $claim (i32.const 64) (i32.const {topic_size})
          (i32.const 512) (i32.const {payload_size})
          (i32.const 2048) (i32.const {claimed_size}) (i32.const 2560)))
        (else (call $publish (i32.const 64) (i32.const {topic_size})
          (i32.const 512) (i32.const {payload_size}) (i32.const 2560))))
      (i32.store (i32.const 2400) (i32.const 2304))
      (i32.store (i32.const 2404) (i32.const 8))
      (i32.store8 (i32.const 2408) (i32.const 0))
      (i32.const 2400)))
  (core instance $m (instantiate $M
    (with "env" (instance (export "memory" (memory $mem))))
    (with "ipc" (instance
      (export "publish" (func $publish)) (export "claim" (func $claim))))))
  (type $life (instance
    (type $result' (record (field "action" string) (field "data" (option string))))
    (export "capsule-result" (type (eq $result')))))
  (import "astrid:guest/lifecycle@1.0.0" (instance $lifecycle (type $life)))
  (alias export $lifecycle "capsule-result" (type $result))
  (func (export "astrid-hook-trigger")
    (param "action" string) (param "payload" (list u8)) (result $result)
    (canon lift (core func $m "hook")
      (memory $mem) (realloc $realloc) string-encoding=utf8)))
"""


def publishing(topic: str, payload: str, *, claimed: str = "") -> bytes:
    """Publishes one message whenever it is called, for somebody else if a principal is claimed."""
    text = _PUBLISHES.replace("{topic}", topic).replace("{claimed}", claimed)
    text = text.replace("{payload}", payload.replace('"', '\\"'))
    for name, value in (("topic", topic), ("payload", payload), ("claimed", claimed)):
        text = text.replace(f"{{{name}_size}}", str(len(value)))
    return bytes(wasmtime.wat2wasm(text))


def keeper() -> bytes:
    """The `echo` tool, which first writes its text as the value of a key of that name, that must
    not exist, and waits until that is durable."""
    text = ECHO.read_text()
    for old, new in (
        ("  (core module $Memory\n", f"{_KV}  (core module $Memory\n"),
        ("  (core module $Echo\n", f"{_CAS}  (core module $Echo\n"),
        ('    (import "ipc" "publish"', f'{_CAS_IMPORT}    (import "ipc" "publish"'),
        ("      (local.set $answer\n", f"{_KEEP}      (local.set $answer\n"),
        (
            '    (with "ipc" (instance',
            '    (with "kv" (instance (export "cas" (func $cas))))\n    (with "ipc" (instance',
        ),
    ):
        assert text.count(old) == 1, f"echo_tool.wat has changed: {old!r}"
        text = text.replace(old, new)
    return bytes(wasmtime.wat2wasm(text))


TALLY = Path(__file__).parents[2] / "examples/capsules/tally/tally.wat"
_LOOP_IMPORTS = """
  (import "astrid:sys/host@1.0.0" (instance $sys (export "signal-ready" (func))))
  (import "astrid:ipc/host@1.0.0" (instance $ipc
    (type $error' (variant (case "capability-denied") (case "invalid-input") (case "closed")
      (case "rate-limited") (case "backpressure") (case "quota") (case "timeout")
      (case "unknown" string)))
    (export "error-code" (type $error (eq $error')))
    (type $who' (variant (case "verified" string) (case "claimed" string) (case "system")))
    (export "principal-attribution" (type $who (eq $who')))
    (type $message' (record (field "topic" string) (field "payload" string)
      (field "source-id" string) (field "principal" $who)))
    (export "ipc-message" (type $message (eq $message')))
    (type $envelope' (record (field "messages" (list $message)) (field "dropped" u64)
      (field "lagged" u64)))
    (export "ipc-envelope" (type $envelope (eq $envelope')))
    (export "subscription" (type $subscription (sub resource)))
    (export "subscribe" (func (param "topic-pattern" string)
      (result (result (own $subscription) (error $error)))))
    (export "[method]subscription.recv" (func (param "self" (borrow $subscription))
      (param "timeout-ms" u64) (result (result $envelope (error $error)))))))
"""
_LOOP_LOWERED = """
  (core func $ready (canon lower (func $sys "signal-ready")))
  (core func $subscribe (canon lower (func $ipc "subscribe") (memory $mem) (realloc $realloc)))
  (core func $recv (canon lower (func $ipc "[method]subscription.recv")
    (memory $mem) (realloc $realloc)))

  (core module $Tally
    (import "loop" "ready" (func $ready))
    (import "loop" "subscribe" (func $subscribe (param i32 i32 i32)))
    (import "loop" "recv" (func $recv (param i32 i64 i32)))
"""
_LOOP_RUN = """
    (data (i32.const 200) "orders.*")
    (func (export "run")
      (call $subscribe (i32.const 200) (i32.const 8) (i32.const 208))
      (if (i32.load8_u (i32.const 208)) (then unreachable))
      (call $ready)
      (loop $again
        (call $recv (i32.load (i32.const 212)) (i64.const 60000) (i32.const 256))
        (if (i32.load8_u (i32.const 256)) (then unreachable))
        (if (i32.eqz (i32.load (i32.const 268))) (then return))
        (call $store (i64.add (call $load) (i64.extend_i32_u (i32.load (i32.const 268)))))
        (call $reset)
        (br $again))))
  (core instance $tally (instantiate $Tally
    (with "loop" (instance (export "ready" (func $ready)) (export "subscribe" (func $subscribe))
      (export "recv" (func $recv))))
"""
_LOOP_EXPORT = '  (func (export "run") (canon lift (core func $tally "run"))))'


def counting_loop() -> bytes:
    """A run loop that adds what it receives on `orders.*` to the number stored as `count`.

    It is the example `tally`, with a loop in the place of its hook; it ends when it is asked to.
    """
    text = TALLY.read_text()
    head, rest = text.split("\n  ;; Memory comes first")
    memory, rest = rest.split("\n  (core module $Tally\n")
    functions, rest = rest.split("\n    ;; Any action counts.")
    instance = rest.split("  (core instance $tally (instantiate $Tally\n")[1]
    instance = instance.split("\n  (type $life")[0]
    whole = (head, _LOOP_IMPORTS, memory.split("\n", 1)[1], _LOOP_LOWERED, functions, _LOOP_RUN,
             instance, _LOOP_EXPORT)  # fmt: skip
    return bytes(wasmtime.wat2wasm("".join(whole)))


def slow_to_compile() -> bytes:
    """A component that does nothing and takes a second or more to compile."""
    body = "(i32.store8 (local.get 0) (i32.rotl (i32.load (local.get 0)) (i32.const 3)))" * 400
    functions = f"(func (param i32) {body})" * 400
    return bytes(wasmtime.wat2wasm(f"(component (core module (memory 1) {functions}))"))


def engine_guest(name: str, *changes: tuple[str, str]) -> bytes:
    """A guest of the engine's own tests, with pieces of its text replaced."""
    text = (GUESTS / name).read_text()
    for old, new in changes:
        assert old in text, f"{name} has no {old!r}"
        text = text.replace(old, new)
    return bytes(wasmtime.wat2wasm(text))


def refusing_acts() -> bytes:
    """`acts.wat`, whose answers are refusals, so that callers of a tool see the data of each.

    What a call does follows from the first letter of its action; see the file.
    """
    return engine_guest(
        "acts.wat",
        ('"continue"', '"deny"'),
        ("(i32.store (i32.const 20) (i32.const 8))", "(i32.store (i32.const 20) (i32.const 4))"),
    )


def writing_state(
    value: str, *, after_install: str = "", after_upgrade: str = "", crashes: bool = False
) -> bytes:
    """Both life-cycle hooks write `value` under the key `made-by`, then do what is given.

    Whether they succeed or not, one that `crashes` has a run loop that traps at once.
    """
    return bytes(
        wasmtime.wat2wasm(
            WRITES_STATE.format(
                value=value,
                size=len(value),
                after_install=after_install,
                after_upgrade=after_upgrade,
                run=_RUN if crashes else "",
            )
        )
    )
