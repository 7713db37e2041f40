;; Counts events: every call adds one to the decimal number stored under the key "count".
;;
;; The whole capsule is written by hand, to show what a component needs at the least: the store's
;; two functions, a linear memory with an allocator the host can call, and one exported hook.
(component
  (type $store (instance
    (type $error' (variant
      (case "invalid-key") (case "too-large") (case "quota") (case "cas-mismatch")
      (case "unknown" string)))
    (export "error-code" (type $error (eq $error')))
    (type $bytes (list u8))
    (type $found (option $bytes))
    (type $got (result $found (error $error)))
    (type $done (result (error $error)))
    (export "kv-get" (func (param "key" string) (result $got)))
    (export "kv-set" (func (param "key" string) (param "value" $bytes) (result $done)))))
  (import "astrid:kv/host@1.0.0" (instance $kv (type $store)))

  ;; Memory comes first: the lowered imports write their answers into it.
  (core module $Memory
    (memory (export "memory") 1)
    (global $next (mut i32) (i32.const 1024))
    (data (i32.const 0) "count")
    (data (i32.const 8) "continue")
    (data (i32.const 16) "deny")
    ;; A bump allocator; `reset` after each call keeps one page enough for ever.
    (func (export "realloc")
      (param $old i32) (param $old-size i32) (param $align i32) (param $size i32) (result i32)
      (local $at i32)
      (local.set $at
        (i32.and
          (i32.add (global.get $next) (i32.sub (local.get $align) (i32.const 1)))
          (i32.sub (i32.const 0) (local.get $align))))
      (global.set $next (i32.add (local.get $at) (local.get $size)))
      (block $fits
        (br_if $fits (i32.le_u (global.get $next) (i32.mul (memory.size) (i32.const 65536))))
        (br_if $fits
          (i32.ne
            (memory.grow (i32.add (i32.div_u (local.get $size) (i32.const 65536)) (i32.const 1)))
            (i32.const -1)))
        unreachable)
      (local.get $at))
    (func (export "reset") (global.set $next (i32.const 1024))))
  (core instance $memory (instantiate $Memory))
  (alias core export $memory "memory" (core memory $mem))
  (alias core export $memory "realloc" (core func $realloc))
  (core func $get (canon lower (func $kv "kv-get")
    (memory $mem) (realloc $realloc) string-encoding=utf8))
  (core func $set (canon lower (func $kv "kv-set")
    (memory $mem) (realloc $realloc) string-encoding=utf8))

  (core module $Tally
    (import "env" "memory" (memory 1))
    (import "env" "reset" (func $reset))
    (import "kv" "get" (func $get (param i32 i32 i32)))
    (import "kv" "set" (func $set (param i32 i32 i32 i32 i32)))

    ;; The number stored under "count"; 0 when there is none or it cannot be read.
    ;; Answer of kv-get at 64: byte 64 error flag, byte 68 presence, 72 pointer, 76 length.
    (func $load (result i64)
      (local $at i32) (local $end i32) (local $n i64)
      (call $get (i32.const 0) (i32.const 5) (i32.const 64))
      (if (i32.or (i32.load8_u (i32.const 64)) (i32.eqz (i32.load8_u (i32.const 68))))
        (then (return (i64.const 0))))
      (local.set $at (i32.load (i32.const 72)))
      (local.set $end (i32.add (local.get $at) (i32.load (i32.const 76))))
      (block $done
        (loop $digit
          (br_if $done (i32.ge_u (local.get $at) (local.get $end)))
          (local.set $n
            (i64.add
              (i64.mul (local.get $n) (i64.const 10))
              (i64.extend_i32_u (i32.sub (i32.load8_u (local.get $at)) (i32.const 48)))))
          (local.set $at (i32.add (local.get $at) (i32.const 1)))
          (br $digit)))
      (local.get $n))

    ;; Writes the digits backwards from 160; an i64 has at most 20.
    (func $store (param $n i64)
      (local $at i32)
      (local.set $at (i32.const 160))
      (loop $digit
        (local.set $at (i32.sub (local.get $at) (i32.const 1)))
        (i32.store8 (local.get $at)
          (i32.add (i32.wrap_i64 (i64.rem_u (local.get $n) (i64.const 10))) (i32.const 48)))
        (local.set $n (i64.div_u (local.get $n) (i64.const 10)))
        (br_if $digit (i64.ne (local.get $n) (i64.const 0))))
      (call $set (i32.const 0) (i32.const 5)
        (local.get $at) (i32.sub (i32.const 160) (local.get $at)) (i32.const 64)))

    ;; Any action counts. The answer at 96: "continue", or "deny" when the store refused; no data.
    (func (export "hook") (param $action i32) (param $action-size i32)
      (param $payload i32) (param $payload-size i32) (result i32)
      (call $store (i64.add (call $load) (i64.const 1)))
      (i32.store (i32.const 96)
        (select (i32.const 16) (i32.const 8) (i32.load8_u (i32.const 64))))
      (i32.store (i32.const 100)
        (select (i32.const 4) (i32.const 8) (i32.load8_u (i32.const 64))))
      (i32.store8 (i32.const 104) (i32.const 0))
      (i32.const 96))
    (func (export "after") (param i32) (call $reset)))
  (core instance $tally (instantiate $Tally
    (with "env" (instance
      (export "memory" (memory $mem))
      (export "reset" (func $memory "reset"))))
    (with "kv" (instance
      (export "get" (func $get))
      (export "set" (func $set))))))

  (type $life (instance
    (type $result' (record (field "action" string) (field "data" (option string))))
    (export "capsule-result" (type (eq $result')))))
  (import "astrid:guest/lifecycle@1.0.0" (instance $lifecycle (type $life)))
  (alias export $lifecycle "capsule-result" (type $result))
  (type $payload (list u8))
  (func (export "astrid-hook-trigger")
    (param "action" string) (param "payload" $payload) (result $result)
    (canon lift (core func $tally "hook")
      (memory $mem) (realloc $realloc) string-encoding=utf8
      (post-return (core func $tally "after")))))
