//! Cursor over the buffer being filled.

use crate::Error;

/// Writes to the front of a byte slice the caller owns; never allocates.
#[derive(Debug)]
pub struct Writer<'b> {
    rest: &'b mut [u8],
    total: usize,
}

impl<'b> Writer<'b> {
    /// Starts at the first byte of `buffer`.
    #[inline]
    #[must_use]
    pub const fn new(buffer: &'b mut [u8]) -> Self {
        let total = buffer.len();
        Self { rest: buffer, total }
    }

    /// Bytes written so far.
    #[inline]
    #[must_use]
    pub const fn written(&self) -> usize {
        self.total - self.rest.len()
    }

    /// Bytes of room left.
    #[inline]
    #[must_use]
    pub const fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Appends `bytes`; [`Error::BufferTooSmall`] when they do not fit, and then writes none.
    #[inline]
    pub fn put(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if bytes.len() > self.rest.len() {
            return Err(self.full(bytes.len()));
        }
        let (to, rest) = core::mem::take(&mut self.rest).split_at_mut(bytes.len());
        to.copy_from_slice(bytes);
        self.rest = rest;
        Ok(())
    }

    /// Appends a fixed number of bytes; [`Error::BufferTooSmall`] when they do not fit.
    #[inline]
    pub fn put_array<const N: usize>(&mut self, bytes: &[u8; N]) -> Result<(), Error> {
        if N > self.rest.len() {
            return Err(self.full(N));
        }
        let (to, rest) = core::mem::take(&mut self.rest).split_at_mut(N);
        to.copy_from_slice(bytes);
        self.rest = rest;
        Ok(())
    }

    #[cold]
    fn full(&self, expected: usize) -> Error {
        Error::BufferTooSmall { offset: self.written(), expected, got: self.rest.len() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_buffer_is_an_error_that_writes_nothing() {
        let mut buffer = [0u8; 3];
        let mut w = Writer::new(&mut buffer);
        assert_eq!(w.put(&[1, 2]), Ok(()));
        let full = Error::BufferTooSmall { offset: 2, expected: 2, got: 1 };
        assert_eq!(w.put_array(&[9, 9]), Err(full));
        assert_eq!((w.written(), w.remaining()), (2, 1));
        assert_eq!(buffer, [1, 2, 0]);
    }
}
