//! The client's side: a miner, or a proxy that stands in for many.

use alloc::{
    collections::BTreeMap,
    string::{String, ToString},
    vec::Vec,
};
use core::fmt;

use serde_json::{Value, json};

use crate::{
    envelope::{Envelope, Request, Response, write_request, write_response},
    error::{ErrorCode, InvalidLine, InvalidParams, Misuse, Refusal},
    miner::{Authorize, Configure, MinerRequest, Submit, Subscribe, VersionRolling},
    params::{Params, expected, hex_u32},
    pool::{Notify, PoolRequest, Reconnect, SetExtranonce},
    session::MAX_PENDING,
};

/// What a client says of itself and asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Name and version.
    pub user_agent: String,
    /// Bits of nVersion that it would roll; 0 asks for none.
    pub version_mask: u32,
    /// Least number of bits that make sense to it.
    pub version_min_bits: u32,
    /// Whether it asks for changes of its extranonce.
    pub subscribe_extranonce: bool,
}

impl Default for Config {
    fn default() -> Self {
        let user_agent = concat!("stratum/", env!("CARGO_PKG_VERSION")).to_string();
        Self { user_agent, version_mask: 0x1fff_e000, version_min_bits: 2, subscribe_extranonce: true }
    }
}

/// Number of a request, to match its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestNumber(u64);

/// What a pool says.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The subscription stands: extranonce and size are known.
    Subscribed,
    /// What became of [`Client::authorize`].
    Authorized {
        /// Number of the request.
        request: RequestNumber,
        /// Whether shares of this worker will be taken.
        result: Result<(), Refusal>,
    },
    /// What became of a share.
    Submitted {
        /// Number of the request.
        request: RequestNumber,
        /// Whether it counts.
        result: Result<(), Refusal>,
    },
    /// A job, with the difficulty, extranonce and version mask that hold for it: read them now.
    Notify(Notify),
    /// Difficulty of the jobs to come; over zero.
    SetDifficulty(f64),
    /// Extranonce of the jobs to come.
    SetExtranonce,
    /// Bits of nVersion for the jobs to come; 0 is none.
    SetVersionMask(u32),
    /// The pool wants the connection made anew.
    Reconnect(Reconnect),
    /// A text for a person.
    ShowMessage(String),
}

/// Why a session ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientError {
    /// The line is no message.
    Line(InvalidLine),
    /// A message that the session can not do without has a wrong parameter.
    Params {
        /// Which message.
        method: String,
        /// What is wrong.
        error: InvalidParams,
    },
    /// The pool refuses the subscription.
    SubscribeRefused(Refusal),
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(error) => error.fmt(f),
            Self::Params { method, error } => write!(f, "{method}: {error}"),
            Self::SubscribeRefused(refusal) => write!(f, "mining.subscribe refused: {refusal}"),
        }
    }
}

impl core::error::Error for ClientError {}

impl From<InvalidLine> for ClientError {
    fn from(error: InvalidLine) -> Self {
        Self::Line(error)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waiting {
    Configure,
    Subscribe,
    Authorize,
    Submit,
    /// An answer that changes nothing.
    Other,
}

/// One connection to a pool.
#[derive(Debug)]
pub struct Client {
    config: Config,
    last_id: u64,
    pending: BTreeMap<u64, Waiting>,
    extranonce: Option<SetExtranonce>,
    difficulty: Option<f64>,
    version_mask: u32,
    output: Vec<u8>,
}

impl Client {
    /// A session at its beginning.
    pub const fn new(config: Config) -> Self {
        Self {
            config,
            last_id: 0,
            pending: BTreeMap::new(),
            extranonce: None,
            difficulty: None,
            version_mask: 0,
            output: Vec::new(),
        }
    }

    /// Lines to send, in order; take them out.
    pub const fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// Asks for version rolling and subscribes, in one go: a pool that does not know the former still does the latter.
    ///
    /// # Errors
    /// See [`submit`](Self::submit).
    pub fn start(&mut self) -> Result<(), Misuse> {
        let Config { version_mask, version_min_bits, subscribe_extranonce, .. } = self.config;
        let version_rolling =
            (version_mask != 0).then_some(VersionRolling { mask: version_mask, min_bit_count: version_min_bits });
        if version_rolling.is_some() || subscribe_extranonce {
            let configure = Configure { version_rolling, subscribe_extranonce, ..Configure::default() };
            self.request(&MinerRequest::Configure(configure), Waiting::Configure)?;
        }
        let subscribe = Subscribe { user_agent: self.config.user_agent.clone(), session_id: None };
        self.request(&MinerRequest::Subscribe(subscribe), Waiting::Subscribe)?;
        Ok(())
    }

    /// Names a worker; may be done before the subscription stands.
    ///
    /// # Errors
    /// See [`submit`](Self::submit).
    pub fn authorize(&mut self, username: &str, password: &str) -> Result<RequestNumber, Misuse> {
        let authorize = Authorize { username: username.into(), password: password.into() };
        self.request(&MinerRequest::Authorize(authorize), Waiting::Authorize)
    }

    /// Suggests a difficulty over zero; pools may ignore it.
    ///
    /// # Errors
    /// See [`submit`](Self::submit).
    pub fn suggest_difficulty(&mut self, difficulty: f64) -> Result<RequestNumber, Misuse> {
        self.request(&MinerRequest::SuggestDifficulty(difficulty), Waiting::Other)
    }

    /// Sends a share.
    ///
    /// # Errors
    /// When [`MAX_PENDING`] requests wait for their answer: the pool is not well, and nothing was sent.
    pub fn submit(&mut self, share: &Submit) -> Result<RequestNumber, Misuse> {
        self.request(&MinerRequest::Submit(share.clone()), Waiting::Submit)
    }

    /// The part of the extranonce that the pool sets, once subscribed.
    pub fn extranonce1(&self) -> Option<&[u8]> {
        self.extranonce.as_ref().map(|extranonce| &extranonce.extranonce1[..])
    }

    /// Bytes to roll, once subscribed.
    pub fn extranonce2_size(&self) -> Option<usize> {
        self.extranonce.as_ref().map(|extranonce| extranonce.extranonce2_size)
    }

    /// Difficulty for the next job; absent until the pool has said one (then 1 is meant).
    pub const fn difficulty(&self) -> Option<f64> {
        self.difficulty
    }

    /// Bits of nVersion that may be rolled; 0 is none.
    pub const fn version_mask(&self) -> u32 {
        self.version_mask
    }

    /// Requests that wait for their answer.
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// Takes a line of the pool, without its newline.
    ///
    /// # Errors
    /// When the session can not go on.
    pub fn handle_line(&mut self, line: &[u8]) -> Result<Option<Event>, ClientError> {
        match Envelope::parse(line)? {
            Envelope::Request(request) => self.handle_request(&request),
            Envelope::Response(response) => self.handle_response(response),
        }
    }

    fn handle_request(&mut self, request: &Request) -> Result<Option<Event>, ClientError> {
        let params = |error| ClientError::Params { method: request.method.clone(), error };
        let event = match PoolRequest::parse(request).map_err(params)? {
            PoolRequest::Notify(notify) => Event::Notify(notify),
            PoolRequest::SetDifficulty(difficulty) => {
                self.difficulty = Some(difficulty);
                Event::SetDifficulty(difficulty)
            }
            PoolRequest::SetExtranonce(extranonce) => {
                self.extranonce = Some(extranonce);
                Event::SetExtranonce
            }
            PoolRequest::SetVersionMask(mask) => {
                self.version_mask = mask & self.config.version_mask;
                Event::SetVersionMask(self.version_mask)
            }
            PoolRequest::GetVersion => {
                write_response(&mut self.output, &request.id, Ok(&json!(self.config.user_agent)));
                return Ok(None);
            }
            PoolRequest::Ping => {
                write_response(&mut self.output, &request.id, Ok(&json!("pong")));
                return Ok(None);
            }
            PoolRequest::Reconnect(reconnect) => Event::Reconnect(reconnect),
            PoolRequest::ShowMessage(text) => Event::ShowMessage(text),
            PoolRequest::Unknown(_) => {
                if !request.id.is_null() {
                    let refusal = Refusal::with_reason(ErrorCode::Other, "Unknown method");
                    write_response(&mut self.output, &request.id, Err(&refusal));
                }
                return Ok(None);
            }
        };
        Ok(Some(event))
    }

    fn handle_response(&mut self, response: Response) -> Result<Option<Event>, ClientError> {
        let Response { id, result } = response;
        let Some(number) = id.as_number() else { return Ok(None) };
        let Some(waiting) = self.pending.remove(&number) else { return Ok(None) };
        let request = RequestNumber(number);
        Ok(match waiting {
            Waiting::Other => None,
            Waiting::Configure => {
                let configured = result.ok().filter(|value| value["version-rolling"] == json!(true));
                let mask = configured.and_then(|value| hex_u32(&value["version-rolling.mask"])).unwrap_or(0);
                // Never a bit that was not asked for.
                self.version_mask = mask & self.config.version_mask;
                Some(Event::SetVersionMask(self.version_mask))
            }
            Waiting::Subscribe => {
                let value = result.map_err(ClientError::SubscribeRefused)?;
                let error = |error| ClientError::Params { method: "mining.subscribe".into(), error };
                self.extranonce = Some(subscription(&value).map_err(error)?);
                Some(Event::Subscribed)
            }
            Waiting::Authorize => Some(Event::Authorized { request, result: is_true(result, ErrorCode::Unauthorized) }),
            Waiting::Submit => Some(Event::Submitted { request, result: is_true(result, ErrorCode::Other) }),
        })
    }

    fn request(&mut self, request: &MinerRequest, waiting: Waiting) -> Result<RequestNumber, Misuse> {
        if self.pending.len() >= MAX_PENDING {
            return Err(Misuse::TooManyPending);
        }
        self.last_id += 1;
        self.pending.insert(self.last_id, waiting);
        write_request(&mut self.output, Some(self.last_id), request.method(), &request.params());
        Ok(RequestNumber(self.last_id))
    }
}

/// `[subscriptions, extranonce1, extranonce2_size]`
fn subscription(value: &Value) -> Result<SetExtranonce, InvalidParams> {
    if !value.is_array() {
        return expected("a list of subscriptions, extranonce1 and extranonce2 size");
    }
    SetExtranonce::parse(&Params::new(Some(value)), 1)
}

/// Some pools say no with `false` and no error.
fn is_true(result: Result<Value, Refusal>, code: ErrorCode) -> Result<(), Refusal> {
    match result? {
        Value::Bool(false) | Value::Null => Err(code.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started() -> Client {
        let mut client = Client::new(Config::default());
        client.start().unwrap();
        client.output().clear();
        client
    }

    #[test]
    fn a_pool_without_configure_or_with_fewer_bits() {
        let mut client = started();
        assert_eq!(
            client.handle_line(br#"{"id":1,"result":null,"error":[20,"unknown",null]}"#),
            Ok(Some(Event::SetVersionMask(0)))
        );
        let mut client = started();
        let line = br#"{"id":1,"result":{"version-rolling":true,"version-rolling.mask":"ffffffff"},"error":null}"#;
        assert_eq!(client.handle_line(line), Ok(Some(Event::SetVersionMask(0x1fff_e000))), "no bit beyond its own");
    }

    #[test]
    fn the_subscription_is_what_a_session_can_not_do_without() {
        let subscribe = |result: &str| started().handle_line(alloc::format!(r#"{{"id":2,{result}}}"#).as_bytes());
        assert_eq!(subscribe(r#""result":[[],"aabb",4],"error":null"#), Ok(Some(Event::Subscribed)));
        assert_eq!(subscribe(r#""result":[null,"",0],"error":null"#), Ok(Some(Event::Subscribed)));
        for refused in [r#""result":[[],"aabb",33]"#, r#""result":true"#, r#""result":[[],"xx",4]"#, r#""error":[24]"#]
        {
            assert!(subscribe(refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn answers_find_their_requests() {
        let mut client = started();
        let share = Submit {
            username: "u".into(),
            job_id: "j".into(),
            extranonce2: alloc::vec![0; 4],
            ntime: 1,
            nonce: 2,
            version_bits: Some(0x2000),
        };
        let (first, second) = (client.submit(&share).unwrap(), client.submit(&share).unwrap());
        let accepted = client.handle_line(br#"{"id":4,"result":true,"error":null}"#);
        assert_eq!(accepted, Ok(Some(Event::Submitted { request: second, result: Ok(()) })));
        let refused = client.handle_line(br#"{"id":"3","result":false,"error":null}"#);
        let result = Err(ErrorCode::Other.into());
        assert_eq!(refused, Ok(Some(Event::Submitted { request: first, result })));
        assert_eq!(client.handle_line(br#"{"id":4,"result":true,"error":null}"#), Ok(None), "once");
        assert_eq!(client.handle_line(br#"{"id":null,"result":true,"error":null}"#), Ok(None));
    }

    #[test]
    fn requests_without_answers_are_bounded() {
        let mut client = started();
        let room = MAX_PENDING - client.pending();
        for _ in 0..room {
            client.suggest_difficulty(1.0).unwrap();
        }
        client.output().clear();
        assert_eq!(client.suggest_difficulty(1.0), Err(Misuse::TooManyPending));
        assert!(client.output().is_empty());
    }

    #[test]
    fn what_pools_ask_is_answered() {
        let mut client = started();
        assert_eq!(client.handle_line(br#"{"id":9,"method":"client.get_version","params":[]}"#), Ok(None));
        assert_eq!(client.handle_line(br#"{"id":10,"method":"mining.ping"}"#), Ok(None));
        assert_eq!(client.handle_line(br#"{"id":11,"method":"mining.new_thing"}"#), Ok(None));
        assert_eq!(client.handle_line(br#"{"id":null,"method":"mining.new_thing"}"#), Ok(None));
        let text = String::from_utf8(core::mem::take(client.output())).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[0]["result"], json!(Config::default().user_agent));
        assert_eq!(lines[1]["result"], json!("pong"));
        assert_eq!(lines[2]["error"][0], json!(20));
    }
}
