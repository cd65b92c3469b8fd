//! Notifications at real receivers: HTTP servers that refuse, hang and redirect, over TLS too, and programs.

use std::{
    fs,
    io::{self, Write},
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    header::{HeaderMap, LOCATION},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value};
use stratum_notify::{
    Kind, Notifier, NotifyConfig, Origin,
    config::{CommandConfig, SecretUrl, WebhookConfig},
    secret::SigningKey,
    try_all,
};
use stratum_runtime::core::Clock;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::mpsc,
};

/// Each test fails rather than hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a receiver got.
struct Received {
    path: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Received {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn text(&self) -> String {
        self.json()["text"].as_str().unwrap().to_owned()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap().to_str().unwrap()
    }
}

/// What a receiver answers to its n-th request: a status, or nothing for ever.
type Script = fn(usize) -> Option<u16>;

struct Server {
    address: SocketAddr,
    received: mpsc::UnboundedReceiver<Received>,
}

impl Server {
    async fn start(script: Script) -> Self {
        Self::with_tls(script, None).await
    }

    async fn with_tls(script: Script, tls: Option<tokio_rustls::TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, received) = mpsc::unbounded_channel();
        let count = Arc::new(AtomicUsize::new(0));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (sender, count, tls) = (sender.clone(), count.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, script, sender, count).await,
                        // A client that does not trust us goes.
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, script, sender, count).await;
                            }
                        }
                    }
                });
            }
        });
        Self { address, received }
    }

    async fn next(&mut self) -> Received {
        tokio::time::timeout(PATIENCE, self.received.recv()).await.expect("a request comes").unwrap()
    }

    fn webhook(&self, path: &str) -> WebhookConfig {
        webhook(&format!("http://{}{path}", self.address))
    }
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    script: Script,
    sender: mpsc::UnboundedSender<Received>,
    count: Arc<AtomicUsize>,
) {
    let answer = |request: Request<Incoming>| {
        let (sender, count) = (sender.clone(), count.clone());
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await?.to_bytes();
            let received = Received { path: parts.uri.to_string(), headers: parts.headers, body };
            // Nobody may be looking any more.
            let _ = sender.send(received);
            match script(count.fetch_add(1, Ordering::SeqCst)) {
                Some(status) => Ok::<_, hyper::Error>(
                    Response::builder()
                        .status(status)
                        .header(LOCATION, "/elsewhere")
                        .body(Full::new(Bytes::new()))
                        .unwrap(),
                ),
                None => std::future::pending().await,
            }
        }
    };
    // The client closes as it likes.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)).await;
}

fn webhook(url: &str) -> WebhookConfig {
    WebhookConfig {
        url: SecretUrl::new(url),
        secret_file: None,
        ca_file: None,
        events: Vec::new(),
        timeout_seconds: 20,
    }
}

fn shell(script: &str) -> CommandConfig {
    CommandConfig {
        program: "/bin/sh".into(),
        args: vec!["-c".into(), script.into()],
        events: Vec::new(),
        timeout_seconds: 20,
    }
}

fn origin() -> Origin {
    Origin { pool: "a pool".into(), network: "regtest".into() }
}

fn start(webhook: Vec<WebhookConfig>, command: Vec<CommandConfig>) -> Notifier {
    let config = NotifyConfig { webhook, command, ..NotifyConfig::default() };
    Notifier::start(&config, &origin(), Clock::start()).unwrap()
}

fn tell(notifier: &Notifier, event: Kind, text: &str) {
    notifier.notify(event, text.to_owned(), Map::from_iter([("height".to_owned(), 7.into())]));
}

fn secret_file(folder: &Path, text: &str) -> PathBuf {
    let path = folder.join("secret");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

#[tokio::test]
async fn what_a_receiver_gets() {
    let mut server = Server::start(|_| Some(204)).await;
    let notifier = start(vec![server.webhook("/hook?token=1")], vec![]);
    tell(&notifier, Kind::BlockFound, "found");
    let received = server.next().await;
    assert_eq!(received.path, "/hook?token=1");
    assert_eq!(received.header("content-type"), "application/json");
    assert_eq!(received.header("host"), server.address.to_string());
    assert!(received.headers.get("webhook-signature").is_none(), "without a secret, no signature");
    let json = received.json();
    assert_eq!(json["event"], "block.found");
    assert_eq!((&json["pool"], &json["network"]), (&"a pool".into(), &"regtest".into()));
    assert_eq!((&json["data"]["height"], &json["dropped"]), (&7.into(), &0.into()));
    assert_eq!(json["id"], received.header("webhook-id"));
    assert_eq!(json["id"].as_str().unwrap().len(), 32);
    assert!(json["time"].as_u64().unwrap() > 1_600_000_000_000, "milliseconds");
    notifier.finish().await;
}

#[tokio::test]
async fn what_is_refused_comes_again_in_order_with_the_same_id() {
    let mut server = Server::start(|n| Some([500, 302, 200][n.min(2)])).await;
    let notifier = start(vec![server.webhook("/")], vec![]);
    tell(&notifier, Kind::BlockFound, "first");
    tell(&notifier, Kind::NodeLost, "second");
    let tries = [server.next().await, server.next().await, server.next().await];
    assert!(tries.iter().all(|received| received.text() == "first"), "nothing overtakes it");
    assert!(tries.iter().all(|received| received.path == "/"), "redirections are not followed");
    assert!(tries.iter().all(|received| received.header("webhook-id") == tries[0].header("webhook-id")));
    let attempts: Vec<_> = tries.iter().map(|received| received.header("webhook-attempt")).collect();
    assert_eq!(attempts, ["1", "2", "3"]);
    let next = server.next().await;
    assert_eq!((next.text().as_str(), next.header("webhook-attempt")), ("second", "1"));
    assert_ne!(next.header("webhook-id"), tries[0].header("webhook-id"));
    notifier.finish().await;
}

#[tokio::test]
async fn a_receiver_that_hangs_holds_up_nobody_and_is_tried_again() {
    let mut hanging = Server::start(|n| (n > 0).then_some(200)).await;
    let mut prompt = Server::start(|_| Some(200)).await;
    let mut first = hanging.webhook("/");
    first.timeout_seconds = 1;
    let notifier = start(vec![first, prompt.webhook("/")], vec![]);
    for n in 0..5 {
        tell(&notifier, Kind::BlockFound, &n.to_string());
    }
    assert_eq!(hanging.next().await.text(), "0");
    for n in 0..5 {
        assert_eq!(prompt.next().await.text(), n.to_string());
    }
    for n in 0..5 {
        assert_eq!(hanging.next().await.text(), n.to_string(), "after the time-out all of them, in order");
    }
    notifier.finish().await;
}

#[tokio::test]
async fn the_end_does_not_wait_for_a_receiver_that_hangs_for_long() {
    let mut server = Server::start(|_| None).await;
    let folder = tempfile::tempdir().unwrap();
    let notifier = start(vec![server.webhook("/")], vec![]);
    notifier.keep_in(folder.path().to_owned()).await;
    tell(&notifier, Kind::BlockFound, "kept");
    tell(&notifier, Kind::NodeLost, "not kept");
    server.next().await;
    tokio::time::timeout(PATIENCE, notifier.finish()).await.unwrap();

    // The next process is told of no pool that hangs, but the receiver has to be the same.
    let other = start(vec![server.webhook("/other")], vec![]);
    other.keep_in(folder.path().to_owned()).await;
    other.finish().await;
    let next = start(vec![server.webhook("/")], vec![]);
    next.keep_in(folder.path().to_owned()).await;
    let again = server.next().await;
    assert_eq!((again.path.as_str(), again.text().as_str()), ("/", "kept"));
    tokio::time::timeout(PATIENCE, next.finish()).await.unwrap();
}

#[tokio::test]
async fn what_is_delivered_is_kept_no_longer() {
    let mut server = Server::start(|_| Some(200)).await;
    let folder = tempfile::tempdir().unwrap();
    let notifier = start(vec![server.webhook("/")], vec![]);
    notifier.keep_in(folder.path().to_owned()).await;
    tell(&notifier, Kind::BlockFound, "block");
    server.next().await;
    notifier.finish().await;
    let kept = fs::read_dir(folder.path().join(stratum_notify::spool::FOLDER)).unwrap();
    assert_eq!(kept.count(), 0);
}

#[tokio::test]
async fn receivers_get_what_they_want() {
    let mut server = Server::start(|_| Some(200)).await;
    let mut blocks = server.webhook("/blocks");
    blocks.events = vec!["block".to_owned().try_into().unwrap()];
    let mut nodes = server.webhook("/nodes");
    nodes.events = vec!["node.back".to_owned().try_into().unwrap()];
    let notifier = start(vec![blocks, nodes], vec![]);
    for event in [Kind::NodeLost, Kind::BlockLost, Kind::NodeBack, Kind::WorkerOffline] {
        tell(&notifier, event, event.name());
    }
    notifier.finish().await;
    let mut got = [server.next().await, server.next().await].map(|received| (received.path.clone(), received.text()));
    got.sort();
    assert_eq!(got, [("/blocks".into(), "block.lost".into()), ("/nodes".into(), "node.back".into())]);
    assert!(server.received.try_recv().is_err());
}

#[tokio::test]
async fn requests_are_signed() {
    let folder = tempfile::tempdir().unwrap();
    let secret = secret_file(folder.path(), "whsec_Y29ycmVjdCBob3JzZSBiYXR0ZXJ5IHN0YXBsZQ==");
    let mut server = Server::start(|_| Some(200)).await;
    let mut signed = server.webhook("/");
    signed.secret_file = Some(secret.clone());
    let notifier = start(vec![signed], vec![]);
    tell(&notifier, Kind::BlockFound, "found");
    let received = server.next().await;
    let seconds: u64 = received.header("webhook-timestamp").parse().unwrap();
    let expected = SigningKey::load(&secret).unwrap().sign(
        received.header("webhook-id"),
        Duration::from_secs(seconds),
        &received.body,
    );
    assert_eq!(received.header("webhook-signature"), expected);
    assert!(seconds * 1_000 <= received.json()["time"].as_u64().unwrap() + 1_000);
    notifier.finish().await;
}

#[tokio::test]
async fn https_needs_a_certificate_that_is_trusted() {
    let folder = tempfile::tempdir().unwrap();
    let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let ca_file = folder.path().join("ca.pem");
    fs::write(&ca_file, certified.cert.pem()).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)
        .unwrap();
    let mut server = Server::with_tls(|_| Some(200), Some(Arc::new(tls).into())).await;
    let url = |host: &str| format!("https://{host}:{}/x", server.address.port());
    let trusting = |url: &str| WebhookConfig { ca_file: Some(ca_file.clone()), ..webhook(url) };
    let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let other_file = folder.path().join("other.pem");
    fs::write(&other_file, other.cert.pem()).unwrap();
    let distrusting = WebhookConfig { ca_file: Some(other_file), ..webhook(&url("localhost")) };
    let config = NotifyConfig {
        webhook: vec![trusting(&url("localhost")), distrusting, trusting(&url("127.0.0.1"))],
        ..NotifyConfig::default()
    };
    let tried = try_all(&config, &origin(), Clock::start()).await.unwrap();
    let failures: Vec<_> = tried.iter().map(|tried| tried.failure.as_deref()).collect();
    assert_eq!(failures[0], None);
    assert!(failures[1].unwrap().starts_with("TLS: "), "{failures:?}");
    assert!(failures[2].unwrap().starts_with("TLS: "), "the name counts: {failures:?}");
    assert_eq!(server.next().await.json()["event"], "test");
    assert!(server.received.try_recv().is_err(), "nobody else got that far");

    fs::write(&ca_file, "no certificate").unwrap();
    let error = try_all(&config, &origin(), Clock::start()).await.unwrap_err();
    assert!(error.starts_with("notify.webhook.ca_file") && error.contains("PEM"), "{error}");
}

#[tokio::test]
async fn a_program_gets_json_and_variables_and_nothing_of_ours() {
    let folder = tempfile::tempdir().unwrap();
    let (body, variables) = (folder.path().join("body"), folder.path().join("variables"));
    let script = format!("cat > {}; env > {}", body.display(), variables.display());
    let notifier = start(vec![], vec![shell(&script)]);
    // Names of peers may look like anything.
    tell(&notifier, Kind::BlockFound, "$(touch /tmp/x) \"; rm -rf /; `id`");
    notifier.finish().await;
    let json: Value = serde_json::from_slice(&fs::read(body).unwrap()).unwrap();
    assert_eq!((&json["event"], &json["data"]["height"]), (&"block.found".into(), &7.into()));
    let variables = fs::read_to_string(variables).unwrap();
    assert!(variables.contains("STRATUM_TEXT=$(touch /tmp/x) \"; rm -rf /; `id`\n"), "{variables}");
    assert!(variables.contains("STRATUM_EVENT=block.found\n") && variables.contains("STRATUM_HEIGHT=7\n"));
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some() && !variables.contains("CARGO"), "{variables}");
}

#[tokio::test]
async fn a_program_that_fails_is_run_again_and_one_that_hangs_is_killed_with_its_children() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    // The second time there is a file.
    let failing =
        format!("[ -e {0} ] && echo >> {1}; [ -e {0} ] || {{ touch {0}; exit 3; }}", path("once"), path("done"));
    // Its child would keep the FIFO open.
    let made = std::process::Command::new("mkfifo").arg(path("fifo")).status().unwrap();
    assert!(made.success());
    let mut hanging = shell(&format!("exec 3> {}; sleep 1000 & wait", path("fifo")));
    hanging.timeout_seconds = 1;
    let config = NotifyConfig { command: vec![hanging.clone(), shell("exit 3")], ..NotifyConfig::default() };
    let fifo = path("fifo");
    // Ends when nobody has the FIFO open any more.
    let closed = tokio::task::spawn_blocking(move || fs::read(fifo).unwrap());
    let tried = try_all(&config, &origin(), Clock::start()).await.unwrap();
    assert_eq!(tried[0].failure.as_deref(), Some("killed after 1 s"));
    assert!(tried[1].failure.as_deref().unwrap().contains('3'), "{tried:?}");
    tokio::time::timeout(PATIENCE, closed).await.expect("its child is killed, too").unwrap();

    let mut server = Server::start(|_| Some(200)).await;
    let notifier = start(vec![server.webhook("/")], vec![shell(&failing)]);
    tell(&notifier, Kind::BlockFound, "found");
    server.next().await;
    let done = path("done");
    tokio::time::timeout(PATIENCE, async {
        while fs::metadata(&done).is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("it is run again");
    notifier.finish().await;
}

#[tokio::test]
async fn a_program_that_does_not_exist_says_so() {
    let missing = CommandConfig { program: "/missing/program".into(), ..shell("") };
    let config = NotifyConfig { command: vec![missing], ..NotifyConfig::default() };
    let tried = try_all(&config, &origin(), Clock::start()).await.unwrap();
    assert_eq!(tried[0].receiver, "command /missing/program");
    assert!(tried[0].failure.as_deref().unwrap().contains("can not be run"), "{tried:?}");
}

/// Everything that is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One test thread: the log of this thread is that of all tasks.
#[tokio::test]
async fn no_secret_is_logged() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(|n| Some(if n == 0 { 500 } else { 200 })).await;
    let mut refused = server.webhook("/hook/hunter2-token?key=hunter2-key");
    refused.secret_file = Some(secret_file(folder.path(), "hunter2-secret-hunter2-secret"));
    let mut failing = shell("exit 1");
    failing.args.push("hunter2-argument".into());
    let notifier = start(vec![refused], vec![failing]);
    tell(&notifier, Kind::BlockFound, "found");
    server.next().await;
    assert_eq!(server.next().await.header("webhook-attempt"), "2");
    notifier.finish().await;
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("the status 500") && log.contains(&format!("http://{}", server.address)), "{log}");
    assert!(log.contains("command /bin/sh"), "{log}");
    assert!(!log.contains("hunter2"), "{log}");
}
