//! Laws every message keeps, for the tests of the protocol crates.
//!
//! Not a crate: each crate's `tests/properties.rs` includes this file and lists its messages and
//! their fields to [`check_protocol!`].

use binary_sv2::{
    B0_16M, B0_32, Bytes, Decodable, Encodable, Error, LenPrefix, Seq0_64K, Seq0_255, Str0_255, U256, from_bytes,
};
use const_sv2::MessageInfo;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};

/// Random messages per type, and random payloads per protocol.
pub const CASES: u32 = 128;

/// A TLV field no protocol crate knows.
pub const TLV: [u8; 7] = [0x40, 0x01, 0x09, 0x00, 0x02, 0xaa, 0xbb];

/// Random values of a field's type.
pub trait Field: Sized + std::fmt::Debug {
    /// Small values mostly; the types' own bounds are tested in `binary_sv2`.
    fn strategy() -> BoxedStrategy<Self>;
}

macro_rules! fields {
    ($($t:ty = $strategy:expr;)*) => {$(
        impl Field for $t {
            fn strategy() -> BoxedStrategy<Self> {
                $strategy.boxed()
            }
        }
    )*};
}
fields! {
    bool = any::<bool>();
    u8 = any::<u8>();
    u16 = any::<u16>();
    u32 = any::<u32>();
    u64 = any::<u64>();
    // Without NaN, which equals nothing; `binary_sv2` tests its bits.
    f32 = proptest::num::f32::ANY.prop_filter("NaN", |n| !n.is_nan());
    Option<u32> = any::<Option<u32>>();
    U256 = any::<[u8; 32]>().prop_map(U256::from_le_bytes);
    B0_32 = vec(any::<u8>(), 0..=32).prop_map(|b| B0_32::from_truncated(&b));
    Str0_255<'static> = prop_oneof![
        ".{0,40}".prop_map(|s| Str0_255::from_truncated(&s).as_bytes().to_vec()),
        vec(any::<u8>(), 0..=255),
    ]
    .prop_map(|b| Str0_255::try_from(b).expect("short enough"));
    Seq0_255<'static, U256> = vec(U256::strategy(), 0..=20).prop_map(|v| Seq0_255::try_from_iter(v).expect("few"));
    Seq0_64K<'static, U256> = vec(U256::strategy(), 0..=20).prop_map(|v| Seq0_64K::try_from_iter(v).expect("few"));
    Seq0_64K<'static, u16> = vec(any::<u16>(), 0..=40).prop_map(|v| Seq0_64K::try_from_iter(v).expect("few"));
    Seq0_64K<'static, u32> = vec(any::<u32>(), 0..=40).prop_map(|v| Seq0_64K::try_from_iter(v).expect("few"));
    Seq0_64K<'static, B0_16M<'static>> =
        vec(B0_16M::strategy(), 0..=8).prop_map(|v| Seq0_64K::try_from_iter(v).expect("few"));
}

impl<L: LenPrefix> Field for Bytes<'static, L> {
    fn strategy() -> BoxedStrategy<Self> {
        vec(any::<u8>(), 0..=120).prop_map(|b| Self::try_from(b).expect("short enough")).boxed()
    }
}

/// A reproducible source of values: a failing case prints its seed.
pub fn runner(seed: [u8; 32]) -> TestRunner {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    TestRunner::new_with_rng(ProptestConfig::default(), rng)
}

/// A random value of whatever type the message's field has.
pub fn draw<T: Field>(runner: &mut TestRunner) -> T {
    T::strategy().new_tree(runner).expect("strategies reject little").current()
}

/// A clone, also of `Copy` types.
pub fn duplicate<T: Clone>(value: &T) -> T {
    value.clone()
}

/// Decodes to the type of `like`.
pub fn decode_like<'a, M: Decodable<'a>>(_like: &M, bytes: &'a [u8]) -> Result<M, Error> {
    from_bytes(bytes)
}

/// The length is as announced, and the message decodes only from exactly its bytes.
pub fn check_lengths<'a, M>(message: &M, bytes: &'a [u8], one_more: &'a [u8])
where
    M: Decodable<'a> + Encodable + PartialEq + std::fmt::Debug,
{
    assert_eq!(bytes.len(), message.encoded_len());
    assert_eq!(decode_like(message, bytes).as_ref(), Ok(message));
    for end in 0..bytes.len() {
        let got = decode_like(message, &bytes[..end]);
        assert!(matches!(got, Err(Error::UnexpectedEnd { .. })), "{end} of {}: {got:?}", bytes.len());
    }
    let trailing = Error::TrailingBytes { offset: bytes.len(), got: 1 };
    assert_eq!(decode_like(message, one_more), Err(trailing));
}

/// The serde engine writes the same bytes, and reads them and all their prefixes alike.
#[cfg(feature = "with_serde")]
pub fn check_engines<'a, M>(message: &M, bytes: &'a [u8], one_more: &'a [u8])
where
    M: Decodable<'a> + Encodable + PartialEq + std::fmt::Debug,
    M: binary_sv2::serde::Serialize + binary_sv2::serde::Deserialize<'a>,
{
    assert_eq!(binary_sv2::serde_engine::to_bytes(message).as_deref(), Ok(bytes));
    assert_eq!(binary_sv2::serde_engine::from_bytes::<M>(bytes).as_ref(), Ok(message));
    for end in 0..bytes.len() {
        engines_agree(message, &bytes[..end]);
    }
    engines_agree(message, one_more);
}

/// Both engines refuse the bytes, or both read the same message from them.
#[cfg(feature = "with_serde")]
pub fn engines_agree<'a, M>(_like: &M, bytes: &'a [u8])
where
    M: Decodable<'a> + Encodable + std::fmt::Debug,
    M: binary_sv2::serde::Serialize + binary_sv2::serde::Deserialize<'a>,
{
    use binary_sv2::serde_engine;

    let (internal, serde) = (from_bytes::<M>(bytes), serde_engine::from_bytes::<M>(bytes));
    match (internal, serde) {
        // By their bytes: NaN equals nothing.
        (Ok(internal), Ok(serde)) => {
            let canonical = binary_sv2::to_bytes(&internal).unwrap();
            assert_eq!(binary_sv2::to_bytes(&serde).unwrap(), canonical);
            assert_eq!(serde_engine::to_bytes(&internal).unwrap(), canonical);
        }
        (internal, serde) => assert!(internal.is_err() && serde.is_err(), "{internal:?} {serde:?}"),
    }
}

/// Without the feature `with_serde` there is one engine only.
#[cfg(not(feature = "with_serde"))]
pub fn check_engines<M>(_: &M, _: &[u8], _: &[u8]) {}

/// Without the feature `with_serde` there is one engine only.
#[cfg(not(feature = "with_serde"))]
pub fn engines_agree<M>(_: &M, _: &[u8]) {}

/// What the header says of the message is what the constants say.
pub fn check_info(table: &[MessageInfo], got: MessageInfo) {
    assert_eq!(const_sv2::message_type::lookup(got.extension_type, got.message_type), Some(got));
    assert!(table.contains(&got), "{got:?}");
}

/// A vector of `test/vectors/messages.txt`: number and payload.
pub struct Vector {
    pub message_type: u8,
    pub payload: Vec<u8>,
}

/// The lines of a file in `test/vectors`, by column; comments and empty lines left out.
pub fn lines<const COLUMNS: usize>(file: &str) -> Vec<[String; COLUMNS]> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../../test/vectors").join(file);
    let text = std::fs::read_to_string(path).expect("a file of vectors");
    let columns = |line: &str| {
        let columns: Vec<String> = line.split(' ').map(str::to_owned).collect();
        columns.try_into().unwrap_or_else(|_| panic!("expected {COLUMNS} columns: {line}"))
    };
    text.lines().filter(|l| !l.is_empty() && !l.starts_with('#')).map(columns).collect()
}

/// The vectors of the messages in `table`; every message has at least one.
pub fn vectors(table: &[MessageInfo]) -> Vec<Vector> {
    let mut missing: Vec<MessageInfo> = table.to_vec();
    let mut found = Vec::new();
    for [name, extension, number, channel_msg, payload] in lines("messages.txt") {
        let (extension, message_type) = (extension.parse::<u16>().unwrap(), number.parse::<u8>().unwrap());
        let Some(info) = table.iter().find(|m| (m.extension_type, m.message_type) == (extension, message_type)) else {
            continue;
        };
        assert_eq!((info.name, u8::from(info.channel_msg).to_string()), (name.as_str(), channel_msg));
        missing.retain(|m| m != info);
        found.push(Vector { message_type, payload: unhex(&payload) });
    }
    assert!(missing.is_empty(), "messages without a vector: {missing:?}");
    found
}

/// The bytes behind pairs of hexadecimal digits.
pub fn unhex(digits: &str) -> Vec<u8> {
    let pair = |i| u8::from_str_radix(&digits[i..i + 2], 16).expect("hexadecimal digits");
    (0..digits.len()).step_by(2).map(pair).collect()
}

/// Makes the tests of one protocol from its enum, its table and its messages' field names.
macro_rules! check_protocol {
    ($enum:ident from $table:path { $($test:ident: $message:ident { $($field:ident),* })* }) => {
        proptest::proptest! {
            #![proptest_config(ProptestConfig {
                cases: properties::CASES,
                failure_persistence: None,
                ..ProptestConfig::default()
            })]
            $(
                #[test]
                fn $test(
                    seed: [u8; 32],
                    flips in vec((any::<proptest::sample::Index>(), 1..=u8::MAX), 8),
                    bytes_of_nobody in vec(any::<u8>(), 0..200),
                ) {
                    let mut runner = properties::runner(seed);
                    let message = $message { $($field: properties::draw(&mut runner),)* };
                    let bytes = binary_sv2::to_bytes(&message).unwrap();
                    let one_more = [&bytes[..], &[0]].concat();
                    properties::check_lengths(&message, &bytes, &one_more);
                    properties::check_engines(&message, &bytes, &one_more);
                    properties::engines_agree(&message, &bytes_of_nobody);

                    let any = $enum::from(properties::duplicate(&message));
                    let number = any.message_type();
                    assert_eq!(binary_sv2::to_bytes(&any).unwrap(), bytes);
                    #[cfg(feature = "with_serde")]
                    assert_eq!(binary_sv2::serde_engine::to_bytes(&any).unwrap(), bytes);
                    assert_eq!($enum::decode(number, &bytes), Ok(properties::duplicate(&any)));
                    assert_eq!(properties::duplicate(&any).into_owned(), any);
                    properties::check_info(&$table, const_sv2::MessageInfo {
                        extension_type: any.extension_type(),
                        message_type: number,
                        channel_msg: any.channel_msg(),
                        name: any.name(),
                    });

                    let extended = [&bytes[..], &properties::TLV].concat();
                    assert_eq!($enum::decode(number, &extended), Ok(properties::duplicate(&any)));
                    let (got, rest) = $enum::decode_with_rest(number, &extended).unwrap();
                    assert_eq!((got, rest), (any, &properties::TLV[..]));
                    assert!($enum::decode(number, &extended[..extended.len() - 1]).is_err());

                    for (place, flip) in flips {
                        let mut broken = properties::duplicate(&bytes);
                        if let Some(byte) = broken.get_mut(place.index(bytes.len().max(1))) {
                            *byte ^= flip;
                        }
                        decodes_to_itself_or_not_at_all(number, &broken);
                        properties::engines_agree(&message, &broken);
                    }
                }
            )*

            #[test]
            fn no_payload_panics(number: u8, payload in vec(any::<u8>(), 0..400)) {
                decodes_to_itself_or_not_at_all(number, &payload);
            }
        }

        /// Whatever decodes has a wire form, which decodes to the same again.
        fn decodes_to_itself_or_not_at_all(number: u8, payload: &[u8]) {
            let Ok((message, rest)) = $enum::decode_with_rest(number, payload) else { return };
            let bytes = binary_sv2::to_bytes(&message).unwrap();
            assert_eq!(bytes.len(), payload.len() - rest.len());
            let again = $enum::decode(number, &bytes).unwrap();
            assert_eq!(binary_sv2::to_bytes(&again).unwrap(), bytes);
        }

        #[test]
        fn numbers_outside_the_table_are_unknown() {
            for number in 0..=u8::MAX {
                let known = $table.iter().any(|m| m.message_type == number);
                let got = $enum::decode(number, &[]);
                let unknown = got == Err(binary_sv2::DecodeError::UnknownMessageType(number));
                assert_eq!(known, !unknown, "{number:#04x}");
            }
        }

        #[test]
        fn vectors_of_another_implementation_decode_and_encode_to_the_same_bytes() {
            for vector in properties::vectors(&$table) {
                let message = $enum::decode(vector.message_type, &vector.payload).unwrap();
                assert_eq!(binary_sv2::to_bytes(&message).unwrap(), vector.payload, "{}", message.name());
            }
        }
    };
}
pub(crate) use check_protocol;
