//! The JSON-RPC object around each message.

use alloc::{
    borrow::{Cow, ToOwned},
    string::{String, ToString},
    vec::Vec,
};

use serde::Deserialize;
use serde_json::{Value, value::RawValue};

use crate::{
    error::{InvalidLine, Refusal, json_error},
    id::{Id, MAX_ID_LEN},
};

/// Longest name of a method that is kept for a log, in characters.
const MAX_METHOD_LEN: usize = 64;

/// A line, before its method is looked at.
#[derive(Clone, Debug, PartialEq)]
pub enum Envelope {
    /// Somebody wants something, or tells something.
    Request(Request),
    /// An answer to a request of this side.
    Response(Response),
}

/// A request; without an id, or with `null`, a notification.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// What the answer must repeat.
    pub id: Id,
    /// Name, such as `mining.submit`; at most 64 characters are kept.
    pub method: String,
    /// As sent.
    pub params: Option<Value>,
}

/// An answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Response {
    /// The request's.
    pub id: Id,
    /// The result, or why there is none.
    pub result: Result<Value, Refusal>,
}

#[derive(Deserialize)]
struct Raw<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    method: Option<Cow<'a, str>>,
    #[serde(default)]
    params: Option<Value>,
    #[serde(default, deserialize_with = "present")]
    result: Option<Value>,
    #[serde(default)]
    error: Option<Value>,
}

/// Tells `null` from nothing.
fn present<'de, D: serde::Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

impl Envelope {
    /// Reads a line.
    ///
    /// # Errors
    /// What is no message at all; see [`InvalidLine`].
    pub fn parse(line: &[u8]) -> Result<Self, InvalidLine> {
        let raw: Raw<'_> = serde_json::from_slice(line).map_err(|error| json_error(&error))?;
        let scalar = |id: &&RawValue| id.get().len() <= MAX_ID_LEN && !id.get().starts_with(['[', '{']);
        if !raw.id.as_ref().is_none_or(scalar) {
            return Err(InvalidLine::Id);
        }
        let id = Id::from_raw(raw.id);
        if let Some(method) = raw.method {
            let method = method.chars().take(MAX_METHOD_LEN).collect();
            return Ok(Self::Request(Request { id, method, params: raw.params }));
        }
        let result = match (raw.error, raw.result) {
            (Some(error), _) if error != Value::Bool(false) => Err(Refusal::from_json(&error)),
            (_, Some(result)) => Ok(result),
            (Some(_), None) => Ok(Value::Null),
            (None, None) => return Err(InvalidLine::NoMethod),
        };
        Ok(Self::Response(Response { id, result }))
    }
}

/// Writes a request; `id` of `None` makes a notification, whose id is `null`.
pub(crate) fn write_request(out: &mut Vec<u8>, id: Option<u64>, method: &str, params: &Value) {
    let id = id.map_or_else(|| "null".to_owned(), |id| id.to_string());
    let name = Value::from(method);
    out.extend_from_slice(alloc::format!("{{\"id\":{id},\"method\":{name},\"params\":{params}}}\n").as_bytes());
}

/// Writes an answer, to a request without an id, too: some devices send none and wait all the same.
pub(crate) fn write_response(out: &mut Vec<u8>, id: &Id, result: Result<&Value, &Refusal>) {
    let (result, error) = match result {
        Ok(value) => (value.clone(), Value::Null),
        Err(refusal) => (Value::Null, refusal.to_json()),
    };
    out.extend_from_slice(alloc::format!("{{\"id\":{id},\"result\":{result},\"error\":{error}}}\n").as_bytes());
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::error::ErrorCode;

    #[test]
    fn ids_are_kept_as_written() {
        for (text, shown) in [("1", "1"), ("\"a\\u0062\"", "\"a\\u0062\""), ("null", "null"), ("1.50", "1.50")] {
            let line = alloc::format!("{{\"id\": {text}, \"method\": \"mining.ping\"}}");
            let Ok(Envelope::Request(request)) = Envelope::parse(line.as_bytes()) else { panic!("{line}") };
            assert_eq!(request.id.as_json(), shown);
            assert_eq!(request.id.is_null(), text == "null");
        }
        let Ok(Envelope::Request(request)) = Envelope::parse(b"{\"method\":\"x\"}") else { panic!() };
        assert!(request.id.is_null());
        for id in ["[1]", "{}", &alloc::format!("\"{}\"", "x".repeat(MAX_ID_LEN - 1))] {
            let line = alloc::format!("{{\"id\":{id},\"method\":\"x\"}}");
            assert_eq!(Envelope::parse(line.as_bytes()), Err(InvalidLine::Id), "{id}");
        }
        let longest = alloc::format!("{{\"id\":\"{}\",\"method\":\"x\"}}", "x".repeat(MAX_ID_LEN - 2));
        assert!(Envelope::parse(longest.as_bytes()).is_ok());
    }

    #[test]
    fn errors_are_read_in_all_their_forms() {
        let refusal = |error: &str| {
            let line = alloc::format!("{{\"id\":1,\"result\":null,\"error\":{error}}}");
            match Envelope::parse(line.as_bytes()) {
                Ok(Envelope::Response(Response { result: Err(refusal), .. })) => refusal,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(refusal("[22,\"dup\",null]"), Refusal::with_reason(ErrorCode::Duplicate, "dup"));
        assert_eq!(refusal("{\"code\":23,\"message\":\"low\"}"), Refusal::with_reason(ErrorCode::LowDifficulty, "low"));
        assert_eq!(refusal("\"no\""), Refusal::with_reason(ErrorCode::Other, "no"));
        assert_eq!(refusal("21"), ErrorCode::JobNotFound.into());
        assert_eq!(refusal("[-1]"), ErrorCode::Other.into());
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for line in ["", "x", "[]", "{}", "{\"id\":1}", "{\"id\":1,\"method\":5}", "{\"id\":1,\"method\":\"x\"} y"] {
            assert!(Envelope::parse(line.as_bytes()).is_err(), "{line}");
        }
        let deep = alloc::format!("{{\"id\":1,\"method\":\"x\",\"params\":{}1{}}}", "[".repeat(500), "]".repeat(500));
        assert!(Envelope::parse(deep.as_bytes()).is_err(), "nesting is limited");
    }

    #[test]
    fn what_is_written_is_read_again() {
        let mut out = Vec::new();
        write_request(&mut out, Some(7), "mining.submit", &json!(["a", 1]));
        write_response(&mut out, &Id::from(7), Ok(&json!(true)));
        write_response(&mut out, &Id::ABSENT, Err(&ErrorCode::Unauthorized.into()));
        let mut lines = out.split(|&byte| byte == b'\n');
        let request = Envelope::parse(lines.next().unwrap()).unwrap();
        let params = Some(json!(["a", 1]));
        assert_eq!(request, Envelope::Request(Request { id: Id::from(7), method: "mining.submit".into(), params }));
        let response = |line, result| assert_eq!(Envelope::parse(line), Ok(Envelope::Response(result)));
        response(lines.next().unwrap(), Response { id: Id::from(7), result: Ok(json!(true)) });
        let refused = Response { id: Id::ABSENT, result: Err(ErrorCode::Unauthorized.into()) };
        response(lines.next().unwrap(), refused);
    }
}
