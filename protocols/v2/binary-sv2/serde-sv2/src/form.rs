//! How a length or a short number is written, told by the name of a newtype struct.

use const_sv2::limits::{B0_16M_MAX, B0_32_MAX, B0_64K_MAX, B0_255_MAX, U24_MAX};

/// The form that the content of a newtype struct takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Form {
    /// Name in the specification, which is the newtype struct's.
    pub(crate) name: &'static str,
    pub(crate) content: Content,
    /// Bytes of the length, of the count, or of the number itself; at most 3.
    pub(crate) width: usize,
    /// Largest length, count or number.
    pub(crate) max: usize,
}

/// What may stand in the newtype struct.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    Bytes,
    Sequence,
    Number,
}

const fn form(name: &'static str, content: Content, width: usize, max: usize) -> Form {
    Form { name, content, width, max }
}

const FORMS: [Form; 8] = [
    form("B0_32", Content::Bytes, 1, B0_32_MAX),
    form("B0_255", Content::Bytes, 1, B0_255_MAX),
    form("STR0_255", Content::Bytes, 1, B0_255_MAX),
    form("B0_64K", Content::Bytes, 2, B0_64K_MAX),
    form("B0_16M", Content::Bytes, 3, B0_16M_MAX),
    form("SEQ0_255", Content::Sequence, 1, B0_255_MAX),
    form("SEQ0_64K", Content::Sequence, 2, B0_64K_MAX),
    form("U24", Content::Number, 3, U24_MAX as usize),
];

impl Form {
    /// The form that newtype structs of this name have; `None` for those that are just their content.
    pub(crate) fn of(name: &str) -> Option<Self> {
        FORMS.into_iter().find(|form| form.name == name)
    }
}
