//! The source against nodes that do not exist: refusals, nonsense, silence.
//!
//! What a real node does is tested with a real node, in the integration tests.

use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::{
    testing::{answer, answer_with, transaction},
    *,
};
use crate::{Command, Event, SubmitOutcome, SubmitPath, Template, TemplateId};

/// What a made-up node says.
#[derive(Clone, Debug)]
enum Reply {
    Result(Value),
    Error(i64),
    /// Status and body.
    Http(u16, Vec<u8>),
    /// Takes the call and says nothing.
    Silence,
    /// Closes the connection.
    Nothing,
}

type Answers = dyn Fn(&Calls, &str, &Value) -> Reply + Send + Sync;

/// What the node was asked: method, first parameter, and the login.
#[derive(Debug, Default)]
struct Calls {
    all: Mutex<VecDeque<(String, Value, String)>>,
}

impl Calls {
    fn count(&self, wanted: impl Fn(&str, &Value) -> bool) -> usize {
        self.all.lock().unwrap().iter().filter(|(method, param, _)| wanted(method, param)).count()
    }
}

struct Fake {
    url: String,
    calls: Arc<Calls>,
    // Of the cookie.
    folder: TempDir,
}

impl Fake {
    async fn start(answers: impl Fn(&Calls, &str, &Value) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (calls, answers) = (Arc::new(Calls::default()), Arc::new(answers));
        let told = calls.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, told.clone(), answers.clone()));
            }
        });
        let fake = Self { url, calls, folder: tempfile::tempdir().unwrap() };
        fake.write_cookie("__cookie__:first");
        fake
    }

    fn cookie(&self) -> PathBuf {
        self.folder.path().join(".cookie")
    }

    fn write_cookie(&self, text: &str) {
        std::fs::write(self.cookie(), text).unwrap();
    }

    fn config(&self) -> BitcoinRpcConfig {
        let endpoint = Endpoint::parse(&self.url, 1).unwrap();
        let config = BitcoinRpcConfig::new(endpoint, Login::CookieFile(self.cookie()));
        BitcoinRpcConfig {
            expected_network: Some(Network::Regtest),
            fee_check_interval: Duration::from_millis(20),
            fee_threshold: 1,
            ..config
        }
    }

    fn subscribe(&self) -> Subscription {
        BitcoinRpc::new(self.config()).subscribe(CONSTRAINTS)
    }
}

const CONSTRAINTS: Constraints = Constraints { max_additional_size: 100, max_additional_sigops: 4 };

async fn serve(mut stream: TcpStream, calls: Arc<Calls>, answers: Arc<Answers>) {
    let mut request = Vec::new();
    let (head, body) = loop {
        let mut chunk = [0; 4096];
        let read = stream.read(&mut chunk).await.unwrap_or(0);
        if read == 0 {
            return;
        }
        request.extend_from_slice(&chunk[..read]);
        let Some(end) = request.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&request[..end]).to_lowercase();
        let length: usize = header(&head, "content-length").parse().unwrap();
        if request.len() >= end + 4 + length {
            break (String::from_utf8_lossy(&request[..end]).into_owned(), request.split_off(end + 4));
        }
    };
    let call: Value = serde_json::from_slice(&body).unwrap();
    let (method, param) = (call["method"].as_str().unwrap().to_owned(), call["params"][0].clone());
    calls.all.lock().unwrap().push_back((method.clone(), param.clone(), header(&head, "authorization").to_owned()));
    let (status, body) = match answers(&calls, &method, &param) {
        Reply::Result(result) => (200, json!({ "result": result, "error": null, "id": call["id"] }).to_string().into()),
        Reply::Error(code) => {
            let error = json!({ "code": code, "message": "made up" });
            (500, json!({ "result": null, "error": error, "id": call["id"] }).to_string().into())
        }
        Reply::Http(status, body) => (status, body),
        Reply::Silence => return std::future::pending().await,
        Reply::Nothing => return,
    };
    let head = format!("HTTP/1.1 {status} x\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    // The other side may have had enough.
    let _ = stream.write_all(&[head.as_bytes(), &body].concat()).await;
    let _ = stream.shutdown().await;
}

fn header<'a>(head: &'a str, name: &str) -> &'a str {
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    lines.into_iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value.trim())
}

fn is_long_poll(param: &Value) -> bool {
    param["longpollid"].is_string()
}

fn is_proposal(param: &Value) -> bool {
    param["mode"] == "proposal"
}

/// A sound node whose template never changes.
fn sound(method: &str, param: &Value) -> Reply {
    match method {
        "getblockchaininfo" => Reply::Result(json!({ "chain": "regtest" })),
        "getnetworkinfo" => Reply::Result(json!({ "subversion": "/Made-up:1.0/" })),
        "getblocktemplate" if is_proposal(param) => Reply::Result(Value::Null),
        "getblocktemplate" if is_long_poll(param) => Reply::Silence,
        "getblocktemplate" => Reply::Result(answer(2)),
        "submitblock" => Reply::Result(Value::Null),
        _ => Reply::Error(-32_601),
    }
}

async fn next(subscription: &mut Subscription) -> Event {
    tokio::time::timeout(Duration::from_secs(30), subscription.events.recv())
        .await
        .expect("an event")
        .expect("one more")
}

async fn until<T>(subscription: &mut Subscription, pick: impl Fn(&Event) -> Option<T>) -> T {
    loop {
        if let Some(found) = pick(&next(subscription).await) {
            return found;
        }
    }
}

async fn reason_of_down(subscription: &mut Subscription) -> String {
    until(subscription, |event| match event {
        Event::Down { reason, .. } => Some(reason.clone()),
        _ => None,
    })
    .await
}

/// The reason for which a node is refused that answers so.
async fn refusal(answers: impl Fn(&str, &Value) -> Reply + Send + Sync + 'static) -> String {
    let fake = Fake::start(move |_, method, param| answers(method, param)).await;
    let mut subscription = fake.subscribe();
    let Event::Down { reason, .. } = next(&mut subscription).await else {
        panic!("a node that can not be used came up")
    };
    reason
}

async fn first(subscription: &mut Subscription) -> Arc<Template> {
    until(subscription, |event| if let Event::Template(template) = event { Some(template.clone()) } else { None }).await
}

#[tokio::test]
async fn it_comes_up_in_the_order_that_is_promised() {
    let fake = Fake::start(|_, method, param| sound(method, param)).await;
    let mut subscription = fake.subscribe();
    let Event::Up { network, description } = next(&mut subscription).await else { panic!("first of all, Up") };
    assert_eq!(network, Some(Network::Regtest));
    assert!(description.contains("/Made-up:1.0/") && description.contains("regtest"), "{description}");
    let Event::Template(template) = next(&mut subscription).await else { panic!("then a template") };
    assert!(template.future && template.height == 101 && !template.merkle_path.is_empty());
    let Event::Tip(tip) = next(&mut subscription).await else { panic!("then its tip") };
    assert_eq!((tip.template_id, tip.nbits, tip.header_timestamp), (template.id, 0x207f_ffff, 1_800_000_000));
    let Event::Template(ahead) = next(&mut subscription).await else { panic!("then one for the height after") };
    assert!(ahead.future && ahead.height == 102 && ahead.merkle_path.is_empty());
    assert_eq!(ahead.coinbase.value_remaining, 5_000_000_000);
    // Transactions are there at once.
    subscription.commands.send(Command::RequestTransactions(template.id)).await.unwrap();
    let Event::Transactions { result: Ok(list), .. } = next(&mut subscription).await else { panic!("transactions") };
    assert_eq!(list.len(), 2);
    assert_eq!(fake.calls.count(|_, param| is_proposal(param)), 1, "it was asked what it thinks of our blocks");
}

#[tokio::test]
async fn a_new_tip_activates_what_was_sent_ahead() {
    let fake = Fake::start(|calls, method, param| match method {
        "getblocktemplate" if is_long_poll(param) && calls.count(|_, param| is_long_poll(param)) == 1 => {
            let mut next = answer(2);
            next["height"] = 102.into();
            next["previousblockhash"] = "1f".repeat(32).into();
            Reply::Result(next)
        }
        // The checks still see the tip before.
        _ => sound(method, param),
    })
    .await;
    let config = BitcoinRpcConfig { fee_check_interval: Duration::from_secs(3600), ..fake.config() };
    let mut subscription = BitcoinRpc::new(config).subscribe(CONSTRAINTS);
    let is_ahead = |event: &Event| match event {
        Event::Template(template) if template.height == 102 => Some(template.id),
        _ => None,
    };
    let ahead = until(&mut subscription, is_ahead).await;
    let Event::Tip(tip) = next(&mut subscription).await else { panic!("a tip needs no new template") };
    assert_eq!(tip.template_id, ahead);
    let Event::Template(full) = next(&mut subscription).await else { panic!("the full one follows") };
    assert!(!full.future && full.height == 102);
    let Event::Template(ahead) = next(&mut subscription).await else { panic!("and the one for the height after") };
    assert_eq!((ahead.future, ahead.height), (true, 103));
}

#[tokio::test]
async fn fees_make_a_template_and_an_older_tip_does_not() {
    let fake = Fake::start(|calls, method, param| match method {
        "getblocktemplate" if is_proposal(param) || is_long_poll(param) => sound(method, param),
        "getblocktemplate" => {
            match calls.count(|method, param| method == "getblocktemplate" && param["mode"].is_null()) {
                // The first, and the long poll that follows.
                0..=3 => Reply::Result(answer(2)),
                _ => Reply::Result(answer(3)),
            }
        }
        _ => sound(method, param),
    })
    .await;
    let mut subscription = fake.subscribe();
    let better = until(&mut subscription, |event| match event {
        Event::Template(template) if !template.future => Some(template.clone()),
        _ => None,
    })
    .await;
    assert_eq!(better.coinbase.value_remaining, 5_000_003_000);
}

#[tokio::test]
async fn a_new_cookie_is_read_and_a_wrong_one_is_told() {
    let logins: Arc<Mutex<String>> = Arc::new(Mutex::new("__cookie__:first".to_owned()));
    let accepted = logins.clone();
    let fake = Fake::start(move |calls, method, param| {
        use base64::{Engine, prelude::BASE64_STANDARD};
        let login = calls.all.lock().unwrap().back().unwrap().2.clone();
        let expected = format!("Basic {}", BASE64_STANDARD.encode(accepted.lock().unwrap().as_bytes()));
        if login == expected { sound(method, param) } else { Reply::Http(401, Vec::new()) }
    })
    .await;
    let mut subscription = fake.subscribe();
    let template = first(&mut subscription).await;
    // The node was started anew, and nothing of it is noticed but the cookie.
    *logins.lock().unwrap() = "__cookie__:second".to_owned();
    fake.write_cookie("__cookie__:second\n");
    let hash = bitcoin::hashes::Hash::all_zeros();
    subscription.commands.send(Command::SubmitBlock { hash, block: Arc::new(vec![1]) }).await.unwrap();
    let outcome = until(&mut subscription, |event| match event {
        Event::Submitted { path: SubmitPath::RawBlock, outcome, .. } => Some(outcome.clone()),
        _ => None,
    })
    .await;
    assert_eq!(outcome, SubmitOutcome::Accepted);
    subscription.commands.send(Command::RequestTransactions(template.id)).await.unwrap();
    let known = until(&mut subscription, |event| match event {
        Event::Transactions { result, .. } => Some(result.is_ok()),
        _ => None,
    });
    assert!(known.await, "the connection before goes on");
    *logins.lock().unwrap() = "__cookie__:third".to_owned();
    let reason = reason_of_down(&mut subscription).await;
    assert!(reason.contains("refuses the login") && !reason.contains("cookie__:"), "{reason}");
    fake.write_cookie("__cookie__:third");
    until(&mut subscription, |event| matches!(event, Event::Up { .. }).then_some(())).await;
}

#[tokio::test]
async fn a_node_that_can_not_be_used_is_refused_with_the_reason() {
    let chain = |name: &'static str| {
        move |method: &str, param: &Value| match method {
            "getblockchaininfo" => Reply::Result(json!({ "chain": name })),
            _ => sound(method, param),
        }
    };
    assert!(refusal(chain("main")).await.contains("expected a node on regtest, but this one is on main"));
    assert!(refusal(chain("\u{7}other")).await.contains("is on other"));
    let template = |reply: Reply| {
        move |method: &str, param: &Value| match method {
            "getblocktemplate" => reply.clone(),
            _ => sound(method, param),
        }
    };
    assert!(refusal(template(Reply::Error(-28))).await.contains("starting: made up"));
    assert!(refusal(template(Reply::Error(-10))).await.contains("syncing"));
    assert!(refusal(template(Reply::Error(-9))).await.contains("no connection to other nodes"));
    assert!(refusal(template(Reply::Error(-8))).await.contains("getblocktemplate: the node says -8"));
    assert!(refusal(template(Reply::Result(Value::Null))).await.contains("null"));
    assert!(refusal(template(Reply::Result(json!({ "height": 7 })))).await.contains("can not be used"));
    assert!(refusal(template(Reply::Http(403, vec![]))).await.contains("-rpcallowip"));
    assert!(refusal(template(Reply::Http(503, vec![]))).await.contains("-rpcworkqueue"));
    assert!(refusal(template(Reply::Http(200, b"<html>".to_vec()))).await.contains("not what it should be"));
    assert!(refusal(template(Reply::Http(404, b"<html>".to_vec()))).await.contains("404"));
    assert!(refusal(template(Reply::Nothing)).await.contains("getblocktemplate"));
    let large = |method: &str, param: &Value| match method {
        "getnetworkinfo" => Reply::Http(200, vec![b' '; (1 << 20) + 1]),
        _ => sound(method, param),
    };
    assert!(refusal(large).await.contains("over 1048576 bytes"));
    let refused = |method: &str, param: &Value| match method {
        "getblocktemplate" if is_proposal(param) => Reply::Result("bad-cb-amount".into()),
        _ => sound(method, param),
    };
    assert!(refusal(refused).await.contains("refuses a block of its own template: bad-cb-amount"));
}

#[tokio::test]
async fn nobody_there_is_told_and_tried_again() {
    let config = BitcoinRpcConfig::new(
        Endpoint::parse("http://127.0.0.1:1", 1).unwrap(),
        Login::Password { user: "a".into(), password: Secret::new("hunter2") },
    );
    let mut subscription = BitcoinRpc::new(config).subscribe(CONSTRAINTS);
    for _ in 0..2 {
        let reason = reason_of_down(&mut subscription).await;
        assert!(reason.contains("127.0.0.1:1") && !reason.contains("hunter2"), "{reason}");
    }
    let hash = bitcoin::hashes::Hash::all_zeros();
    subscription.commands.send(Command::SubmitBlock { hash, block: Arc::default() }).await.unwrap();
    let failed = until(&mut subscription, |event| match event {
        Event::Submitted { outcome, .. } => Some(matches!(outcome, SubmitOutcome::Failed(_))),
        _ => None,
    });
    assert!(failed.await);
}

#[tokio::test]
async fn proposals_can_be_left_out() {
    let fake = Fake::start(|_, method, param| match method {
        "getblocktemplate" if is_proposal(param) => Reply::Error(-1),
        _ => sound(method, param),
    })
    .await;
    let config = BitcoinRpcConfig { checks_proposals: false, ..fake.config() };
    let mut subscription = BitcoinRpc::new(config).subscribe(CONSTRAINTS);
    first(&mut subscription).await;
    assert_eq!(fake.calls.count(|_, param| is_proposal(param)), 0);
}

#[tokio::test]
async fn transactions_make_room_for_the_coinbase() {
    let fake = Fake::start(|_, method, param| match method {
        "getblocktemplate" if !is_proposal(param) && !is_long_poll(param) => {
            let mut full = answer_with((0..3).map(|number| transaction(number, &[])).collect());
            let used = full["transactions"][0]["weight"].as_u64().unwrap();
            // 2,000 are reserved for a coinbase of 100 bytes of outputs.
            full["weightlimit"] = (2_000 + 2 * used).into();
            Reply::Result(full)
        }
        _ => sound(method, param),
    })
    .await;
    let mut subscription = fake.subscribe();
    let template = first(&mut subscription).await;
    assert_eq!(template.coinbase.value_remaining, 5_000_002_000);
    subscription.commands.send(Command::RequestTransactions(template.id)).await.unwrap();
    let count = until(&mut subscription, |event| match event {
        Event::Transactions { result, .. } => Some(result.as_ref().unwrap().len()),
        _ => None,
    });
    assert_eq!(count.await, 2);
    // And more than there is can not be had.
    let wanted = Constraints { max_additional_size: 1_000_000, max_additional_sigops: 0 };
    subscription.commands.send(Command::SetConstraints(wanted)).await.unwrap();
    let reason = reason_of_down(&mut subscription).await;
    assert!(reason.contains("4001168"), "{reason}");
}

#[tokio::test]
async fn what_the_node_says_to_a_block_is_the_verdict() {
    let fake = Fake::start(|_, method, param| match (method, param.as_str()) {
        ("submitblock", Some("01")) => Reply::Result("duplicate".into()),
        ("submitblock", Some("02")) => Reply::Result("high-hash".into()),
        ("submitblock", Some("03")) => Reply::Error(-22),
        ("submitblock", Some("04")) => Reply::Error(-28),
        ("submitblock", Some("05")) => Reply::Nothing,
        ("submitblock", Some("06")) => Reply::Http(200, b"{}".to_vec()),
        _ => sound(method, param),
    })
    .await;
    let mut subscription = fake.subscribe();
    first(&mut subscription).await;
    let mut words = Vec::new();
    for byte in 0..=6 {
        let hash = bitcoin::hashes::Hash::from_byte_array([byte; 32]);
        subscription.commands.send(Command::SubmitBlock { hash, block: Arc::new(vec![byte]) }).await.unwrap();
        let word = until(&mut subscription, |event| match event {
            Event::Submitted { hash: got, outcome, .. } if *got == hash => Some(match outcome {
                SubmitOutcome::Accepted => "accepted",
                SubmitOutcome::Rejected(_) => "rejected",
                SubmitOutcome::Failed(_) => "failed",
                SubmitOutcome::Sent => "sent",
            }),
            _ => None,
        });
        words.push(word.await);
    }
    assert_eq!(words, ["accepted", "accepted", "rejected", "rejected", "failed", "failed", "failed"]);
    let too_long = Arc::new(vec![0; 4_000_001]);
    let hash = bitcoin::hashes::Hash::all_zeros();
    subscription.commands.send(Command::SubmitBlock { hash, block: too_long }).await.unwrap();
    let refused = until(&mut subscription, |event| match event {
        Event::Submitted { outcome, .. } => Some(matches!(outcome, SubmitOutcome::Rejected(_))),
        _ => None,
    });
    assert!(refused.await);
    subscription.commands.send(Command::RequestTransactions(TemplateId(999))).await.unwrap();
    let known = until(&mut subscription, |event| match event {
        Event::Transactions { result, .. } => Some(result.is_ok()),
        _ => None,
    });
    assert!(!known.await);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_knows_no_long_poll_is_not_asked_all_the_time() {
    let fake = Fake::start(|_, method, param| match method {
        "getblocktemplate" if is_long_poll(param) => Reply::Result(answer(2)),
        _ => sound(method, param),
    })
    .await;
    let config = BitcoinRpcConfig { fee_check_interval: Duration::from_secs(3600), ..fake.config() };
    let mut subscription = BitcoinRpc::new(config).subscribe(CONSTRAINTS);
    first(&mut subscription).await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    let asked = fake.calls.count(|_, param| is_long_poll(param));
    assert!(asked <= 21, "{asked} in 20 s");
}

#[tokio::test(start_paused = true)]
async fn a_long_poll_that_got_lost_is_asked_anew() {
    let fake = Fake::start(|calls, method, param| match method {
        "getblocktemplate" if !is_long_poll(param) && !is_proposal(param) => {
            let mut json = answer(2);
            // From the second question on there is a new tip, of which the long poll says nothing.
            if calls.count(|method, param| method == "getblocktemplate" && param["mode"].is_null()) > 2 {
                json["previousblockhash"] = "1f".repeat(32).into();
                json["longpollid"] = "second".into();
            }
            Reply::Result(json)
        }
        _ => sound(method, param),
    })
    .await;
    let config = BitcoinRpcConfig { fee_check_interval: Duration::from_secs(10), ..fake.config() };
    let mut subscription = BitcoinRpc::new(config).subscribe(CONSTRAINTS);
    let news = |event: &Event| match event {
        Event::Tip(tip) => (tip.prev_hash.to_string() == "1f".repeat(32)).then_some(()),
        _ => None,
    };
    until(&mut subscription, news).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(fake.calls.count(|_, param| is_long_poll(param)), 2);
    assert_eq!(fake.calls.count(|_, param| param["longpollid"] == "second"), 1);
}

#[tokio::test(start_paused = true)]
async fn silence_is_not_waited_for() {
    let fake = Fake::start(|_, method, param| match method {
        "getnetworkinfo" => Reply::Silence,
        _ => sound(method, param),
    })
    .await;
    let reason = reason_of_down(&mut fake.subscribe()).await;
    assert!(reason.contains("no answer in 10 s"), "{reason}");
}
