//! Whatever arrives, nothing panics; what is written is read again as it was.

use proptest::prelude::*;
use stratum_v1::{
    envelope::{Envelope, Request},
    id::Id,
    line::LineDecoder,
    miner::{Authorize, Configure, Info, MinerRequest, Submit, Subscribe, VersionRolling},
    pool::{Notify, PoolRequest, Reconnect, SetExtranonce},
    session::{client, server},
};

fn text(max: usize) -> impl Strategy<Value = String> {
    proptest::collection::vec(any::<char>(), 0..max / 4).prop_map(|chars| chars.into_iter().collect())
}

fn difficulty() -> impl Strategy<Value = f64> {
    prop_oneof![
        (1u64..1 << 60).prop_map(|whole| whole as f64),
        any::<f64>()
            .prop_map(f64::abs)
            .prop_filter("over zero", |difficulty| difficulty.is_finite() && *difficulty > 0.0),
    ]
}

fn submit() -> impl Strategy<Value = Submit> {
    let extranonce2 = proptest::collection::vec(any::<u8>(), 0..=32);
    (text(255), text(64), extranonce2, any::<u32>(), any::<u32>(), any::<Option<u32>>()).prop_map(
        |(username, job_id, extranonce2, ntime, nonce, version_bits)| Submit {
            username,
            job_id,
            extranonce2,
            ntime,
            nonce,
            version_bits,
        },
    )
}

fn configure() -> impl Strategy<Value = Configure> {
    let rolling = (any::<u32>(), any::<u32>()).prop_map(|(mask, min_bit_count)| VersionRolling { mask, min_bit_count });
    let info = proptest::option::of(text(255)).prop_map(|hw_id| Info { hw_id, ..Info::default() });
    (proptest::option::of(rolling), proptest::option::of(difficulty()), any::<bool>(), proptest::option::of(info))
        .prop_map(|(version_rolling, minimum_difficulty, subscribe_extranonce, info)| Configure {
            version_rolling,
            minimum_difficulty,
            subscribe_extranonce,
            info,
            unknown: vec!["another".into()],
        })
}

fn miner_request() -> impl Strategy<Value = MinerRequest> {
    prop_oneof![
        configure().prop_map(MinerRequest::Configure),
        (text(255), proptest::option::of(text(255)))
            .prop_map(|(user_agent, session_id)| MinerRequest::Subscribe(Subscribe { user_agent, session_id })),
        (text(255), text(255))
            .prop_map(|(name, password)| MinerRequest::Authorize(Authorize { username: format!("u{name}"), password })),
        difficulty().prop_map(MinerRequest::SuggestDifficulty),
        any::<[u8; 32]>().prop_map(MinerRequest::SuggestTarget),
        submit().prop_map(MinerRequest::Submit),
        Just(MinerRequest::ExtranonceSubscribe),
        Just(MinerRequest::MultiVersion),
        Just(MinerRequest::Ping),
        Just(MinerRequest::Pong),
    ]
}

fn notify() -> impl Strategy<Value = Notify> {
    let bytes = || proptest::collection::vec(any::<u8>(), 0..200);
    let branch = proptest::collection::vec(any::<[u8; 32]>(), 0..=32);
    let numbers = (any::<u32>(), any::<u32>(), any::<u32>(), any::<bool>());
    (text(64), any::<[u8; 32]>(), bytes(), bytes(), branch, numbers).prop_map(
        |(job_id, prev_hash, coinbase1, coinbase2, merkle_branch, (version, nbits, ntime, clean_jobs))| Notify {
            job_id,
            prev_hash,
            coinbase1,
            coinbase2,
            merkle_branch,
            version,
            nbits,
            ntime,
            clean_jobs,
        },
    )
}

fn pool_request() -> impl Strategy<Value = PoolRequest> {
    let extranonce1 = proptest::collection::vec(any::<u8>(), 0..=32);
    let host = proptest::option::of("[a-z.]{1,50}");
    prop_oneof![
        notify().prop_map(PoolRequest::Notify),
        difficulty().prop_map(PoolRequest::SetDifficulty),
        (extranonce1, 0usize..=32).prop_map(|(extranonce1, extranonce2_size)| {
            PoolRequest::SetExtranonce(SetExtranonce { extranonce1, extranonce2_size })
        }),
        any::<u32>().prop_map(PoolRequest::SetVersionMask),
        (host, proptest::option::of(1u16..), any::<u32>())
            .prop_map(|(host, port, wait)| PoolRequest::Reconnect(Reconnect { host, port, wait })),
        text(255).prop_map(PoolRequest::ShowMessage),
        Just(PoolRequest::GetVersion),
        Just(PoolRequest::Ping),
    ]
}

/// A request as a line and back.
fn through_a_line(method: &str, params: serde_json::Value) -> Request {
    let line = serde_json::json!({"id": 1, "method": method, "params": params}).to_string();
    match Envelope::parse(line.as_bytes()) {
        Ok(Envelope::Request(request)) if request.id == Id::from(1) => request,
        other => panic!("{other:?}"),
    }
}

proptest! {
    #[test]
    fn requests_of_miners(request in miner_request()) {
        let line = through_a_line(request.method(), request.params());
        prop_assert_eq!(MinerRequest::parse(&line), Ok(request));
    }

    #[test]
    fn requests_of_pools(request in pool_request()) {
        let line = through_a_line(request.method(), request.params());
        prop_assert_eq!(PoolRequest::parse(&line), Ok(request));
    }

    #[test]
    fn any_bytes(lines in proptest::collection::vec("[ -~\u{0}-\u{ff}]{0,100}", 0..20)) {
        let mut server = server::Server::new(server::Config::default());
        let mut client = client::Client::new(client::Config::default());
        for line in &lines {
            let _ = server.handle_line(line.as_bytes());
            let _ = client.handle_line(line.as_bytes());
        }
    }

    #[test]
    fn changed_messages(request in miner_request(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut line = serde_json::json!({"id": 1, "method": request.method(), "params": request.params()})
            .to_string()
            .into_bytes();
        let at = at.index(line.len());
        line[at] = byte;
        let mut server = server::Server::new(server::Config::default());
        let _ = server.handle_line(&line);
    }

    #[test]
    fn lines_do_not_depend_on_how_they_are_cut(parts in proptest::collection::vec(proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'a'), Just(b' ')], 0..9), 0..20)) {
        let read = |parts: &[Vec<u8>]| {
            let mut decoder = LineDecoder::new(1000);
            let mut lines = vec![];
            for part in parts {
                decoder.extend(part);
                while let Ok(Some(line)) = decoder.next_line() {
                    lines.push(line.to_vec());
                }
            }
            lines
        };
        prop_assert_eq!(read(&parts), read(&[parts.concat()]));
    }
}
