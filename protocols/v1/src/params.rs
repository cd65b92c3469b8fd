//! Reading parameters: tolerant of what devices send (missing trailing parameters, numbers as text, unpadded hexadecimal).

use alloc::{string::String, vec::Vec};

use hex_conservative::FromHex;
use serde_json::Value;

use crate::error::InvalidParams;

/// A request's parameters, in order.
pub(crate) struct Params<'a>(&'a [Value]);

pub(crate) const fn expected<T>(what: &'static str) -> Result<T, InvalidParams> {
    Err(InvalidParams { expected: what })
}

impl<'a> Params<'a> {
    /// A list; a single value stands for a list of one, nothing for an empty list.
    pub(crate) fn new(value: Option<&'a Value>) -> Self {
        match value {
            None | Some(Value::Null) => Self(&[]),
            Some(Value::Array(list)) => Self(list),
            Some(other) => Self(core::slice::from_ref(other)),
        }
    }

    pub(crate) fn get(&self, index: usize) -> Option<&'a Value> {
        self.0.get(index).filter(|value| !value.is_null())
    }

    pub(crate) fn text(&self, index: usize, what: &'static str) -> Result<&'a str, InvalidParams> {
        self.get(index).and_then(Value::as_str).map_or_else(|| expected(what), Ok)
    }

    /// A text of at most `max` bytes, or nothing.
    pub(crate) fn optional_text(
        &self,
        index: usize,
        max: usize,
        what: &'static str,
    ) -> Result<Option<String>, InvalidParams> {
        match self.get(index) {
            None => Ok(None),
            Some(Value::String(text)) if text.len() <= max => Ok(Some(text.clone())),
            Some(_) => expected(what),
        }
    }

    pub(crate) fn bytes(&self, index: usize, max: usize, what: &'static str) -> Result<Vec<u8>, InvalidParams> {
        let text = self.text(index, what)?;
        if text.len() > 2 * max {
            return expected(what);
        }
        Vec::from_hex(text).or_else(|_| expected(what))
    }

    pub(crate) fn hex_u32(&self, index: usize, what: &'static str) -> Result<u32, InvalidParams> {
        self.get(index).and_then(hex_u32).map_or_else(|| expected(what), Ok)
    }

    /// A number over zero, as a number or as text.
    pub(crate) fn positive(&self, index: usize, what: &'static str) -> Result<f64, InvalidParams> {
        self.get(index).and_then(positive).map_or_else(|| expected(what), Ok)
    }
}

/// Hexadecimal of one to eight digits, most significant first, with or without `0x`.
pub(crate) fn hex_u32(value: &Value) -> Option<u32> {
    let text = value.as_str()?;
    let digits = text.strip_prefix("0x").unwrap_or(text);
    let hexadecimal = (1..=8).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    hexadecimal.then(|| u32::from_str_radix(digits, 16).ok()).flatten()
}

pub(crate) fn positive(value: &Value) -> Option<f64> {
    let number = match value {
        Value::String(text) => text.trim().parse().ok()?,
        other => other.as_f64()?,
    };
    (number.is_finite() && number > 0.0).then_some(number)
}
