;; `astrid-install` reads workspace://in 20 times, `astrid-upgrade` writes 1 MiB to
;; workspace://out as often; a call that fails traps
(component
  (import "astrid:fs/host@1.0.0" (instance $fs
    (type $error' (variant (case "not-found") (case "access") (case "capability-denied")
      (case "boundary-escape") (case "invalid-path") (case "would-block") (case "is-directory")
      (case "not-directory") (case "not-empty") (case "too-large") (case "quota")
      (case "cross-vfs") (case "already-exists") (case "closed") (case "unknown" string)))
    (export "error-code" (type $error (eq $error')))
    (export "read-file" (func (param "path" string) (result (result (list u8) (error $error)))))
    (export "write-file" (func (param "path" string) (param "content" (list u8))
      (result (result (error $error)))))))
  (core module $libc
    (memory (export "memory") 40)
    (global $next (export "next") (mut i32) (i32.const 4096))
    (data (i32.const 64) "workspace://in")
    (data (i32.const 96) "workspace://out")
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
      (global.set $next (i32.add (local.get $at) (local.get 3)))
      (local.get $at)))
  (core instance $libc (instantiate $libc))
  (core func $read (canon lower (func $fs "read-file") (memory (core memory $libc "memory"))
    (realloc (core func $libc "realloc"))))
  (core func $write (canon lower (func $fs "write-file") (memory (core memory $libc "memory"))
    (realloc (core func $libc "realloc"))))
  (core module $m
    (import "libc" "memory" (memory 40))
    (import "libc" "next" (global $next (mut i32)))
    (import "fs" "read" (func $read (param i32 i32 i32)))
    (import "fs" "write" (func $write (param i32 i32 i32 i32 i32)))
    (func $read_once
      (global.set $next (i32.const 4096))
      (call $read (i32.const 64) (i32.const 14) (i32.const 128))
      (if (i32.load8_u (i32.const 128)) (then unreachable)))
    (func $write_once
      (call $write (i32.const 96) (i32.const 15) (i32.const 1310720) (i32.const 1048576)
        (i32.const 128))
      (if (i32.load8_u (i32.const 128)) (then unreachable)))
    (func (export "reads") (local $n i32)
      (local.set $n (i32.const 20))
      (loop $again
        (call $read_once)
        (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))
    (func (export "writes") (local $n i32)
      (local.set $n (i32.const 20))
      (loop $again
        (call $write_once)
        (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))))
  (core instance $i (instantiate $m
    (with "libc" (instance $libc))
    (with "fs" (instance (export "read" (func $read)) (export "write" (func $write))))))
  (func (export "astrid-install") (canon lift (core func $i "reads")))
  (func (export "astrid-upgrade") (canon lift (core func $i "writes"))))
