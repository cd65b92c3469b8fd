//! The `id` of a request, which its answer repeats.

use alloc::{borrow::ToOwned, boxed::Box, string::ToString};
use core::fmt;

use serde_json::value::RawValue;

/// Longest id that is taken, in bytes of JSON. Devices count upwards or send a short string.
pub const MAX_ID_LEN: usize = 128;

/// A request's id, exactly as it was written: a number, a string, `null`, or not there at all.
///
/// Devices compare it byte for byte, so it is never read as a number and written again.
#[derive(Clone, Debug, Default)]
pub struct Id(Option<Box<RawValue>>);

impl Id {
    /// No id at all, as notifications have it.
    pub const ABSENT: Self = Self(None);

    pub(crate) fn from_raw(raw: Option<&RawValue>) -> Self {
        Self(raw.map(ToOwned::to_owned))
    }

    /// As it stands in the JSON text; `null` where there is none.
    pub fn as_json(&self) -> &str {
        self.0.as_deref().map_or("null", RawValue::get)
    }

    /// The number, where it is one that counts: how an answer finds its request.
    ///
    /// Some pools answer the number 1 with the string "1".
    pub fn as_number(&self) -> Option<u64> {
        self.as_json().trim_matches('"').parse().ok()
    }

    /// Whether nobody waits for an answer: the id is `null` or not there.
    pub fn is_null(&self) -> bool {
        self.as_json() == "null"
    }
}

impl From<u64> for Id {
    fn from(number: u64) -> Self {
        // A number is JSON.
        Self(RawValue::from_string(number.to_string()).ok())
    }
}

impl PartialEq for Id {
    fn eq(&self, other: &Self) -> bool {
        self.as_json() == other.as_json()
    }
}

impl Eq for Id {}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_json())
    }
}
