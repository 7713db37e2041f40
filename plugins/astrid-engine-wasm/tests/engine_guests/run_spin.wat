;; run loop: signals readiness, then computes forever
(component
  (import "astrid:sys/host@1.0.0" (instance $sys (export "signal-ready" (func))))
  (core func $ready (canon lower (func $sys "signal-ready")))
  (core module $m
    (import "host" "ready" (func $ready))
    (func (export "run") (call $ready) (loop $l (br $l))))
  (core instance $i (instantiate $m (with "host" (instance (export "ready" (func $ready))))))
  (func (export "run") (canon lift (core func $i "run"))))
