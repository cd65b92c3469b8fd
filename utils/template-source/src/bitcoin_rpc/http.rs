//! JSON-RPC over HTTP: one connection per call, everything bounded in time and size.

use std::{
    num::NonZeroU16,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::{
    Method, Request, StatusCode, Uri,
    body::Bytes,
    client::conn::http1,
    header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, HeaderValue},
};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::{net::TcpStream, task::AbortHandle};

use super::{
    error::RpcError,
    login::{BadSecretFile, Login},
};

/// Longest text of a node that is passed on, in characters.
const MAX_TEXT: usize = 200;

/// What one call may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    /// From the start to the last byte; without one, the node may take any time.
    pub(super) time: Option<Duration>,
    /// Bytes of the answer.
    pub(super) bytes: usize,
}

/// Where a node listens, without a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    host: String,
    port: u16,
    path: String,
}

impl Endpoint {
    /// Takes `http://host[:port][/path]` apart; `port` stands where there is none.
    ///
    /// # Errors
    /// What is wrong. The text does not show the URL, for there may be a password in it.
    pub fn parse(url: &str, port: u16) -> Result<Self, &'static str> {
        let uri: Uri = url.parse().map_err(|_| "expected http://host:port")?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => return Err("a node speaks plain http; for another machine use a tunnel (SSH, WireGuard)"),
            _ => return Err("expected http://host:port"),
        }
        let authority = uri.authority().ok_or("expected http://host:port")?;
        if authority.as_str().contains('@') {
            return Err("no login here; set cookie_file, or user and password_file");
        }
        let port = match authority.as_str().strip_prefix(authority.host()).map(|rest| rest.strip_prefix(':')) {
            Some(Some(text)) => {
                let port: NonZeroU16 = text.parse().map_err(|_| "expected a port from 1 to 65535 after the host")?;
                port.get()
            }
            _ => port,
        };
        // IPv6 addresses stand in brackets, which connecting does not want.
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err("expected http://host:port");
        }
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let path = if path.is_empty() { "/" } else { path };
        Ok(Self { host, port, path: path.to_owned() })
    }

    /// `host:port`, as it stands in messages.
    pub(super) fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// Calls a node. Clones share the login.
#[derive(Clone, Debug)]
pub(super) struct Client {
    endpoint: Arc<Endpoint>,
    login: Arc<Login>,
    /// What was read of the login last.
    header: Arc<Mutex<Option<HeaderValue>>>,
}

/// An answer of JSON-RPC, any version.
#[derive(Deserialize)]
#[serde(bound(deserialize = "T: Deserialize<'de>"))]
struct Answer<T> {
    /// Missing, `null`, or something: `null` is how a node accepts a block.
    #[serde(default, deserialize_with = "present")]
    result: Option<Option<T>>,
    error: Option<AnswerError>,
}

fn present<'de, T: Deserialize<'de>, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

#[derive(Deserialize)]
struct AnswerError {
    code: i64,
    message: String,
}

/// Ends the connection when dropped.
struct Closes(AbortHandle);

impl Drop for Closes {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Client {
    pub(super) fn new(endpoint: Endpoint, login: Login) -> Self {
        Self { endpoint: Arc::new(endpoint), login: Arc::new(login), header: Arc::default() }
    }

    pub(super) fn address(&self) -> String {
        self.endpoint.address()
    }

    /// Calls `what` with `params`, which is a JSON list. Gives the body of the answer and whether its status was a good one.
    pub(super) async fn call(&self, what: &'static str, params: &str, limit: Limit) -> Result<Bytes, RpcError> {
        // JSON-RPC 1.0 is what every node speaks.
        let body = Bytes::from(format!(r#"{{"jsonrpc":"1.0","id":"stratum","method":"{what}","params":{params}}}"#));
        let calling = self.call_with_login(what, body, limit.bytes);
        let Some(time) = limit.time else { return calling.await };
        tokio::time::timeout(time, calling).await.unwrap_or(Err(RpcError::Timeout { what, limit: time }))
    }

    async fn call_with_login(&self, what: &'static str, body: Bytes, most: usize) -> Result<Bytes, RpcError> {
        let used = self.header(false).await?;
        match self.post(what, used.clone(), body.clone(), most).await {
            // A node that was started anew has a new cookie.
            Err(RpcError::Unauthorized) => match self.header(true).await? {
                new if new != used => self.post(what, new, body, most).await,
                _ => Err(RpcError::Unauthorized),
            },
            result => result,
        }
    }

    /// The login, read from its file when it was not before, or `anew`.
    async fn header(&self, anew: bool) -> Result<HeaderValue, RpcError> {
        let known = self.header.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(header) = known.filter(|_| !anew) {
            return Ok(header);
        }
        let login = self.login.clone();
        let read: Result<HeaderValue, BadSecretFile> = tokio::task::spawn_blocking(move || login.header())
            .await
            .map_err(|error| RpcError::Task(error.to_string()))?;
        let header = read?;
        *self.header.lock().unwrap_or_else(PoisonError::into_inner) = Some(header.clone());
        Ok(header)
    }

    async fn post(&self, what: &'static str, login: HeaderValue, body: Bytes, most: usize) -> Result<Bytes, RpcError> {
        let http = |error| RpcError::Http { what, error };
        let connect = |error| RpcError::Connect { address: self.address(), error };
        let stream = TcpStream::connect((self.endpoint.host.as_str(), self.endpoint.port)).await.map_err(connect)?;
        stream.set_nodelay(true).map_err(connect)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(http)?;
        let _closes = Closes(tokio::spawn(connection).abort_handle());
        let request = Request::builder()
            .method(Method::POST)
            .uri(&self.endpoint.path)
            .header(HOST, self.address())
            .header(AUTHORIZATION, login)
            .header(CONTENT_TYPE, "application/json")
            .header(CONNECTION, "close")
            .body(Full::new(body))
            .map_err(|error| RpcError::Broken { what, error: error.to_string() })?;
        let response = sender.send_request(request).await.map_err(http)?;
        let status = response.status();
        match status {
            StatusCode::UNAUTHORIZED => return Err(RpcError::Unauthorized),
            StatusCode::FORBIDDEN => return Err(RpcError::Forbidden),
            StatusCode::SERVICE_UNAVAILABLE => return Err(RpcError::Busy),
            _ => {}
        }
        let body = Limited::new(response.into_body(), most).collect().await.map_err(|error| match error
            .is::<LengthLimitError>()
        {
            true => RpcError::TooLong { what, most },
            false => RpcError::Broken { what, error: error.to_string() },
        })?;
        let body = body.to_bytes();
        // Errors of JSON-RPC 1 have the status 404 or 500 and a body that says more.
        match status.is_success() || body.first() == Some(&b'{') {
            true => Ok(body),
            false => Err(RpcError::Status { what, status: status.as_u16() }),
        }
    }
}

/// Reads an answer: its result, which is nothing where it is `null`, or the node's error.
pub(super) fn read<'a, T: Deserialize<'a>>(what: &'static str, body: &'a [u8]) -> Result<Option<T>, RpcError> {
    let answer: Answer<T> =
        serde_json::from_slice(body).map_err(|error| RpcError::Answer { what, error: error.to_string() })?;
    let Some(AnswerError { code, message }) = answer.error else {
        return answer
            .result
            .ok_or_else(|| RpcError::Answer { what, error: "neither a result nor an error".to_owned() });
    };
    let message = plain(&message);
    // Bitcoin Core's src/rpc/protocol.h.
    Err(match code {
        -28 => RpcError::Starting(message),
        -10 => RpcError::Syncing,
        -9 => RpcError::NotConnected(message),
        _ => RpcError::Node { what, code, message },
    })
}

/// Text of a node for a message: no control characters, not too long.
pub(super) fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_TEXT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_read() {
        let parse = |url| Endpoint::parse(url, 8332).map(|endpoint| (endpoint.address(), endpoint.path));
        assert_eq!(parse("http://127.0.0.1:18443"), Ok(("127.0.0.1:18443".into(), "/".into())));
        assert_eq!(parse("http://node"), Ok(("node:8332".into(), "/".into())));
        assert_eq!(parse("http://[::1]:1/wallet/"), Ok(("[::1]:1".into(), "/wallet/".into())));
        for bad in [
            "",
            "node:8332",
            "127.0.0.1",
            "https://node",
            "http://",
            "http://:1",
            "ftp://node",
            "http://node:x",
            "http://node:0",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        let error = parse("http://alice:hunter2@node").unwrap_err();
        assert!(error.contains("cookie_file") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn answers_are_read() {
        let read = |text: &'static str| read::<&str>("x", text.as_bytes());
        assert_eq!(read(r#"{"result":"a","error":null,"id":1}"#).unwrap(), Some("a"));
        assert_eq!(read(r#"{"jsonrpc":"2.0","result":null}"#).unwrap(), None);
        let error = |text| read(text).unwrap_err();
        let with = |code: i64| format!(r#"{{"result":null,"error":{{"code":{code},"message":"a\nb"}}}}"#).leak();
        assert!(matches!(error(with(-28)), RpcError::Starting(_)));
        assert!(matches!(error(with(-10)), RpcError::Syncing));
        assert!(matches!(error(with(-9)), RpcError::NotConnected(_)));
        assert!(error(with(-22)).to_string().contains("x: the node says -22: ab"));
        assert!(error(with(-22)).is_verdict() && !error(with(-32_601)).is_verdict() && !error(with(-28)).is_verdict());
        for bad in ["", "[]", "{}", "null", "7", r#"{"error":null}"#, r#"{"result":7}"#, "<html>"] {
            assert!(matches!(error(bad), RpcError::Answer { .. }), "{bad}");
        }
    }
}
