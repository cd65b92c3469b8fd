//! Cursor over the bytes being decoded.

use crate::Error;

/// Reads from the front of a byte slice; what it hands out borrows from that slice.
///
/// After an error the position is where the failed read began.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    total: usize,
}

impl<'a> Reader<'a> {
    /// Starts at the first byte of `bytes`.
    #[inline]
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, total: bytes.len() }
    }

    /// Bytes not read yet.
    #[inline]
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Bytes read so far.
    #[inline]
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.total - self.rest.len()
    }

    /// Takes the next `len` bytes; [`Error::UnexpectedEnd`] when fewer are left.
    #[inline]
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], Error> {
        match self.rest.split_at_checked(len) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => Err(self.end(len)),
        }
    }

    /// Takes the next `N` bytes; [`Error::UnexpectedEnd`] when fewer are left.
    #[inline]
    pub fn take_array<const N: usize>(&mut self) -> Result<&'a [u8; N], Error> {
        match self.rest.split_first_chunk::<N>() {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => Err(self.end(N)),
        }
    }

    /// Succeeds when nothing is left; [`Error::TrailingBytes`] otherwise.
    #[inline]
    pub const fn finish(&self) -> Result<(), Error> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(Error::TrailingBytes { offset: self.offset(), got: self.rest.len() })
        }
    }

    #[cold]
    fn end(&self, expected: usize) -> Error {
        Error::UnexpectedEnd { offset: self.offset(), expected, got: self.rest.len() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_read_names_its_place_and_moves_nothing() {
        let mut r = Reader::new(&[1, 2, 3]);
        assert_eq!(r.take(2), Ok(&[1u8, 2][..]));
        let end = Error::UnexpectedEnd { offset: 2, expected: 4, got: 1 };
        assert_eq!(r.take_array::<4>(), Err(end));
        assert_eq!(r.finish(), Err(Error::TrailingBytes { offset: 2, got: 1 }));
        assert_eq!(r.take(1), Ok(&[3u8][..]));
        assert_eq!(r.finish(), Ok(()));
    }
}
