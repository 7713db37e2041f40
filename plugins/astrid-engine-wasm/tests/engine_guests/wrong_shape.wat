;; imports kv-get as it never was
(component
  (import "astrid:kv/host@1.0.0" (instance
    (export "kv-get" (func (param "key" u32) (result string))))))
