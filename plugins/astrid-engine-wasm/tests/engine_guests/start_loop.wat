;; its start function never returns, so it cannot even be instantiated
(component
  (core module $m (func $spin (loop $l (br $l))) (func (export "run")) (start $spin))
  (core instance $i (instantiate $m))
  (func (export "astrid-install") (canon lift (core func $i "run"))))
