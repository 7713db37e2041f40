;; uses a host resource; the first payload byte selects what astrid-hook-trigger does with it,
;; the answer's data is one character: a value, or the number of an error case under action "e"
(component
  (import "test:things/host@1.0.0" (instance $host
    (export "thing" (type $thing (sub resource)))
    (type $error' (variant (case "quota") (case "closed") (case "unknown" string)))
    (export "error-code" (type $error (eq $error')))
    (export "make" (func (param "n" u32) (result (result (own $thing) (error $error)))))
    (export "plain" (func (result (own $thing))))
    (export "[method]thing.value" (func (param "self" (borrow $thing)) (result u32)))
    (export "sum" (func (param "things" (list (borrow $thing)))
      (result (result u32 (error $error)))))
    (export "give-back" (func (param "thing" (own $thing))))))
  (alias export $host "thing" (type $thing))
  (core module $libc
    (memory (export "memory") 1)
    (global $next (export "next") (mut i32) (i32.const 4096))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
      (global.set $next (i32.add (local.get $at) (local.get 3)))
      (local.get $at)))
  (core instance $libc (instantiate $libc))
  (core func $make (canon lower (func $host "make") (memory (core memory $libc "memory"))
    (realloc (core func $libc "realloc"))))
  (core func $plain (canon lower (func $host "plain")))
  (core func $value (canon lower (func $host "[method]thing.value")))
  (core func $sum (canon lower (func $host "sum") (memory (core memory $libc "memory"))
    (realloc (core func $libc "realloc"))))
  (core func $back (canon lower (func $host "give-back")))
  (core func $drop (canon resource.drop $thing))
  (core module $m
    (import "l" "memory" (memory 1))
    (import "l" "next" (global $next (mut i32)))
    (import "h" "make" (func $make (param i32 i32)))
    (import "h" "plain" (func $plain (result i32)))
    (import "h" "value" (func $value (param i32) (result i32)))
    (import "h" "sum" (func $sum (param i32 i32 i32)))
    (import "h" "back" (func $back (param i32)))
    (import "h" "drop" (func $drop (param i32)))
    (data (i32.const 64) "ke")
    (func $new (param $n i32) (result i32)
      (call $make (local.get $n) (i32.const 128))
      (i32.load (i32.const 132)))
    (func $failed (result i32) (i32.load8_u (i32.const 128)))
    (func $answer (param $failed i32) (param $data i32) (result i32)
      (i32.store8 (i32.const 72) (local.get $data))
      (i32.store (i32.const 16) (i32.add (i32.const 64) (local.get $failed)))
      (i32.store (i32.const 20) (i32.const 1))
      (i32.store (i32.const 24) (i32.const 1))
      (i32.store (i32.const 28) (i32.const 72))
      (i32.store (i32.const 32) (i32.const 1))
      (i32.const 16))
    (func (export "hook") (param i32 i32 i32 i32) (result i32)
      (local $op i32) (local $a i32) (local $b i32) (local $n i32)
      (global.set $next (i32.const 4096))
      (local.set $op (i32.load8_u (local.get 2)))
      ;; "m": make and keep
      (if (i32.eq (local.get $op) (i32.const 0x6d)) (then
        (local.set $a (call $new (i32.const 65)))
        (return (call $answer (call $failed)
          (select (i32.load8_u (i32.const 132)) (i32.const 75) (call $failed))))))
      ;; "u": make, use, drop
      (if (i32.eq (local.get $op) (i32.const 0x75)) (then
        (local.set $a (call $new (i32.const 66)))
        (local.set $n (call $value (local.get $a)))
        (call $drop (local.get $a))
        (return (call $answer (i32.const 0) (local.get $n)))))
      ;; "s": make two, pass both as a list of borrows, drop both
      (if (i32.eq (local.get $op) (i32.const 0x73)) (then
        (local.set $a (call $new (i32.const 20)))
        (local.set $b (call $new (i32.const 50)))
        (i32.store (i32.const 256) (local.get $a))
        (i32.store (i32.const 260) (local.get $b))
        (call $sum (i32.const 256) (i32.const 2) (i32.const 128))
        (call $drop (local.get $b))
        (call $drop (local.get $a))
        (return (call $answer (call $failed) (i32.load8_u (i32.const 132))))))
      ;; "b": make and give the ownership back
      (if (i32.eq (local.get $op) (i32.const 0x62)) (then
        (call $back (call $new (i32.const 67)))
        (return (call $answer (i32.const 0) (i32.const 75)))))
      ;; "d": drop twice; "x": invent a handle
      (if (i32.eq (local.get $op) (i32.const 0x64)) (then
        (local.set $a (call $new (i32.const 68)))
        (call $drop (local.get $a))
        (call $drop (local.get $a))))
      (if (i32.eq (local.get $op) (i32.const 0x78)) (then
        (drop (call $value (i32.const 77)))))
      ;; "p": from a function that cannot fail; use and keep
      (if (i32.eq (local.get $op) (i32.const 0x70)) (then
        (return (call $answer (i32.const 0) (i32.add (i32.const 65) (call $value (call $plain)))))))
      ;; "f": make and keep until it fails; answers the case
      (if (i32.eq (local.get $op) (i32.const 0x66)) (then
        (loop $again
          (drop (call $new (i32.const 1)))
          (br_if $again (i32.eqz (call $failed))))
        (return (call $answer (i32.const 1) (i32.load8_u (i32.const 132))))))
      (unreachable)))
  (core instance $i (instantiate $m (with "l" (instance $libc)) (with "h" (instance
    (export "make" (func $make)) (export "plain" (func $plain)) (export "value" (func $value))
    (export "sum" (func $sum)) (export "back" (func $back)) (export "drop" (func $drop))))))
  (type $result' (record (field "action" string) (field "data" (option string))))
  (export $result "capsule-result" (type $result'))
  (func (export "astrid-hook-trigger")
    (param "action" string) (param "payload" (list u8)) (result $result)
    (canon lift (core func $i "hook") (memory (core memory $libc "memory"))
      (realloc (core func $libc "realloc")))))
