//! Precomputed tables for curve arithmetic, set up as seldom as the build allows.

use secp256k1::{All, Secp256k1};

/// Access to a curve context. With `std` it is one per process; without, one per object that needs it, because a
/// shared one needs a lock. Setting one up costs about as much as a signature.
#[cfg(feature = "std")]
#[derive(Clone, Debug)]
pub(crate) struct Context;

#[cfg(feature = "std")]
impl Context {
    pub(crate) fn new() -> Self {
        Self
    }

    pub(crate) fn get(&self) -> &Secp256k1<All> {
        static SHARED: std::sync::LazyLock<Secp256k1<All>> = std::sync::LazyLock::new(Secp256k1::new);
        &SHARED
    }
}

/// Without `std`: a context of its own.
#[cfg(not(feature = "std"))]
#[derive(Clone, Debug)]
pub(crate) struct Context(Secp256k1<All>);

#[cfg(not(feature = "std"))]
impl Context {
    pub(crate) fn new() -> Self {
        Self(Secp256k1::new())
    }

    pub(crate) fn get(&self) -> &Secp256k1<All> {
        &self.0
    }
}
