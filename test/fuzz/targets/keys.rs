//! Text and bytes as keys and certificates: each has one text form, and nothing else is taken.
#![no_main]

use fuzz::Input;
use libfuzzer_sys::fuzz_target;
use noise_sv2::{AuthorityPublicKey, AuthoritySecretKey, CERTIFICATE_LENGTH, Certificate, StaticPublicKey};

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        if let Ok(key) = text.parse::<AuthorityPublicKey>() {
            assert_eq!(key.to_string(), text, "a key has one form");
            assert_eq!(AuthorityPublicKey::from_bytes(&key.to_bytes()), Ok(key));
        }
        if let Ok(key) = text.parse::<AuthoritySecretKey>() {
            assert_eq!(key.to_base58().as_str(), text, "a key has one form");
            assert!(!format!("{key:?}").contains(text), "a secret is not shown");
        }
    }
    if let Some(bytes) = data.first_chunk::<32>() {
        if let Ok(key) = AuthorityPublicKey::from_bytes(bytes) {
            assert_eq!(key.to_string().parse::<AuthorityPublicKey>(), Ok(key));
        }
        if let Ok(key) = AuthoritySecretKey::from_bytes(bytes) {
            let again = key.to_base58().parse::<AuthoritySecretKey>().expect("its own text");
            assert_eq!(again.public_key(), key.public_key());
        }
    }
    let mut input = Input(data);
    let Ok(bytes) = <&[u8; CERTIFICATE_LENGTH]>::try_from(input.bytes(CERTIFICATE_LENGTH)) else { return };
    let certificate = Certificate::from_bytes(bytes);
    assert_eq!(&certificate.to_bytes(), bytes);
    if let (Some(encoded), Some(authority)) = (input.bytes(64).first_chunk(), input.bytes(32).first_chunk()) {
        let server = StaticPublicKey::decode(encoded);
        if let Ok(authority) = AuthorityPublicKey::from_bytes(authority) {
            assert!(certificate.verify(&server, &authority, 1_000).is_err(), "nobody guesses a signature");
        }
    }
});
