//! The pool as its operator and its miners see it over HTTP.

use std::{
    collections::BTreeSet,
    fs,
    io::Write,
    net::SocketAddr,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use integration::{
    http::{Answer, Subscription, get, objections, promtool, send, until},
    pool::{ChannelKind, TestMiner, TestPool},
    process::Site,
};
use serde_json::{Value, json};
use stratum_runtime::http::HttpConfig;
use template_source::{TemplateSource, config::SourceConfig};

fn devnet() -> Arc<dyn TemplateSource> {
    SourceConfig::Devnet { nbits: None }.build(bitcoin::Network::Regtest).unwrap()
}

fn any_port() -> Option<SocketAddr> {
    Some("127.0.0.1:0".parse().unwrap())
}

/// A pool with both views.
async fn shown(accounts: bool) -> TestPool {
    TestPool::start_with(vec![devnet()], |config| {
        let (operator, public) = (any_port(), any_port());
        config.http = HttpConfig { operator, public, public_accounts: accounts, ..HttpConfig::off() };
    })
    .await
}

/// Both views of a pool where alice has found blocks and had a share refused, and bob has only connected.
async fn with_history(pool: &mut TestPool) -> (TestMiner, TestMiner) {
    let bob = TestMiner::open(pool, ChannelKind::Standard, "bob.idle").await;
    let mut alice = TestMiner::open(pool, ChannelKind::Extended, "alice.rig").await;
    for _ in 0..2 {
        let hash = alice.mine_block().await;
        pool.until_accepted(Some(hash)).await;
        alice.until_tip(hash).await;
    }
    until(pool.operator(), "/api/v1/accounts/alice", |page| {
        page["shares"] == 2 && page["blocks"][1]["hash"].is_string()
    });
    (alice, bob)
}

/// The operations of a document: method, path, about.
fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let paths = document["paths"].as_object().unwrap();
    let each = |(path, methods): (&String, &Value)| {
        let methods = methods.as_object().unwrap().clone();
        let path = path.clone();
        methods.into_iter().map(move |(method, about)| (method.to_uppercase(), path.clone(), about)).collect::<Vec<_>>()
    };
    paths.iter().flat_map(each).collect()
}

fn check(document: &Value, about: &Value, request: &str, answer: &Answer) {
    let documented = &about["responses"][answer.status.to_string()];
    assert!(documented.is_object(), "{request}: {} is not documented: {}", answer.status, answer.body);
    let Some(schema) = documented["content"].as_object().and_then(|content| content.values().next()) else {
        assert_eq!(answer.body, "", "{request}");
        return;
    };
    assert_eq!(
        objections(document, &schema["schema"], &answer.json(), request),
        Vec::<String>::new(),
        "{}",
        answer.body
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_served_is_what_the_document_says() {
    let mut pool = shown(true).await;
    let _miners = with_history(&mut pool).await;
    let token = pool.authorization();
    let mut served = Vec::new();
    for (address, is_operator) in [(pool.public(), false), (pool.operator(), true)] {
        let document = get(address, "/openapi.json");
        let mut paths = BTreeSet::new();
        let mut last = Vec::new();
        for (method, path, about) in operations(&document) {
            paths.insert(path.clone());
            if path.ends_with("/drain") {
                last.push((method, path, about));
                continue;
            }
            for filled in examples(&path) {
                let request = format!("{method} {filled}");
                if filled.ends_with("/events") {
                    Subscription::open(address).until("pool", |pool| {
                        let schema = json!({ "$ref": "#/components/schemas/Pool" });
                        assert_eq!(objections(&document, &schema, pool, "event"), Vec::<String>::new());
                        true
                    });
                    continue;
                }
                if method != "GET" {
                    assert!(about["security"].is_array(), "{request} is documented to need the token");
                    let refused = send(address, &method, &filled, "");
                    assert_eq!(refused.status, 401, "{request}");
                    check(&document, &about, &request, &refused);
                }
                let answer = send(address, &method, &filled, if method == "GET" { "" } else { &token });
                check(&document, &about, &request, &answer);
                let bad = filled.contains("nobody") || filled.contains("limit=0") || filled.contains("from=0");
                let expected = if method == "GET" && !bad { answer.status == 200 } else { answer.status != 401 };
                assert!(expected, "{request}: {} {}", answer.status, answer.body);
            }
        }
        assert_eq!(last.len(), usize::from(is_operator));
        served.push(paths);
    }
    let (public, operator) = (&served[0], &served[1]);
    assert!(public.is_subset(operator));
    // What only the operator has is not there for others, documented or not.
    for path in operator.difference(public).map(String::as_str).chain(["/metrics"]) {
        for filled in examples(path) {
            for method in ["GET", "POST", "DELETE"] {
                let answer = send(pool.public(), method, &filled, &token);
                assert!(matches!(answer.status, 404 | 405), "{method} {filled}: {} {}", answer.status, answer.body);
            }
        }
    }
    for wanted in ["pool", "history", "accounts", "blocks", "template", "events", "accounts/{account}"] {
        assert!(public.contains(&format!("/api/v1/{wanted}")), "{wanted}");
    }
    let operators = ["nodes", "connections", "operator/reload", "operator/drain", "operator/bans/{address}"];
    for wanted in operators.into_iter().chain(["operator/connections/{id}/close"]) {
        assert!(!public.contains(&format!("/api/v1/{wanted}")), "{wanted}");
        assert!(operator.contains(&format!("/api/v1/{wanted}")), "{wanted}");
    }
    // It ends what it is to end.
    let drained = send(pool.operator(), "POST", "/api/v1/operator/drain", &token);
    assert_eq!(drained.status, 202);
    pool.stop().await;
}

/// Requests of a path: good ones, and those that fail.
fn examples(path: &str) -> Vec<String> {
    let mut filled = match path {
        "/api/v1/accounts/{account}" => ["alice", "bob", "nobody"].map(|name| path.replace("{account}", name)).to_vec(),
        "/api/v1/history" => [
            "",
            "?subject=pool&period=minute",
            "?subject=account&account=alice&period=hour",
            "?subject=worker&account=alice&worker=rig&period=day",
            "?subject=worker&account=alice&worker=nobody",
            "?subject=account&account=nobody",
            "?period=minute&from=0",
        ]
        .map(|query| format!("{path}{query}"))
        .to_vec(),
        _ => vec![path.replace("{address}", "192.0.2.1").replace("{id}", "18446744073709551615")],
    };
    if ["/api/v1/accounts", "/api/v1/blocks", "/api/v1/connections"].contains(&path) {
        filled.extend(["?limit=500&offset=1", "?limit=0", "?search=LI"].map(|query| format!("{path}{query}")));
    }
    filled
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happened_is_shown() {
    let mut pool = shown(false).await;
    let mut watching = Subscription::open(pool.operator());
    let (mut alice, bob) = with_history(&mut pool).await;
    let operator = pool.operator();
    for event in ["block", "tip"] {
        watching.until(event, |data| data["height"].as_u64().is_some_and(|height| height > 0));
    }
    let state = until(operator, "/api/v1/pool", |pool| pool["shares"]["accepted"] == 2);
    assert_eq!(
        (&state["connections"], &state["workers_active"], &state["view"]),
        (&json!(2), &json!(2), &json!("operator"))
    );
    assert_eq!((&state["best"]["account"], &state["blocks"]["found"]), (&json!("alice"), &json!(2)));
    assert_eq!((&state["devnet"], &state["ledger"]["ok"]), (&json!(true), &json!(true)));
    let rate = until(operator, "/api/v1/pool", |pool| pool["hashrate"]["m1"].as_f64().unwrap() > 0.0);
    assert!(rate["hashrate"]["h24"].as_f64().unwrap() > 0.0, "{rate}");
    let page = get(operator, "/api/v1/accounts/alice");
    let worker = &page["workers"][0];
    assert_eq!(
        (&worker["worker"], &worker["online"], &worker["protocol"]),
        (&json!("rig"), &json!(true), &json!("v2"))
    );
    assert_eq!(page["blocks"][0]["finder"], json!({ "account": "alice", "worker": "rig" }));
    assert_eq!(get(operator, "/api/v1/accounts/bob")["workers"][0]["worker"], "idle", "seen before its first share");
    let template = get(operator, "/api/v1/template");
    assert_eq!(
        (&template["prev_hash"], &template["height"]),
        (&state["tip"]["prev_hash"], &json!(state["tip"]["height"].as_u64().unwrap() + 1))
    );
    let paid: u64 = template["coinbase_outputs"].as_array().unwrap().iter().map(|o| o["sats"].as_u64().unwrap()).sum();
    assert_eq!(template["value_sats"], paid);
    let nodes = get(operator, "/api/v1/nodes");
    assert_eq!(
        (&nodes[0]["state"], &nodes[0]["active"], &nodes[0]["height"]),
        (&json!("up"), &json!(true), &state["tip"]["height"])
    );
    let points = get(operator, "/api/v1/history?subject=account&account=alice&period=minute")["points"].clone();
    let shares: u64 = points.as_array().unwrap().iter().map(|point| point["shares"].as_u64().unwrap()).sum();
    assert_eq!(shares, 2);
    // The public view does not say who or where anybody is.
    let public = pool.public();
    let state = get(public, "/api/v1/pool");
    assert_eq!((&state["best"]["account"], &state["view"]), (&Value::Null, &json!("public")));
    assert_eq!(state["lists_accounts"], json!(false));
    for block in get(public, "/api/v1/blocks")["items"].as_array().unwrap() {
        assert_eq!(block["finder"], Value::Null);
        assert!(
            block["life"].as_array().unwrap().iter().all(|step| step["node"].is_null() && step["detail"].is_null())
        );
    }
    for path in ["pool", "blocks", "template", "accounts/alice", "history"] {
        let text = get(public, &format!("/api/v1/{path}")).to_string();
        let text = text.replace(&pool.address(), "").replace(&pool.plain_address(), "");
        assert!(!text.contains("127.0.0.1") && !text.contains("bob"), "{path}: {text}");
    }
    assert_eq!(send(public, "GET", "/api/v1/accounts", "").status, 404, "not unless the operator says so");
    // Bob goes.
    drop(bob);
    let gone = watching.until("worker", |worker| worker["online"] == false);
    assert_eq!((&gone["account"], &gone["worker"]), (&json!("bob"), &json!("idle")));
    // The operator sends alice away.
    let connections = get(operator, "/api/v1/connections?search=ALICE");
    assert_eq!(connections["total"], 1);
    let close = format!("/api/v1/operator/connections/{}/close", connections["items"][0]["id"]);
    assert_eq!(send(operator, "POST", &close, &pool.authorization()).status, 202);
    while alice.try_step().await.is_ok() {}
    until(operator, "/api/v1/connections", |connections| connections["total"] == 0);
    let metrics = send(operator, "GET", "/metrics", "").body;
    check_metrics(&metrics);
    for line in
        ["stratum_pool_shares_accepted_total 2", "stratum_pool_blocks_found_total 2", "stratum_pool_ledger_up 1"]
    {
        assert!(metrics.lines().any(|one| one == line), "{line}: {metrics}");
    }
}

/// As Prometheus wants them, and all that alerts and dashboards ask for.
fn check_metrics(metrics: &str) {
    let mut promtool = Command::new(promtool())
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("promtool");
    promtool.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let verdict = promtool.wait_with_output().unwrap();
    assert!(verdict.status.success(), "{}", String::from_utf8_lossy(&verdict.stderr));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/operate/monitoring");
    let mut asked = BTreeSet::new();
    for file in ["stratum-pool.rules.yml", "stratum-pool.grafana.json", "README.md"] {
        let text = fs::read_to_string(folder.join(file)).unwrap();
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let names = words.filter(|word| {
            ["stratum_pool_", "process_"].iter().any(|prefix| word.len() > prefix.len() && word.starts_with(prefix))
        });
        asked.extend(names.map(str::to_owned));
    }
    assert!(asked.len() > 15, "{asked:?}");
    for name in asked {
        assert!(metrics.contains(&format!("# TYPE {name} ")), "{name} is not there: {metrics}");
    }
}

/// Markers as secrets: in nothing that is served or logged.
#[test]
fn secrets_stay_where_they_are() {
    const PASSWORD: &str = "hunter2-rpc-password";
    const URL_PASSWORD: &str = "hunter2-in-the-url";
    let site = Site::new("[http]\noperator = '127.0.0.1:0'\npublic = '127.0.0.1:0'\npublic_accounts = true");
    let node = format!("kind = 'bitcoin-rpc', url = 'http://127.0.0.1:1', user = 'me', password = '{PASSWORD}'");
    let text = fs::read_to_string(site.config()).unwrap();
    fs::write(site.config(), text.replace("source = [", &format!("source = [{{ {node} }}, "))).unwrap();
    let mut pool = site.start(Path::new(env!("CARGO_BIN_EXE_test-pool")), &[]);
    let address = |pool: &integration::process::PoolProcess, view: &str| -> SocketAddr {
        let line = pool.said.iter().find(|line| line.contains("dashboard and API at") && line.contains(view)).unwrap();
        line.split_once("at http://").unwrap().1.split('"').next().unwrap().parse().unwrap()
    };
    pool.until("\"public\"");
    let (operator, public) = (address(&pool, "\"operator\""), address(&pool, "\"public\""));
    pool.until("template source down");
    let token = fs::read_to_string(site.data_dir().join("http.token")).unwrap().trim().to_owned();
    let key = fs::read_to_string(site.config().with_file_name("authority.key")).unwrap().trim().to_owned();
    let mut seen = String::new();
    for (address, has_all) in [(operator, true), (public, false)] {
        let document = get(address, "/openapi.json");
        for (method, path, _) in operations(&document) {
            if path.ends_with("/events") || path.ends_with("/drain") {
                continue;
            }
            for filled in examples(&path) {
                for headers in
                    [format!("authorization: Bearer {token}\r\n"), "authorization: Bearer wrong\r\n".to_owned()]
                {
                    let answer = send(address, &method, &filled, &headers);
                    seen.push_str(&answer.head);
                    seen.push_str(&answer.body);
                }
            }
        }
        for path in ["/", "/docs", "/docs/docs.js", "/metrics", "/healthz", "/readyz", "/openapi.json", "/none"] {
            let answer = send(address, "GET", path, "");
            assert!(has_all || path != "/metrics" || answer.status == 404);
            seen.push_str(&answer.head);
            seen.push_str(&answer.body);
        }
    }
    // A reload of what can not be read quotes nothing either.
    let text = fs::read_to_string(site.config()).unwrap();
    let wrong = text.replace("url = 'http://127.0.0.1:1'", &format!("url = 'http://me:{URL_PASSWORD}@127.0.0.1:1'"));
    fs::write(site.config(), wrong.replace("shards = 2", "shards = 'two'")).unwrap();
    let reload = send(operator, "POST", "/api/v1/operator/reload", &format!("authorization: Bearer {token}\r\n"));
    assert_eq!(reload.status, 409, "{}", reload.body);
    fs::write(site.config(), &wrong).unwrap();
    let again = send(operator, "POST", "/api/v1/operator/reload", &format!("authorization: Bearer {token}\r\n"));
    seen.push_str(&reload.body);
    seen.push_str(&again.body);
    pool.terminate();
    assert!(pool.wait().success());
    seen.push_str(&pool.said.join("\n"));
    assert!(seen.contains("stratum_pool_node_up") && seen.contains("bitcoin-rpc"), "something was seen");
    for secret in [PASSWORD, URL_PASSWORD, &token, &key] {
        let place = seen.find(secret).map(|at| &seen[at.saturating_sub(200)..at]);
        assert_eq!(place, None, "a secret was seen behind this");
    }
}
