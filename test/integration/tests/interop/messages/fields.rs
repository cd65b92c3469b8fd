//! Plain values that turn into a field of ours and into a field of SRI's.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

/// No limit on lengths but the types' own.
pub const ANY: usize = usize::MAX;

/// A value of one data type, free of either implementation.
pub trait Plain: Sized + std::fmt::Debug + 'static {
    /// Our field type.
    type Ours<'a>;
    /// SRI's field type.
    type Sri<'a>;

    /// Random values. Long types hold at most `most` bytes or elements; with `ANY`, their own bound is among them.
    fn strategy(most: usize) -> BoxedStrategy<Self>;
    fn ours(&self) -> Self::Ours<'_>;
    fn sri(&self) -> Self::Sri<'_>;
    /// The value as a comment in the vectors shows it.
    fn text(&self) -> String;

    fn draw(runner: &mut TestRunner, most: usize) -> Self {
        Self::strategy(most).new_tree(runner).expect("strategies reject nothing").current()
    }
}

macro_rules! primitives {
    ($($t:ty = $strategy:expr;)*) => {$(
        impl Plain for $t {
            type Ours<'a> = $t;
            type Sri<'a> = $t;
            fn strategy(_: usize) -> BoxedStrategy<Self> {
                $strategy.boxed()
            }
            fn ours(&self) -> $t {
                *self
            }
            fn sri(&self) -> $t {
                *self
            }
            fn text(&self) -> String {
                format!("{self:?}")
            }
        }
    )*};
}
primitives! {
    bool = any::<bool>();
    u16 = any::<u16>();
    u32 = any::<u32>();
    u64 = any::<u64>();
    f32 = proptest::num::f32::NORMAL | proptest::num::f32::ZERO | proptest::num::f32::INFINITE;
}

/// `SetupConnection.protocol`: a number of ours, an enum of SRI's.
#[derive(Debug)]
pub struct Protocol(u8);

impl Plain for Protocol {
    type Ours<'a> = u8;
    type Sri<'a> = sri_common_messages_sv2::Protocol;
    fn strategy(_: usize) -> BoxedStrategy<Self> {
        (0..=2u8).prop_map(Self).boxed()
    }
    fn ours(&self) -> u8 {
        self.0
    }
    fn sri(&self) -> Self::Sri<'_> {
        self.0.try_into().expect("a known protocol")
    }
    fn text(&self) -> String {
        self.0.to_string()
    }
}

/// OPTION[U32].
#[derive(Debug)]
pub struct Opt(Option<u32>);

impl Plain for Opt {
    type Ours<'a> = Option<u32>;
    type Sri<'a> = sri_binary_sv2::Sv2Option<'a, u32>;
    fn strategy(_: usize) -> BoxedStrategy<Self> {
        any::<Option<u32>>().prop_map(Self).boxed()
    }
    fn ours(&self) -> Option<u32> {
        self.0
    }
    fn sri(&self) -> Self::Sri<'_> {
        sri_binary_sv2::Sv2Option::new(self.0)
    }
    fn text(&self) -> String {
        self.0.map_or("none".into(), |n| n.to_string())
    }
}

/// U256.
#[derive(Debug)]
pub struct Number([u8; 32]);

impl Plain for Number {
    type Ours<'a> = binary_sv2::U256;
    type Sri<'a> = sri_binary_sv2::U256<'a>;
    fn strategy(_: usize) -> BoxedStrategy<Self> {
        any::<[u8; 32]>().prop_map(Self).boxed()
    }
    fn ours(&self) -> Self::Ours<'_> {
        binary_sv2::U256::from_le_bytes(self.0)
    }
    fn sri(&self) -> Self::Sri<'_> {
        (&self.0).into()
    }
    fn text(&self) -> String {
        hex(&self.0)
    }
}

macro_rules! byte_arrays {
    ($($(#[$doc:meta])* $name:ident($ours:ty, $sri:ty) = $max:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name(Vec<u8>);

        impl Plain for $name {
            type Ours<'a> = $ours;
            type Sri<'a> = $sri;
            fn strategy(most: usize) -> BoxedStrategy<Self> {
                lengths($max, most).prop_flat_map(|len| vec(any::<u8>(), len)).prop_map(Self).boxed()
            }
            fn ours(&self) -> Self::Ours<'_> {
                self.0.as_slice().try_into().expect("length within the type")
            }
            fn sri(&self) -> Self::Sri<'_> {
                self.0.as_slice().try_into().expect("length within the type")
            }
            fn text(&self) -> String {
                hex(&self.0)
            }
        }
    )*};
}
byte_arrays! {
    /// B0_32.
    Short(binary_sv2::B0_32, sri_binary_sv2::B032<'a>) = 32;
    /// B0_255.
    Token(binary_sv2::B0_255<'a>, sri_binary_sv2::B0255<'a>) = 255;
    /// B0_64K.
    Blob(binary_sv2::B0_64K<'a>, sri_binary_sv2::B064K<'a>) = 65_535;
}

/// STR0_255, made of ASCII.
#[derive(Debug)]
pub struct Text(String);

impl Plain for Text {
    type Ours<'a> = binary_sv2::Str0_255<'a>;
    type Sri<'a> = sri_binary_sv2::Str0255<'a>;
    fn strategy(most: usize) -> BoxedStrategy<Self> {
        let character = (b' '..=b'~').prop_map(char::from);
        lengths(255, most)
            .prop_flat_map(move |len| vec(character.clone(), len))
            .prop_map(|c| Self(c.into_iter().collect()))
            .boxed()
    }
    fn ours(&self) -> Self::Ours<'_> {
        self.0.as_str().try_into().expect("length within the type")
    }
    fn sri(&self) -> Self::Sri<'_> {
        self.0.as_str().try_into().expect("length within the type")
    }
    fn text(&self) -> String {
        format!("{:?}", self.0)
    }
}

/// Lengths up to `max` or `most`; mostly short ones, and one in ten `max` itself.
fn lengths(max: usize, most: usize) -> BoxedStrategy<usize> {
    if most < max {
        return (0..=most).boxed();
    }
    prop_oneof![9 => 0..=max.min(600), 1 => Just(max)].boxed()
}

macro_rules! lists {
    ($($(#[$doc:meta])* $name:ident($element:ty, $ours:ty, $sri:ty) = $max:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name(Vec<$element>);

        impl Plain for $name {
            type Ours<'a> = $ours;
            type Sri<'a> = $sri;
            fn strategy(most: usize) -> BoxedStrategy<Self> {
                vec(<$element>::strategy(most), 0..=most.min($max)).prop_map(Self).boxed()
            }
            fn ours(&self) -> Self::Ours<'_> {
                Self::Ours::<'_>::try_from_iter(self.0.iter().map(Plain::ours)).expect("count within the type")
            }
            fn sri(&self) -> Self::Sri<'_> {
                self.0.iter().map(Plain::sri).collect::<Vec<_>>().try_into().expect("count within the type")
            }
            fn text(&self) -> String {
                format!("[{}]", self.0.iter().map(Plain::text).collect::<Vec<_>>().join(", "))
            }
        }
    )*};
}

/// One element of SEQ0_64K[B0_16M].
#[derive(Debug)]
pub struct Transaction(Vec<u8>);

impl Plain for Transaction {
    type Ours<'a> = binary_sv2::B0_16M<'a>;
    type Sri<'a> = sri_binary_sv2::B016M<'a>;
    fn strategy(most: usize) -> BoxedStrategy<Self> {
        vec(any::<u8>(), 0..=most.min(300)).prop_map(Self).boxed()
    }
    fn ours(&self) -> Self::Ours<'_> {
        self.0.as_slice().try_into().expect("length within the type")
    }
    fn sri(&self) -> Self::Sri<'_> {
        self.0.as_slice().try_into().expect("length within the type")
    }
    fn text(&self) -> String {
        hex(&self.0)
    }
}

lists! {
    /// SEQ0_255[U256].
    Path(Number, binary_sv2::Seq0_255<'a, binary_sv2::U256>, sri_binary_sv2::Seq0255<'a, sri_binary_sv2::U256<'a>>)
        = 20;
    /// SEQ0_64K[U256].
    Hashes(Number, binary_sv2::Seq0_64K<'a, binary_sv2::U256>, sri_binary_sv2::Seq064K<'a, sri_binary_sv2::U256<'a>>)
        = 300;
    /// SEQ0_64K[U16].
    Shorts(u16, binary_sv2::Seq0_64K<'a, u16>, sri_binary_sv2::Seq064K<'a, u16>) = 300;
    /// SEQ0_64K[U32].
    Words(u32, binary_sv2::Seq0_64K<'a, u32>, sri_binary_sv2::Seq064K<'a, u32>) = 300;
    /// SEQ0_64K[B0_16M].
    Transactions(
        Transaction,
        binary_sv2::Seq0_64K<'a, binary_sv2::B0_16M<'a>>,
        sri_binary_sv2::Seq064K<'a, sri_binary_sv2::B016M<'a>>
    ) = 20;
}

/// Lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
