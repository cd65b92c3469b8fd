//! Small things that roles share (feature `std`).

use core::fmt;
use std::sync;

/// A mutex whose value is reached through closures only, so that no guard can be held across an `await`, into another lock
/// of the same thread's caller, or longer than meant.
///
/// A closure that panics leaves its value as it was at that moment, half changed maybe. Later closures do not run on it: they get
/// [`Poisoned`], and nobody else panics. None of this project's roles take a lock on the path of a share.
///
/// ```
/// use roles_logic_sv2::utils::{Mutex, Poisoned};
///
/// let accepted = Mutex::new(0u64);
/// accepted.with(|count| *count += 1)?;
/// assert_eq!(accepted.with(|count| *count), Ok(1));
/// # Ok::<(), Poisoned>(())
/// ```
#[derive(Default)]
pub struct Mutex<T: ?Sized>(sync::Mutex<T>);

/// A closure panicked while it had the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Poisoned;

impl fmt::Display for Poisoned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected a whole value behind the lock, but a panic left it half changed")
    }
}

impl core::error::Error for Poisoned {}

impl<T> Mutex<T> {
    /// Takes a value under lock.
    pub const fn new(value: T) -> Self {
        Self(sync::Mutex::new(value))
    }

    /// Gives the value back.
    pub fn into_inner(self) -> Result<T, Poisoned> {
        self.0.into_inner().map_err(|_| Poisoned)
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Runs a closure on the value, after those of other threads. Not to be called for the same mutex within it: that
    /// waits for ever.
    pub fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> Result<R, Poisoned> {
        let mut value = self.0.lock().map_err(|_| Poisoned)?;
        Ok(f(&mut value))
    }
}

impl<T> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The value stays out of logs: it may be a secret, and it may be locked.
        f.debug_struct("Mutex").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, thread, vec::Vec};

    use super::*;

    #[test]
    fn threads_take_turns() {
        let sum = Arc::new(Mutex::new(0u64));
        let add = |sum: Arc<Mutex<u64>>| move || (0..1_000).try_for_each(|_| sum.with(|sum| *sum += 1));
        let threads: Vec<_> = (0..4).map(|_| thread::spawn(add(sum.clone()))).collect();
        assert!(threads.into_iter().all(|thread| thread.join().unwrap().is_ok()));
        assert_eq!(sum.with(|sum| *sum), Ok(4_000));
        assert_eq!(Arc::into_inner(sum).unwrap().into_inner(), Ok(4_000));
    }

    #[test]
    fn a_panic_inside_is_an_error_for_others() {
        let value = Arc::new(Mutex::new(1));
        let other = value.clone();
        let panicked = thread::spawn(move || other.with(|_| panic!("on purpose"))).join();
        assert!(panicked.is_err());
        assert_eq!(value.with(|value| *value), Err(Poisoned));
        assert_eq!(Arc::into_inner(value).unwrap().into_inner(), Err(Poisoned));
    }
}
