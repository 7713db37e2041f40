;; astrid-install counts for a while: a fixed amount of computing
(component
  (core module $m
    (func (export "install") (local $n i64)
      (loop $l (br_if $l (i64.ne (i64.const 1000000000)
        (local.tee $n (i64.add (local.get $n) (i64.const 1))))))))
  (core instance $i (instantiate $m))
  (func (export "astrid-install") (canon lift (core func $i "install"))))
