;; imports a resource from one interface into another, as the kits do
(component
  (import "astrid:io/poll@1.0.0" (instance $poll
    (export "pollable" (type $pollable (sub resource)))
    (export "[method]pollable.ready" (func (param "self" (borrow $pollable)) (result bool)))))
  (alias export $poll "pollable" (type $pollable))
  (import "astrid:ipc/host@1.0.0" (instance $ipc
    (alias outer 1 $pollable (type $outer))
    (export "pollable" (type $pollable (eq $outer)))
    (export "subscription" (type $subscription (sub resource)))
    (type $error' (variant (case "capability-denied") (case "closed") (case "unknown" string)))
    (export "error-code" (type $error (eq $error')))
    (export "[method]subscription.subscribe-readiness"
      (func (param "self" (borrow $subscription)) (result (own $pollable))))
    (export "subscribe" (func (param "topic-pattern" string)
      (result (result (own $subscription) (error $error)))))))
  (core module $m (func (export "run")))
  (core instance $i (instantiate $m))
  (func (export "run") (canon lift (core func $i "run"))))
