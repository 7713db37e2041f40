;; The extension module `_astrid_image` of CPython 3.14 for wasm32, see astrid_sdk/image.py.
;;
;; `keep(object)` makes an object immortal and returns 0. It runs while a component is built; in an
;; instance it is as harmless as any other way to use memory.
(module
  (@dylink.0 (mem-info (memory 136 2) (table 1 0)))
  (import "env" "memory" (memory 1))
  (import "env" "__indirect_function_table" (table 1 funcref))
  (import "env" "__memory_base" (global $memory_base i32))
  (import "env" "__table_base" (global $table_base i32))
  (import "env" "PyModule_Create2" (func $create (param i32 i32) (result i32)))
  (import "env" "_Py_SetRefcnt" (func $set_refcount (param i32 i32)))
  (import "env" "PyLong_FromLong" (func $integer (param i32) (result i32)))

  ;; At 0 the names, at 32 the PyModuleDef (52 bytes), at 96 the PyMethodDefs (16 bytes and the end).
  (data (global.get $memory_base) "_astrid_image\00\00\00keep\00")
  (elem (global.get $table_base) func $keep)

  (func $keep (param $module i32) (param $object i32) (result i32)
    ;; _Py_IMMORTAL_INITIAL_REFCNT, far above the least immortal count
    (call $set_refcount (local.get $object) (i32.const 0x50000000))
    (call $integer (i32.const 0)))

  (func (export "PyInit__astrid_image") (result i32)
    (local $definition i32)
    (local $method i32)
    (local.set $definition (i32.add (global.get $memory_base) (i32.const 32)))
    (local.set $method (i32.add (global.get $memory_base) (i32.const 96)))
    (i32.store offset=0 (local.get $definition) (i32.const 1))                ;; ob_refcnt
    (i32.store offset=20 (local.get $definition) (global.get $memory_base))   ;; m_name
    (i32.store offset=28 (local.get $definition) (i32.const -1))              ;; m_size: no state
    (i32.store offset=32 (local.get $definition) (local.get $method))         ;; m_methods
    (i32.store offset=0 (local.get $method)
      (i32.add (global.get $memory_base) (i32.const 16)))                     ;; ml_name
    (i32.store offset=4 (local.get $method) (global.get $table_base))         ;; ml_meth
    (i32.store offset=8 (local.get $method) (i32.const 8))                    ;; METH_O
    (call $create (local.get $definition) (i32.const 1013))))                 ;; PYTHON_API_VERSION
