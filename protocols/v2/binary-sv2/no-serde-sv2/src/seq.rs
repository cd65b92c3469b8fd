//! Lists: SEQ0_255 and SEQ0_64K.

use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::marker::PhantomData;

use crate::primitives::serde_as_itself;
use crate::{Decodable, Encodable, Error, IntoOwned, Len8, Len16, LenPrefix, Reader, Writer};

/// SEQ0_255\[T\]: up to 255 elements behind a one-byte count.
pub type Seq0_255<'a, T> = Seq<'a, Len8, T>;
/// SEQ0_64K\[T\]: up to 65,535 elements behind a two-byte count.
pub type Seq0_64K<'a, T> = Seq<'a, Len16, T>;

/// A type that can stand in a [`Seq`].
pub trait Element {
    /// The same type, borrowing for `'b`.
    type At<'b>: Decodable<'b> + Encodable + 'b;

    /// Wire length when it is the same for all values **and** every such byte string is valid;
    /// otherwise `None`, and each element is decoded once to check it.
    const FIXED_LEN: Option<usize>;
}

/// A list kept as the encoded bytes of its elements, which decode on iteration.
///
/// Decoding checks every element once and allocates nothing. Equality compares the encoded bytes.
pub struct Seq<'a, L, T> {
    encoded: Cow<'a, [u8]>,
    count: usize,
    of: PhantomData<fn() -> (L, T)>,
}

impl<L: LenPrefix, T: Element> Seq<'_, L, T> {
    /// No elements.
    #[must_use]
    pub const fn empty() -> Self {
        Self { encoded: Cow::Borrowed(&[]), count: 0, of: PhantomData }
    }

    /// Encodes the elements in order; [`Error::ValueTooLong`] when there are too many.
    pub fn try_from_iter<'e, I>(elements: I) -> Result<Self, Error>
    where
        I: IntoIterator<Item = T::At<'e>>,
        T: 'e,
    {
        let mut encoded = Vec::new();
        let mut count = 0;
        for element in elements {
            if count == L::MAX {
                let (max, got) = (L::MAX, count + 1);
                return Err(Error::ValueTooLong { data_type: L::SEQ_NAME, max, got });
            }
            element.encode_into_vec(&mut encoded)?;
            count += 1;
        }
        Ok(Self { encoded: Cow::Owned(encoded), count, of: PhantomData })
    }

    /// Takes what was checked element by element.
    #[cfg(feature = "with_serde")]
    pub(crate) const fn from_encoded(encoded: Vec<u8>, count: usize) -> Self {
        Self { encoded: Cow::Owned(encoded), count, of: PhantomData }
    }

    /// Number of elements.
    #[inline]
    #[must_use]
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether there are no elements.
    #[inline]
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The elements one after the other as on the wire, without the count.
    #[inline]
    #[must_use]
    pub fn as_encoded_bytes(&self) -> &[u8] {
        &self.encoded
    }

    /// Decodes the elements in order.
    #[inline]
    #[must_use]
    pub fn iter(&self) -> SeqIter<'_, T> {
        SeqIter { reader: Reader::new(&self.encoded), left: self.count, of: PhantomData }
    }

    /// Element `index`; constant time for elements of fixed length, else linear.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<T::At<'_>> {
        let Some(len) = T::FIXED_LEN else { return self.iter().nth(index) };
        let start = index.checked_mul(len).filter(|_| index < self.count)?;
        T::At::decode(&mut Reader::new(self.encoded.get(start..)?)).ok()
    }

    /// The elements in a vector.
    #[must_use]
    pub fn to_vec(&self) -> Vec<T::At<'_>> {
        self.iter().collect()
    }

    /// A second value that borrows from this one.
    #[inline]
    #[must_use]
    pub fn reborrow(&self) -> Seq<'_, L, T> {
        Seq { encoded: Cow::Borrowed(&self.encoded), count: self.count, of: PhantomData }
    }
}

/// Iterator over the elements of a [`Seq`].
pub struct SeqIter<'s, T> {
    reader: Reader<'s>,
    left: usize,
    of: PhantomData<fn() -> T>,
}

impl<'s, T: Element> Iterator for SeqIter<'s, T> {
    type Item = T::At<'s>;

    #[inline]
    fn next(&mut self) -> Option<T::At<'s>> {
        self.left = self.left.checked_sub(1)?;
        // Every element was checked when the list was built or decoded.
        T::At::decode(&mut self.reader).ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<T: Element> ExactSizeIterator for SeqIter<'_, T> {}

impl<T> Clone for SeqIter<'_, T> {
    fn clone(&self) -> Self {
        Self { reader: self.reader.clone(), left: self.left, of: PhantomData }
    }
}

impl<T> fmt::Debug for SeqIter<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SeqIter").field("left", &self.left).finish_non_exhaustive()
    }
}

impl<'s, L: LenPrefix, T: Element> IntoIterator for &'s Seq<'_, L, T> {
    type Item = T::At<'s>;
    type IntoIter = SeqIter<'s, T>;

    fn into_iter(self) -> SeqIter<'s, T> {
        self.iter()
    }
}

impl<L, T> Clone for Seq<'_, L, T> {
    fn clone(&self) -> Self {
        Self { encoded: self.encoded.clone(), count: self.count, of: PhantomData }
    }
}

impl<L: LenPrefix, T: Element> Default for Seq<'_, L, T> {
    fn default() -> Self {
        Self::empty()
    }
}

impl<L, T> PartialEq for Seq<'_, L, T> {
    fn eq(&self, other: &Self) -> bool {
        self.count == other.count && self.encoded == other.encoded
    }
}

impl<L, T> Eq for Seq<'_, L, T> {}

impl<L, T> Hash for Seq<'_, L, T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.count.hash(state);
        self.encoded.hash(state);
    }
}

impl<L: LenPrefix, T> fmt::Debug for Seq<'_, L, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", L::SEQ_NAME, self.count)?;
        crate::bytes::debug_hex(f, "", &self.encoded)
    }
}

impl<L: LenPrefix, T: Element> Encodable for Seq<'_, L, T> {
    #[inline]
    fn encoded_len(&self) -> usize {
        L::WIDTH + self.encoded.len()
    }
    #[inline]
    fn encode(&self, out: &mut Writer<'_>) -> Result<(), Error> {
        L::put(self.count, out)?;
        out.put(&self.encoded)
    }
    serde_as_itself!(encode);
}

impl<'a, L: LenPrefix, T: Element> Decodable<'a> for Seq<'a, L, T> {
    #[inline]
    fn decode(r: &mut Reader<'a>) -> Result<Self, Error> {
        let count = L::take(r)?;
        let encoded = match T::FIXED_LEN {
            // The product is at most 65,535 times a type's size.
            Some(len) => r.take(count.saturating_mul(len))?,
            None => take_elements::<T>(r, count)?,
        };
        Ok(Self { encoded: Cow::Borrowed(encoded), count, of: PhantomData })
    }
    #[cfg(feature = "with_serde")]
    fn deserialize_serde<D: serde::Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        crate::serde_support::deserialize_seq(deserializer)
    }
}

fn take_elements<'a, T: Element>(r: &mut Reader<'a>, count: usize) -> Result<&'a [u8], Error> {
    let (start, from) = (r.offset(), r.rest());
    for _ in 0..count {
        T::At::<'a>::decode(r)?;
    }
    Ok(from.get(..r.offset() - start).unwrap_or(from))
}

impl<L: LenPrefix, T: Element> IntoOwned for Seq<'_, L, T> {
    type Owned = Seq<'static, L, T::At<'static>>;

    fn into_owned(self) -> Self::Owned {
        Seq { encoded: Cow::Owned(self.encoded.into_owned()), count: self.count, of: PhantomData }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{B0_16M, B0_255, from_bytes, to_bytes};
    use alloc::vec;

    #[test]
    fn fixed_elements_round_trip_and_index() {
        let list = Seq0_64K::<u16>::try_from_iter([5, 6, 7]).unwrap();
        let wire = to_bytes(&list).unwrap();
        assert_eq!(wire, [3, 0, 5, 0, 6, 0, 7, 0]);
        let back: Seq0_64K<'_, u16> = from_bytes(&wire).unwrap();
        assert_eq!(back, list);
        assert_eq!(back.to_vec(), [5, 6, 7]);
        assert_eq!((back.get(2), back.get(3), back.get(usize::MAX)), (Some(7), None, None));
        assert_eq!(back.iter().len(), 3);
    }

    #[test]
    fn elements_with_a_length_borrow_from_the_list() {
        let parts = [B0_16M::try_from(&b"ab"[..]).unwrap(), B0_16M::EMPTY];
        let list = Seq0_64K::<B0_16M<'_>>::try_from_iter(parts.clone()).unwrap();
        let wire = to_bytes(&list).unwrap();
        assert_eq!(wire, [2, 0, 2, 0, 0, b'a', b'b', 0, 0, 0]);
        let owned = from_bytes::<Seq0_64K<'_, B0_16M<'_>>>(&wire).unwrap().into_owned();
        drop(wire);
        assert_eq!(owned.to_vec(), parts);
        assert_eq!(owned.get(1), Some(B0_16M::EMPTY));
        assert_eq!(owned.get(2), None);
    }

    #[test]
    fn a_bad_element_is_found_when_decoding() {
        let end = Error::UnexpectedEnd { offset: 4, expected: 9, got: 2 };
        let wire = [2, 1, 0xaa, 9, 1, 2];
        assert_eq!(from_bytes::<Seq0_255<'_, B0_255<'_>>>(&wire), Err(end));
        let end = Error::UnexpectedEnd { offset: 2, expected: 4 * 0xffff, got: 4 };
        assert_eq!(from_bytes::<Seq0_64K<'_, u32>>(&[0xff, 0xff, 1, 0, 0, 0]), Err(end));
    }

    #[test]
    fn the_count_has_a_maximum() {
        assert!(Seq0_255::<u8>::try_from_iter(vec![0; 255]).is_ok());
        let long = Error::ValueTooLong { data_type: "SEQ0_255", max: 255, got: 256 };
        assert_eq!(Seq0_255::<u8>::try_from_iter(vec![0; 256]), Err(long));
    }
}
