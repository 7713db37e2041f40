;; The smallest tool: `echo` answers with its argument `text`. It copies the call id and the text
;; out of the request's JSON as they stand, without unescaping, and publishes the result.
(component
  (type $ipc (instance
    (type $error' (variant
      (case "capability-denied") (case "invalid-input") (case "closed") (case "rate-limited")
      (case "backpressure") (case "quota") (case "timeout") (case "unknown" string)))
    (export "error-code" (type $error (eq $error')))
    (type $done (result (error $error)))
    (export "publish" (func (param "topic" string) (param "payload" string) (result $done)))))
  (import "astrid:ipc/host@1.0.0" (instance $host (type $ipc)))

  (core module $Memory
    (memory (export "memory") 4)
    (global $next (mut i32) (i32.const 1024))
    (data (i32.const 0) "\"call_id\":\"")
    (data (i32.const 16) "\"text\":\"")
    (data (i32.const 32) "tool.v1.execute.echo.result")
    (data (i32.const 64) "{\"type\":\"tool_execute_result\",\"call_id\":\"")
    (data (i32.const 128) "\",\"result\":{\"call_id\":\"")
    (data (i32.const 192) "\",\"content\":\"")
    (data (i32.const 224) "\",\"is_error\":false}}")
    (data (i32.const 256) "continue")
    ;; A bump allocator without growth: 256 KiB hold every request of the benchmarks.
    (func $allocate (export "realloc")
      (param $old i32) (param $old-size i32) (param $align i32) (param $size i32) (result i32)
      (local $at i32)
      (local.set $at
        (i32.and
          (i32.add (global.get $next) (i32.sub (local.get $align) (i32.const 1)))
          (i32.sub (i32.const 0) (local.get $align))))
      (global.set $next (i32.add (local.get $at) (local.get $size)))
      (if (i32.gt_u (global.get $next) (i32.const 262144)) (then unreachable))
      (local.get $at))
    (func (export "reset") (global.set $next (i32.const 1024))))
  (core instance $memory (instantiate $Memory))
  (alias core export $memory "memory" (core memory $mem))
  (alias core export $memory "realloc" (core func $realloc))
  (core func $publish (canon lower (func $host "publish")
    (memory $mem) (realloc $realloc) string-encoding=utf8))

  (core module $Echo
    (import "env" "memory" (memory 1))
    (import "env" "reset" (func $reset))
    (import "env" "realloc" (func $allocate (param i32 i32 i32 i32) (result i32)))
    (import "ipc" "publish" (func $publish (param i32 i32 i32 i32 i32)))

    ;; Where the text after the needle begins; traps when it is not there.
    (func $after (param $needle i32) (param $length i32) (param $at i32) (param $end i32)
      (result i32)
      (local $i i32)
      (loop $place
        (if (i32.gt_u (i32.add (local.get $at) (local.get $length)) (local.get $end))
          (then unreachable))
        (local.set $i (i32.const 0))
        (block $differs
          (loop $letter
            (br_if $differs (i32.ne
              (i32.load8_u (i32.add (local.get $needle) (local.get $i)))
              (i32.load8_u (i32.add (local.get $at) (local.get $i)))))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $letter (i32.lt_u (local.get $i) (local.get $length))))
          (return (i32.add (local.get $at) (local.get $length))))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $place))
      unreachable)

    ;; Bytes up to the closing quote; the end of the payload is beyond it.
    (func $quoted (param $start i32) (result i32)
      (local $at i32)
      (local.set $at (local.get $start))
      (loop $letter
        (if (i32.ne (i32.load8_u (local.get $at)) (i32.const 34))
          (then (local.set $at (i32.add (local.get $at) (i32.const 1))) (br $letter))))
      (i32.sub (local.get $at) (local.get $start)))

    (func $append (param $to i32) (param $from i32) (param $length i32) (result i32)
      (memory.copy (local.get $to) (local.get $from) (local.get $length))
      (i32.add (local.get $to) (local.get $length)))

    (func (export "hook") (param $action i32) (param $action-size i32)
      (param $payload i32) (param $payload-size i32) (result i32)
      (local $end i32) (local $id i32) (local $id-size i32) (local $text i32) (local $text-size i32)
      (local $answer i32) (local $to i32)
      (local.set $end (i32.add (local.get $payload) (local.get $payload-size)))
      (local.set $id
        (call $after (i32.const 0) (i32.const 11) (local.get $payload) (local.get $end)))
      (local.set $id-size (call $quoted (local.get $id)))
      (local.set $text
        (call $after (i32.const 16) (i32.const 8) (local.get $id) (local.get $end)))
      (local.set $text-size (call $quoted (local.get $text)))
      (local.set $answer
        (call $allocate (i32.const 0) (i32.const 0) (i32.const 1)
          (i32.add (i32.const 256)
            (i32.add (local.get $text-size) (i32.shl (local.get $id-size) (i32.const 1))))))
      (local.set $to (call $append (local.get $answer) (i32.const 64) (i32.const 41)))
      (local.set $to (call $append (local.get $to) (local.get $id) (local.get $id-size)))
      (local.set $to (call $append (local.get $to) (i32.const 128) (i32.const 23)))
      (local.set $to (call $append (local.get $to) (local.get $id) (local.get $id-size)))
      (local.set $to (call $append (local.get $to) (i32.const 192) (i32.const 13)))
      (local.set $to (call $append (local.get $to) (local.get $text) (local.get $text-size)))
      (local.set $to (call $append (local.get $to) (i32.const 224) (i32.const 20)))
      (call $publish (i32.const 32) (i32.const 27)
        (local.get $answer) (i32.sub (local.get $to) (local.get $answer)) (i32.const 320))
      (if (i32.load8_u (i32.const 320)) (then unreachable))
      (i32.store (i32.const 288) (i32.const 256))
      (i32.store (i32.const 292) (i32.const 8))
      (i32.store8 (i32.const 296) (i32.const 0))
      (i32.const 288))
    (func (export "after") (param i32) (call $reset)))
  (core instance $echo (instantiate $Echo
    (with "env" (instance
      (export "memory" (memory $mem))
      (export "realloc" (func $realloc))
      (export "reset" (func $memory "reset"))))
    (with "ipc" (instance (export "publish" (func $publish))))))

  (type $life (instance
    (type $result' (record (field "action" string) (field "data" (option string))))
    (export "capsule-result" (type (eq $result')))))
  (import "astrid:guest/lifecycle@1.0.0" (instance $lifecycle (type $life)))
  (alias export $lifecycle "capsule-result" (type $result))
  (type $payload (list u8))
  (func (export "astrid-hook-trigger")
    (param "action" string) (param "payload" $payload) (result $result)
    (canon lift (core func $echo "hook")
      (memory $mem) (realloc $realloc) string-encoding=utf8
      (post-return (core func $echo "after")))))
