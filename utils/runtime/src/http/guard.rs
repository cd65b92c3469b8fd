//! What holds for every request: security headers, a time limit, and by which names the server may be called.

use std::{net::IpAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderName, HeaderValue, StatusCode, header, uri::Authority},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};

use super::ApiError;

/// On every answer. Scripts, styles and data come from the server itself, nothing is inline, and nobody frames it.
const HEADERS: [(HeaderName, &str); 7] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=()"),
];

/// What a server may be called in requests: an address, `localhost`, or one of these names.
///
/// A page from elsewhere whose name is made to lead to this server (DNS rebinding) is kept out by it.
#[derive(Clone, Debug, Default)]
pub struct Hosts(Arc<[String]>);

impl Hosts {
    /// Addresses, `localhost` and these names. Lower and upper case are the same.
    pub fn new(names: &[String]) -> Self {
        Self(names.to_vec().into())
    }

    /// Whether the server may be called this: a host with or without a port.
    pub fn contain(&self, authority: &str) -> bool {
        let Ok(authority) = authority.parse::<Authority>() else { return false };
        let host = authority.host();
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        bare.parse::<IpAddr>().is_ok()
            || ["localhost"]
                .into_iter()
                .chain(self.0.iter().map(String::as_str))
                .any(|name| name.eq_ignore_ascii_case(host))
    }
}

pub(super) fn protect(router: Router, hosts: Option<Hosts>, request_time: Duration) -> Router {
    router.layer(middleware::from_fn_with_state((hosts, request_time), guard))
}

async fn guard(
    State((hosts, request_time)): State<(Option<Hosts>, Duration)>,
    request: Request,
    next: Next,
) -> Response {
    let called = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    let welcome = hosts.is_none_or(|hosts| called.is_some_and(|called| hosts.contain(called)));
    let mut response = if welcome {
        let answered = tokio::time::timeout(request_time, next.run(request)).await;
        answered.unwrap_or_else(|_| ApiError::unavailable("this took too long; try again later").into_response())
    } else {
        let message = "this server is not called so; its operator can add the name to http.hosts";
        ApiError::new(StatusCode::FORBIDDEN, "unknown-host", message).into_response()
    };
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_a_server_answers_to() {
        let hosts = Hosts::new(&["pool.example".to_owned()]);
        for called in ["127.0.0.1", "127.0.0.1:34280", "[::1]:80", "localhost:34280", "LOCALHOST", "Pool.example:8080"]
        {
            assert!(hosts.contain(called), "{called}");
        }
        for called in ["", "evil.example", "pool.example.evil", "localhost.evil:80", "127.0.0.1.evil", "a b"] {
            assert!(!hosts.contain(called), "{called}");
        }
    }
}
