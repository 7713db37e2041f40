;; A neighbour nobody wants: `flood` publishes events without end, until its deadline.
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
    (memory (export "memory") 2)
    (data (i32.const 0) "bench.v1.flood")
    (data (i32.const 32) "{}")
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 4096)))
  (core instance $memory (instantiate $Memory))
  (alias core export $memory "memory" (core memory $mem))
  (alias core export $memory "realloc" (core func $realloc))
  (core func $publish (canon lower (func $host "publish")
    (memory $mem) (realloc $realloc) string-encoding=utf8))

  (core module $Flood
    (import "ipc" "publish" (func $publish (param i32 i32 i32 i32 i32)))
    (func (export "hook") (param i32 i32 i32 i32) (result i32)
      (loop $again
        (call $publish
          (i32.const 0) (i32.const 14) (i32.const 32) (i32.const 2) (i32.const 256))
        (br $again))
      unreachable))
  (core instance $flood (instantiate $Flood
    (with "ipc" (instance (export "publish" (func $publish))))))

  (type $life (instance
    (type $result' (record (field "action" string) (field "data" (option string))))
    (export "capsule-result" (type (eq $result')))))
  (import "astrid:guest/lifecycle@1.0.0" (instance $lifecycle (type $life)))
  (alias export $lifecycle "capsule-result" (type $result))
  (func (export "astrid-hook-trigger")
    (param "action" string) (param "payload" (list u8)) (result $result)
    (canon lift (core func $flood "hook")
      (memory $mem) (realloc $realloc) string-encoding=utf8)))
