//! ChaCha20-Poly1305 (RFC 8439) behind one interface: `ring` with the feature `std`, pure Rust without.
//!
//! Both work in place and keep the authentication code apart. Under `cfg(test)` both are compiled and compared.

#[cfg(feature = "std")]
pub(crate) use hardware::Key;
#[cfg(not(feature = "std"))]
pub(crate) use portable::Key;

/// The authentication code did not fit.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mismatch;

/// `ring`: assembly for the CPU at hand.
#[cfg(feature = "std")]
mod hardware {
    use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, Tag, UnboundKey};

    use super::Mismatch;

    pub(crate) struct Key(LessSafeKey);

    impl Key {
        pub(crate) fn new(key: &[u8; 32]) -> Self {
            // The only error is a key of the wrong length, which the type rules out.
            match UnboundKey::new(&CHACHA20_POLY1305, key) {
                Ok(key) => Self(LessSafeKey::new(key)),
                Err(_) => unreachable!("a ChaCha20 key has 32 bytes"),
            }
        }

        pub(crate) fn seal(&self, nonce: [u8; 12], ad: &[u8], data: &mut [u8]) -> Result<[u8; 16], Mismatch> {
            let nonce = Nonce::assume_unique_for_key(nonce);
            let tag = self.0.seal_in_place_separate_tag(nonce, Aad::from(ad), data).map_err(|_| Mismatch)?;
            tag.as_ref().try_into().map_err(|_| Mismatch)
        }

        pub(crate) fn open(&self, nonce: [u8; 12], ad: &[u8], data: &mut [u8], tag: [u8; 16]) -> Result<(), Mismatch> {
            let nonce = Nonce::assume_unique_for_key(nonce);
            self.0
                .open_in_place_separate_tag(nonce, Aad::from(ad), Tag::from(tag), data, 0..)
                .map(|_| ())
                .map_err(|_| Mismatch)
        }
    }
}

/// Pure Rust, for targets without `std`.
#[cfg(any(not(feature = "std"), test))]
mod portable {
    use chacha20poly1305::{AeadInPlace, ChaCha20Poly1305, KeyInit};

    use super::Mismatch;

    pub(crate) struct Key(ChaCha20Poly1305);

    impl Key {
        pub(crate) fn new(key: &[u8; 32]) -> Self {
            Self(ChaCha20Poly1305::new(key.into()))
        }

        pub(crate) fn seal(&self, nonce: [u8; 12], ad: &[u8], data: &mut [u8]) -> Result<[u8; 16], Mismatch> {
            let tag = self.0.encrypt_in_place_detached(&nonce.into(), ad, data).map_err(|_| Mismatch)?;
            Ok(tag.into())
        }

        pub(crate) fn open(&self, nonce: [u8; 12], ad: &[u8], data: &mut [u8], tag: [u8; 16]) -> Result<(), Mismatch> {
            self.0.decrypt_in_place_detached(&nonce.into(), ad, data, &tag.into()).map_err(|_| Mismatch)
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::hex;

    /// RFC 8439 §2.8.2.
    #[test]
    fn rfc_8439_vector() {
        let key: [u8; 32] = core::array::from_fn(|i| 0x80 + i as u8);
        let nonce: [u8; 12] = hex("070000004041424344454647").try_into().unwrap();
        let ad = hex("50515253c0c1c2c3c4c5c6c7");
        let plain = b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.";
        let mut data = plain.to_vec();
        let tag = super::Key::new(&key).seal(nonce, &ad, &mut data).unwrap();
        assert_eq!(&data[..16], hex("d31a8d34648e60db7b86afbc53ef7ec2"));
        assert_eq!(tag.as_slice(), hex("1ae10b594f09e26a7e902ecbd0600691"));
        super::Key::new(&key).open(nonce, &ad, &mut data, tag).unwrap();
        assert_eq!(data, plain);
    }
}

/// The two implementations side by side.
#[cfg(all(test, feature = "std"))]
mod comparison {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::{Mismatch, portable};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn backends_agree(key: [u8; 32], nonce: [u8; 12], ad in proptest::collection::vec(any::<u8>(), 0..64), plain in proptest::collection::vec(any::<u8>(), 0..600)) {
            let (ring, soft) = (super::hardware::Key::new(&key), portable::Key::new(&key));
            let (mut a, mut b) = (plain.clone(), plain.clone());
            let tag = ring.seal(nonce, &ad, &mut a).unwrap();
            prop_assert_eq!(tag, soft.seal(nonce, &ad, &mut b).unwrap());
            prop_assert_eq!(&a, &b);
            soft.open(nonce, &ad, &mut a, tag).unwrap();
            ring.open(nonce, &ad, &mut b, tag).unwrap();
            prop_assert_eq!(&a, &plain);
            prop_assert_eq!(&b, &plain);
        }

        #[test]
        fn backends_refuse_a_flipped_bit(key: [u8; 32], plain in proptest::collection::vec(any::<u8>(), 1..64), at: proptest::sample::Index, bit in 0u8..8) {
            let (ring, soft) = (super::hardware::Key::new(&key), portable::Key::new(&key));
            let mut data: Vec<u8> = plain;
            let tag = ring.seal([0; 12], &[], &mut data).unwrap();
            let at = at.index(data.len());
            data[at] ^= 1 << bit;
            prop_assert_eq!(soft.open([0; 12], &[], &mut data.clone(), tag), Err(Mismatch));
            prop_assert_eq!(ring.open([0; 12], &[], &mut data, tag), Err(Mismatch));
        }
    }
}
