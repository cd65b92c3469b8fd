//! The pool on a real Bitcoin Core.
