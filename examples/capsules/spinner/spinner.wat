;; A capsule with one bad habit: its hook loops for ever. It imports no function at all.
(component
  (core module $Spinner
    (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
    (func (export "hook") (param i32 i32 i32 i32) (result i32)
      (loop $again (br $again))
      unreachable))
  (core instance $spinner (instantiate $Spinner))
  (alias core export $spinner "memory" (core memory $memory))
  (alias core export $spinner "realloc" (core func $realloc))

  (type $life (instance
    (type $result' (record (field "action" string) (field "data" (option string))))
    (export "capsule-result" (type (eq $result')))))
  (import "astrid:guest/lifecycle@1.0.0" (instance $lifecycle (type $life)))
  (alias export $lifecycle "capsule-result" (type $result))
  (func (export "astrid-hook-trigger")
    (param "action" string) (param "payload" (list u8)) (result $result)
    (canon lift (core func $spinner "hook")
      (memory $memory) (realloc $realloc) string-encoding=utf8)))
