use std::{
    borrow::Cow,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
};

use axum::{
    body::Bytes,
    extract::FromRef,
    routing::{get, post},
};
use utoipa::openapi::{InfoBuilder, OpenApiBuilder};

use super::*;
use crate::listener::listen;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

#[derive(Clone)]
struct Api {
    token: Token,
    events: Events,
}

impl FromRef<Api> for Token {
    fn from_ref(api: &Api) -> Self {
        api.token.clone()
    }
}

impl FromRef<Api> for Events {
    fn from_ref(api: &Api) -> Self {
        api.events.clone()
    }
}

fn assets(name: &str) -> Option<Asset> {
    let bytes: &[u8] = match name {
        "index.html" => b"<html>",
        "assets/a-1.js" => b"script",
        "assets/a-1.js.br" => b"br",
        "assets/a-1.js.gz" => b"gz",
        _ => return None,
    };
    Some(Asset { bytes: Cow::Borrowed(bytes), hash: [bytes[0]; 32] })
}

struct Rig {
    address: SocketAddr,
    server: Option<Server>,
    events: Events,
    shutdown: Shutdown,
}

impl Rig {
    fn new(limits: Limits, hosts: Option<Hosts>) -> Self {
        let shutdown = Shutdown::new();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        crate::files::create_durably(&path, TOKEN.as_bytes(), crate::files::Access::Secret).unwrap();
        let events = Events::new(1, shutdown.clone());
        let api = Router::new()
            .route("/api/v1/number/{n}", get(async |Path(n): Path<u8>| n.to_string()))
            .route("/api/v1/change", post(async |_: Authorized| "changed"))
            .route("/api/v1/echo", post(async |body: Bytes| body))
            .route("/api/v1/never", get(async || std::future::pending::<()>().await))
            .route("/api/v1/events", get(subscribe))
            .with_state(Api { token: Token::load_or_create(&path).unwrap(), events: events.clone() });
        let site = Site {
            api,
            openapi: OpenApiBuilder::new().info(InfoBuilder::new().title("A role").build()).build(),
            readiness: Readiness::new(|| vec![Check { name: "ledger".into(), ok: false, detail: None }]),
            assets,
            hosts,
            limits,
        };
        let socket = listen("127.0.0.1:0".parse().unwrap(), false).unwrap();
        let address = socket.local_addr().unwrap();
        let server = Some(Server::start(vec![(socket, site)], shutdown.clone()).unwrap());
        Self { address, server, events, shutdown }
    }

    fn open(&self, head: &str) -> BufReader<TcpStream> {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        BufReader::new(stream)
    }

    /// The whole answer, as text.
    fn send(&self, request: &str, headers: &str) -> String {
        let head = format!("{request} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}\r\n");
        let mut answer = String::new();
        self.open(&head).read_to_string(&mut answer).unwrap();
        answer
    }
}

async fn subscribe(
    axum::extract::State(events): axum::extract::State<Events>,
) -> Result<axum::response::Response, ApiError> {
    events.subscribe(Event::new("first", &"one\ntwo").ok())
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.shutdown.cancel();
        self.server.take().unwrap().join();
    }
}

fn rig() -> Rig {
    Rig::new(Limits::new(64), Some(Hosts::default()))
}

#[test]
fn every_answer_is_guarded() {
    let rig = rig();
    let requests = ["GET /", "GET /docs", "GET /openapi.json", "GET /healthz", "GET /readyz", "GET /api/v1/number/1"];
    let failing = [
        "GET /api/v1/none",
        "GET /none.js",
        "POST /",
        "DELETE /api/v1/number/1",
        "GET /api/v1/number/256",
        "GET /x.br",
    ];
    for request in requests.into_iter().chain(failing) {
        let answer = rig.send(request, "").to_lowercase();
        for header in [
            "content-security-policy: default-src 'self';",
            "frame-ancestors 'none'",
            "x-content-type-options: nosniff",
            "referrer-policy: no-referrer",
            "cache-control: no-",
        ] {
            assert!(answer.contains(header), "{request}: {header}: {answer}");
        }
        assert!(!answer.contains("access-control"), "{answer}");
        assert_eq!(failing.contains(&request), answer.contains(r#"{"error":{"code":""#), "{request}: {answer}");
    }
    assert!(rig.send("GET /api/v1/number/256", "").starts_with("HTTP/1.1 400"));
    assert!(rig.send("DELETE /api/v1/number/1", "").starts_with("HTTP/1.1 405"));
    assert!(rig.send("GET /openapi.json", "").contains(r#""title":"A role""#));
    let ready = rig.send("GET /readyz", "");
    assert!(
        ready.starts_with("HTTP/1.1 503") && ready.contains(r#"{"ready":false,"checks":[{"name":"ledger""#),
        "{ready}"
    );
}

#[test]
fn a_change_needs_the_token() {
    let rig = rig();
    for wrong in ["", "authorization: Bearer\r\n", "authorization: Basic x\r\n", "authorization: Bearer 0123\r\n"] {
        let answer = rig.send("POST /api/v1/change", &format!("{wrong}content-length: 0\r\n"));
        assert!(answer.starts_with("HTTP/1.1 401") && answer.contains("www-authenticate: Bearer"), "{answer}");
        assert!(!answer.contains(TOKEN));
    }
    let answer = rig.send("POST /api/v1/change", &format!("authorization: bearer {TOKEN}\r\ncontent-length: 0\r\n"));
    assert!(answer.ends_with("changed"), "{answer}");
}

#[test]
fn a_name_that_is_not_the_server_s_is_refused() {
    let rig = rig();
    let mut answer = String::new();
    rig.open("GET /healthz HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n")
        .read_to_string(&mut answer)
        .unwrap();
    assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("unknown-host"), "{answer}");
    let anybody = Rig::new(Limits::new(8), None);
    let mut answer = String::new();
    anybody
        .open("GET /healthz HTTP/1.1\r\nhost: pool.example\r\nconnection: close\r\n\r\n")
        .read_to_string(&mut answer)
        .unwrap();
    assert!(answer.ends_with("ok\n"), "{answer}");
}

#[test]
fn a_request_is_limited_in_size_and_time() {
    let short = Limits { request_time: Duration::from_millis(50), ..Limits::new(8) };
    let rig = Rig::new(short, None);
    let answer = rig.send("GET /api/v1/never", "");
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("too long"), "{answer}");
    // A body that does not come is no reason to wait.
    let answer = rig.send("POST /api/v1/echo", "content-length: 5\r\n");
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    let body = "x".repeat(MAX_BODY_BYTES);
    let answer = rig.send("POST /api/v1/echo", &format!("content-length: {}\r\n\r\n{body}", body.len()));
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let answer = rig.send("POST /api/v1/echo", &format!("content-length: {}\r\n\r\n{body}x", body.len() + 1));
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    let answer = rig.send(&format!("GET /{}", "x".repeat(MAX_HEADER_BYTES)), "");
    assert!(answer.starts_with("HTTP/1.1 431") || answer.starts_with("HTTP/1.1 414"), "{answer}");
}

/// Slow heads take places for so long, and no longer.
#[test]
fn slow_clients_make_room() {
    let limits = Limits { header_time: Duration::from_millis(100), ..Limits::new(2) };
    let rig = Rig::new(limits, None);
    let mut slow = [rig.open("GET / HTTP/1.1\r\nx: "), rig.open("")];
    assert!(rig.send("GET /healthz", "").ends_with("ok\n"), "served when a place is free");
    for stream in &mut slow {
        let mut rest = String::new();
        // Closed, maybe with a word.
        let _ = stream.read_to_string(&mut rest);
    }
}

#[test]
fn files_have_variants_and_are_kept() {
    let rig = rig();
    for (accepted, body) in [
        ("", "script"),
        ("accept-encoding: gzip, deflate, br;q=1.0\r\n", "br"),
        ("accept-encoding: gzip, br;q=0\r\n", "gz"),
        ("accept-encoding: brotli\r\n", "script"),
    ] {
        let answer = rig.send("GET /assets/a-1.js", accepted);
        assert!(answer.ends_with(&format!("\r\n\r\n{body}")), "{answer}");
        assert!(answer.contains("immutable") && answer.contains("vary: accept-encoding"), "{answer}");
        assert_eq!(answer.contains("content-encoding"), body != "script", "{answer}");
        assert!(answer.contains("content-type: text/javascript"), "{answer}");
    }
    let known = "if-none-match: \"x\", W/\"73737373737373737373737373737373\"\r\n";
    let answer = rig.send("GET /assets/a-1.js", known);
    assert!(answer.starts_with("HTTP/1.1 304") && answer.ends_with("\r\n\r\n"), "{answer}");
    for page in ["/", "/accounts/alice", "/index.html"] {
        let answer = rig.send(&format!("GET {page}"), "");
        assert!(answer.ends_with("<html>") && answer.contains("no-cache"), "{answer}");
    }
    for none in ["/assets/a-1.js.br", "/favicon.ico", "/../Cargo.toml"] {
        assert!(rig.send(&format!("GET {none}"), "").starts_with("HTTP/1.1 404"), "{none}");
    }
}

#[test]
fn subscribers_are_told_and_bounded() {
    let rig = Rig::new(Limits { read_time: Duration::from_millis(100), ..Limits::new(64) }, None);
    let head = "GET /api/v1/events HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let until = |stream: &mut BufReader<TcpStream>, wanted: &str| {
        let mut line = String::new();
        while !line.contains(wanted) {
            line.clear();
            assert!(stream.read_line(&mut line).unwrap() > 0, "ended before {wanted}");
        }
    };
    let mut first = rig.open(head);
    until(&mut first, r#"data: "one\ntwo""#);
    assert!(rig.events.is_watched());
    assert!(rig.send("GET /api/v1/events", "").starts_with("HTTP/1.1 503"), "one too many");
    rig.events.publish(Event::new("tip", &7).unwrap());
    until(&mut first, "event: tip");
    until(&mut first, "data: 7");
    drop(first);
    // It is noticed with what is sent next.
    while rig.events.is_watched() {
        rig.events.publish(Event::new("tip", &8).unwrap());
        thread::yield_now();
    }
    // One that does not read is dropped; its place is free again.
    let stalled = rig.open(head);
    while !rig.events.is_watched() {
        thread::yield_now();
    }
    let large = Event::new("tip", &"x".repeat(1 << 16)).unwrap();
    while rig.events.is_watched() {
        rig.events.publish(large.clone());
        thread::yield_now();
    }
    drop(stalled);
    // The end of the server is theirs.
    let mut last = rig.open(head);
    until(&mut last, "one");
    drop(rig);
    let _ = last.read_to_end(&mut Vec::new());
}

#[test]
fn the_configuration_says_where_or_nowhere() {
    let parse = |text: &str| toml::from_str::<HttpConfig>(text).map_err(|error| error.to_string());
    assert_eq!(parse("").unwrap().operator, Some("127.0.0.1:34280".parse().unwrap()));
    assert_eq!(parse("operator = false").unwrap().operator, None);
    assert_eq!(parse("public = '[::]:80'").unwrap().public, Some("[::]:80".parse().unwrap()));
    for wrong in ["operator = true", "public = 'here'", "public = 80"] {
        assert!(parse(wrong).unwrap_err().contains("expected \"ADDRESS:PORT\" or false"), "{wrong}");
    }
    parse("").unwrap().check().unwrap();
    assert!(parse("public = '127.0.0.1:34280'").unwrap().check().unwrap_err().contains("http.public"));
    assert!(parse("connections = 0\nsubscribers = 0").unwrap().check().is_err());
    assert!(parse("connections = 5\nsubscribers = 6").unwrap().check().is_err());
}
