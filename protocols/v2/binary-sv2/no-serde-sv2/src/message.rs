//! Messages: what the header says of a type, and enums of a protocol's messages.

use core::fmt;

use const_sv2::MessageInfo;

use crate::tlv::is_well_formed;
use crate::{Encodable, Error, Reader};

/// A message: a value with a place in the header's number space.
pub trait Message: Encodable {
    /// `msg_type` of the header.
    const MESSAGE_TYPE: u8;
    /// `extension_type` of the header, without the `channel_msg` bit.
    const EXTENSION_TYPE: u16;
    /// The `channel_msg` bit; when set, the payload begins with the channel id.
    const CHANNEL_MSG: bool;
    /// Name as in the specification, for example `SubmitShares.Error`.
    const NAME: &'static str;
}

/// Why a payload is not a message of the protocol at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// The protocol has no message of this number.
    UnknownMessageType(u8),
    /// The payload is not what the message's fields demand.
    Malformed {
        /// Name of the message.
        message: &'static str,
        /// What is wrong, with the offset in the payload.
        error: Error,
    },
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownMessageType(n) => write!(f, "unknown message type {n:#04x}"),
            Self::Malformed { message, error } => write!(f, "malformed {message}: {error}"),
        }
    }
}

// No `source`: `Display` already tells the whole story.
impl core::error::Error for DecodeError {}

/// The entry of `table` with this number. For constants: a missing entry stops the compiler.
#[must_use]
pub const fn message_info(table: &[MessageInfo], message_type: u8) -> MessageInfo {
    let mut i = 0;
    while i < table.len() {
        if table[i].message_type == message_type {
            return table[i];
        }
        i += 1;
    }
    panic!("the table of messages has no such number")
}

/// Succeeds when well-formed TLV fields, or nothing, stand behind the message that was read.
#[doc(hidden)]
#[cold]
pub fn message_end(r: &Reader<'_>, message: &'static str) -> Result<(), DecodeError> {
    if is_well_formed(r.rest()) {
        return Ok(());
    }
    let error = Error::TrailingBytes { offset: r.offset(), got: r.rest().len() };
    Err(DecodeError::Malformed { message, error })
}

/// Defines the enum of a protocol's messages, and [`Message`] for each of them.
///
/// The module after `from`, in scope by one name, holds one `u8` constant per message and the table `ALL` of
/// `const_sv2::MessageInfo`.
///
/// The enum gets `decode`, `decode_with_rest`, `message_type`, `extension_type`, `channel_msg`,
/// `name`, `into_owned`, [`Encodable`] and `From` of each message; with the feature `with_serde` also
/// `serde::Serialize`.
#[macro_export]
macro_rules! protocol {
    (
        $(#[$meta:meta])*
        pub enum $name:ident<$lt:lifetime> from $table:ident {
            $($variant:ident($ty:ty) = $number:ident,)+
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        #[allow(clippy::large_enum_variant, reason = "boxing would cost an allocation per message")]
        pub enum $name<$lt> {
            $(
                #[doc = concat!("See [`", stringify!($variant), "`].")]
                $variant($ty),
            )+
        }

        $(
            impl<$lt> $crate::Message for $ty {
                const MESSAGE_TYPE: u8 = $table::$number;
                const EXTENSION_TYPE: u16 =
                    $crate::message_info(&$table::ALL, $table::$number).extension_type;
                const CHANNEL_MSG: bool =
                    $crate::message_info(&$table::ALL, $table::$number).channel_msg;
                const NAME: &'static str =
                    $crate::message_info(&$table::ALL, $table::$number).name;
            }

            impl<$lt> From<$ty> for $name<$lt> {
                #[inline]
                fn from(message: $ty) -> Self {
                    Self::$variant(message)
                }
            }
        )+

        impl<$lt> $name<$lt> {
            /// Decodes a payload by the number in its frame's header.
            ///
            /// Well-formed TLV fields behind the message are ignored, as sv2-spec §3.4.3 asks of
            /// receivers that did not negotiate them; other bytes left over are an error.
            pub fn decode(
                message_type: u8,
                payload: &$lt [u8],
            ) -> Result<Self, $crate::DecodeError> {
                let mut r = $crate::Reader::new(payload);
                Self::decode_from(message_type, &mut r, |r, message| {
                    if r.rest().is_empty() { Ok(()) } else { $crate::message_end(r, message) }
                })
            }

            /// Decodes a payload and returns the bytes behind the message, where TLV fields stand.
            pub fn decode_with_rest(
                message_type: u8,
                payload: &$lt [u8],
            ) -> Result<(Self, &$lt [u8]), $crate::DecodeError> {
                let mut r = $crate::Reader::new(payload);
                let message = Self::decode_from(message_type, &mut r, |_, _| Ok(()))?;
                Ok((message, r.rest()))
            }

            /// Built where it is returned, after `end` has looked at what is left: moving a message once more would
            /// double what decoding a share costs.
            #[inline(always)]
            fn decode_from(
                message_type: u8,
                r: &mut $crate::Reader<$lt>,
                end: impl Fn(&$crate::Reader<$lt>, &'static str) -> Result<(), $crate::DecodeError>,
            ) -> Result<Self, $crate::DecodeError> {
                match message_type {
                    $(
                        <$ty as $crate::Message>::MESSAGE_TYPE => {
                            let name = <$ty as $crate::Message>::NAME;
                            match <$ty as $crate::Decodable<$lt>>::decode(r) {
                                Ok(message) => {
                                    end(r, name)?;
                                    Ok(Self::$variant(message))
                                }
                                Err(error) => Err($crate::DecodeError::Malformed { message: name, error }),
                            }
                        }
                    )+
                    other => Err($crate::DecodeError::UnknownMessageType(other)),
                }
            }

            /// `msg_type` of the header.
            #[must_use]
            pub const fn message_type(&self) -> u8 {
                match self {
                    $(Self::$variant(_) => <$ty as $crate::Message>::MESSAGE_TYPE,)+
                }
            }

            /// `extension_type` of the header, without the `channel_msg` bit.
            #[must_use]
            pub const fn extension_type(&self) -> u16 {
                match self {
                    $(Self::$variant(_) => <$ty as $crate::Message>::EXTENSION_TYPE,)+
                }
            }

            /// The `channel_msg` bit of the header.
            #[must_use]
            pub const fn channel_msg(&self) -> bool {
                match self {
                    $(Self::$variant(_) => <$ty as $crate::Message>::CHANNEL_MSG,)+
                }
            }

            /// Name as in the specification.
            #[must_use]
            pub const fn name(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => <$ty as $crate::Message>::NAME,)+
                }
            }

            /// Detaches the message from the bytes it was decoded from.
            #[must_use]
            pub fn into_owned(self) -> $name<'static> {
                match self {
                    $(Self::$variant(m) => $name::$variant($crate::IntoOwned::into_owned(m)),)+
                }
            }
        }

        impl<$lt> $crate::IntoOwned for $name<$lt> {
            type Owned = $name<'static>;

            fn into_owned(self) -> $name<'static> {
                Self::into_owned(self)
            }
        }

        impl<$lt> $crate::Encodable for $name<$lt> {
            #[inline]
            fn encoded_len(&self) -> usize {
                match self {
                    $(Self::$variant(m) => $crate::Encodable::encoded_len(m),)+
                }
            }
            #[inline]
            fn encode(&self, out: &mut $crate::Writer<'_>) -> Result<(), $crate::Error> {
                match self {
                    $(Self::$variant(m) => $crate::Encodable::encode(m, out),)+
                }
            }
            $crate::with_serde! {
                fn serialize_serde<S: $crate::serde::Serializer>(
                    &self,
                    serializer: S,
                ) -> Result<S::Ok, S::Error> {
                    let (number, name) = (u32::from(self.message_type()), stringify!($name));
                    match self {
                        $(Self::$variant(m) => {
                            let variant = stringify!($variant);
                            serializer.serialize_newtype_variant(name, number, variant, m)
                        })+
                    }
                }
            }
        }

        $crate::with_serde! {
            /// The payload in the serde engine; a map of the message's name to its fields in formats such as JSON.
            impl<$lt> $crate::serde::Serialize for $name<$lt> {
                fn serialize<S: $crate::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                    $crate::Encodable::serialize_serde(self, serializer)
                }
            }
        }
    };
}
