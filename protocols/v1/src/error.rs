//! What can be wrong, by whose fault.

use alloc::{borrow::Cow, string::String};
use core::fmt;

use serde_json::{Value, json};

/// A line that is no message. It ends the session: what follows can not be trusted to be one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvalidLine {
    /// Not a JSON object, or one whose members have types that no message has.
    Json(String),
    /// Neither a request nor an answer.
    NoMethod,
    /// The id is longer than [`MAX_ID_LEN`](crate::id::MAX_ID_LEN), or a list or an object.
    Id,
}

impl fmt::Display for InvalidLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(reason) => write!(f, "expected a JSON object in a line: {reason}"),
            Self::NoMethod => f.write_str("expected a method or a result"),
            Self::Id => {
                write!(
                    f,
                    "expected an id that is a number, a string or null, of at most {} bytes",
                    crate::id::MAX_ID_LEN
                )
            }
        }
    }
}

impl core::error::Error for InvalidLine {}

/// A parameter of a known method that can not be read. The request is answered with an error; the session goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidParams {
    /// Which one, and what it should be.
    pub expected: &'static str,
}

impl fmt::Display for InvalidParams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {}", self.expected)
    }
}

impl core::error::Error for InvalidParams {}

/// Why a request is refused: the numbers that pools have in common, with one stable text each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorCode {
    /// 20: anything else.
    Other,
    /// 21: the share's job is not known, or no longer.
    JobNotFound,
    /// 22: the same share came before.
    Duplicate,
    /// 23: the hash does not meet the difficulty.
    LowDifficulty,
    /// 24: the worker was not authorized.
    Unauthorized,
    /// 25: nothing was subscribed to.
    NotSubscribed,
}

impl ErrorCode {
    /// Every code.
    pub const ALL: [Self; 6] =
        [Self::Other, Self::JobNotFound, Self::Duplicate, Self::LowDifficulty, Self::Unauthorized, Self::NotSubscribed];

    /// The number on the wire.
    pub const fn number(self) -> i64 {
        match self {
            Self::Other => 20,
            Self::JobNotFound => 21,
            Self::Duplicate => 22,
            Self::LowDifficulty => 23,
            Self::Unauthorized => 24,
            Self::NotSubscribed => 25,
        }
    }

    /// The text on the wire, which monitoring tools match on.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Other => "Other/Unknown",
            Self::JobNotFound => "Job not found",
            Self::Duplicate => "Duplicate share",
            Self::LowDifficulty => "Low difficulty share",
            Self::Unauthorized => "Unauthorized worker",
            Self::NotSubscribed => "Not subscribed",
        }
    }

    fn from_number(number: i64) -> Self {
        Self::ALL.into_iter().find(|code| code.number() == number).unwrap_or(Self::Other)
    }
}

/// Longest reason that is kept of what a pool says, in characters.
pub const MAX_REASON_LEN: usize = 255;

/// A refusal as it goes over the wire: `[code, text, null]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What kind.
    pub code: ErrorCode,
    /// In words; a server of ours sends [`ErrorCode::text`] unless it knows better.
    pub reason: Cow<'static, str>,
}

impl Refusal {
    /// With other words than the code's own.
    pub fn with_reason(code: ErrorCode, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { code, reason: reason.into() }
    }

    /// What a refusal of Stratum V2 is in Stratum V1, by its code in `SubmitShares.Error` (sv2-spec §5.3.14).
    ///
    /// Codes that are not known come through as they are, up to [`MAX_REASON_LEN`] characters, without control characters.
    pub fn from_sv2(code: &str) -> Self {
        let other = |reason: &'static str| Self::with_reason(ErrorCode::Other, reason);
        match code {
            "invalid-job-id" | "invalid-channel-id" => ErrorCode::JobNotFound.into(),
            "stale-share" => Self::with_reason(ErrorCode::JobNotFound, "Stale share"),
            "duplicate-share" => ErrorCode::Duplicate.into(),
            "difficulty-too-low" => ErrorCode::LowDifficulty.into(),
            "bad-extranonce-size" => other("Invalid extranonce2 size"),
            "version-rolling-not-allowed" => other("Version rolling not allowed"),
            "invalid-non-rollable-version-bit" => other("Invalid version bits"),
            "ntime-out-of-range" => other("Time out of range"),
            "too-many-shares" => other("Too many shares"),
            code => {
                let code: String = code.chars().filter(|c| !c.is_control()).take(MAX_REASON_LEN).collect();
                Self::with_reason(ErrorCode::Other, code)
            }
        }
    }

    pub(crate) fn to_json(&self) -> Value {
        json!([self.code.number(), self.reason, null])
    }

    /// Reads the forms that pools send: a list, an object, a text, or a bare number.
    pub(crate) fn from_json(value: &Value) -> Self {
        let (number, text) = match value {
            Value::Array(list) => (list.first(), list.get(1)),
            Value::Object(object) => (object.get("code"), object.get("message")),
            other => (Some(other), Some(other)),
        };
        let number = number.and_then(Value::as_i64);
        let code = number.map_or(ErrorCode::Other, ErrorCode::from_number);
        let text = text.and_then(Value::as_str).unwrap_or_else(|| code.text());
        Self { code, reason: text.chars().take(MAX_REASON_LEN).collect::<String>().into() }
    }
}

impl From<ErrorCode> for Refusal {
    fn from(code: ErrorCode) -> Self {
        Self { code, reason: Cow::Borrowed(code.text()) }
    }
}

impl From<InvalidParams> for Refusal {
    fn from(error: InvalidParams) -> Self {
        Self { code: ErrorCode::Other, reason: alloc::format!("{error}").into() }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.reason, self.code.number())
    }
}

impl core::error::Error for Refusal {}

/// A session was asked for what its state does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misuse {
    /// The miner has not subscribed yet; what it would be told has no meaning for it.
    NotSubscribed,
    /// The miner did not ask for changes of its extranonce, and most would go on with the old one.
    ExtranonceNotSubscribed,
    /// More requests wait for their answers than [`MAX_PENDING`](crate::session::MAX_PENDING).
    TooManyPending,
}

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotSubscribed => "expected a session that has subscribed",
            Self::ExtranonceNotSubscribed => "expected a miner that subscribed to changes of its extranonce",
            Self::TooManyPending => "expected fewer requests that wait for their answer",
        })
    }
}

impl core::error::Error for Misuse {}

pub(crate) fn json_error(error: &serde_json::Error) -> InvalidLine {
    InvalidLine::Json(alloc::format!("{error}").chars().take(MAX_REASON_LEN).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_of_v2_have_their_numbers_and_unknown_ones_their_code() {
        let of = |code| {
            let refusal = Refusal::from_sv2(code);
            (refusal.code.number(), refusal.reason.into_owned())
        };
        for (code, number) in
            [("stale-share", 21), ("invalid-job-id", 21), ("duplicate-share", 22), ("difficulty-too-low", 23)]
        {
            assert_eq!(of(code).0, number, "{code}");
        }
        assert_eq!(of("ntime-out-of-range"), (20, "Time out of range".into()));
        assert_eq!(of("a new\u{7} code"), (20, "a new code".into()));
        assert_eq!(of(&"x".repeat(300)).1.len(), MAX_REASON_LEN);
    }
}
