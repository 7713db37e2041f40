;; astrid-install asks the prompting interface once; astrid-upgrade loops
(component
  (import "astrid:elicit/host@1.0.0" (instance $elicit
    (type $error' (variant (case "not-in-lifecycle") (case "timeout") (case "cancelled")
      (case "invalid-input") (case "store-unavailable") (case "unknown" string)))
    (export "error-code" (type $error (eq $error')))
    (export "has-secret" (func (param "key" string) (result (result bool (error $error)))))))
  (core module $libc
    (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 4096)))
  (core instance $libc (instantiate $libc))
  (core func $ask (canon lower (func $elicit "has-secret")
    (memory (core memory $libc "memory")) (realloc (core func $libc "realloc"))))
  (core module $m
    (import "host" "ask" (func $ask (param i32 i32 i32)))
    (func (export "install") (local $n i32)
      (call $ask (i32.const 64) (i32.const 1) (i32.const 128))
      (loop $l (br_if $l (i32.ne (i32.const 100000000)
        (local.tee $n (i32.add (local.get $n) (i32.const 1)))))))
    (func (export "upgrade") (loop $l (br $l))))
  (core instance $i (instantiate $m (with "host" (instance (export "ask" (func $ask))))))
  (func (export "astrid-install") (canon lift (core func $i "install")))
  (func (export "astrid-upgrade") (canon lift (core func $i "upgrade"))))
