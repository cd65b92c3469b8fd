use std::str::FromStr;

use bitcoin::hashes::{Hash as _, sha256d};
use noise_sv2::url::EndpointUrl;
use roles_logic_sv2::Header;
use stratum_v1::{
    ErrorCode,
    miner::Authorize,
    pool::Reconnect,
    session::server::{self, Server},
};

use super::*;

const NOW: Duration = Duration::from_secs(100);

/// A session and a server, both without sockets.
struct Fixture {
    session: Session,
    server: Server,
    version_mask: u32,
}

impl Fixture {
    fn new() -> Self {
        let url = EndpointUrl::from_str("stratum2+tcp://127.0.0.1:3333").unwrap();
        let settings = Settings { config: MinerConfig::new(url, "alice.rig"), hashrate: 1e6, threads: 3 };
        let session = Session::new(settings, "d=5", NOW);
        Self { session, server: Server::new(server::Config::default()), version_mask: 0 }
    }

    /// Carries lines both ways until there are none; what the miner submitted.
    fn run(&mut self) -> Vec<(server::Pending, Submit)> {
        let mut shares = Vec::new();
        loop {
            let (up, down) = (std::mem::take(self.session.output()), std::mem::take(self.server.output()));
            if up.is_empty() && down.is_empty() {
                return shares;
            }
            for line in up.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                match self.server.handle_line(line).unwrap() {
                    Some(server::Event::Subscribe { request, .. }) => self.server.subscribed(request, &[1, 2, 3, 4], 8),
                    Some(server::Event::Authorize { request, authorize }) => {
                        let Authorize { username, password } = authorize;
                        assert_eq!((username.as_str(), password.as_str()), ("alice.rig", "d=5"));
                        self.server.authorized(request, &username);
                    }
                    Some(server::Event::Submit { request, submit }) => shares.push((request, submit)),
                    Some(server::Event::Configured { version_mask, .. }) => self.version_mask = version_mask,
                    other => panic!("{other:?}"),
                }
            }
            for line in down.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                self.session.handle_line(NOW, line).unwrap();
            }
        }
    }

    fn job(&mut self, name: &str, prev_hash: u8, clean_jobs: bool) -> Option<(Assignment, Target)> {
        let notify = Notify {
            job_id: name.into(),
            prev_hash: [prev_hash; 32],
            coinbase1: vec![1; 60],
            coinbase2: vec![2; 60],
            merkle_branch: vec![[3; 32]],
            version: 0x2000_0000,
            nbits: 0x1d00_ffff,
            ntime: 1_800_000_000,
            clean_jobs,
        };
        self.server.notify(&notify).unwrap();
        self.run();
        std::mem::take(self.session.reports()).into_iter().find_map(|report| match report {
            Report::Assign { assignment, target } => Some((assignment, target)),
            _ => None,
        })
    }
}

fn share(work: roles_logic_sv2::channel::client::Work, nonce: u32) -> FoundShare {
    FoundShare { generation: 1, work, version: work.version | 0x2000, ntime: work.min_ntime, nonce }
}

#[test]
fn a_share_is_of_its_job_with_its_extranonce_and_bits() {
    let mut f = Fixture::new();
    f.run();
    assert_eq!(f.version_mask, 0x1fff_e000);
    f.server.set_difficulty(512.0).unwrap();
    let (assignment, target) = f.job("abc", 9, true).unwrap();
    assert_eq!((assignment.works.len(), target), (3, Target::from_difficulty(512.0)));
    f.session.handle_share(NOW, &share(assignment.works[1], 77));
    let (request, submit) = f.run().pop().unwrap();
    assert_eq!((submit.job_id.as_str(), submit.nonce, submit.version_bits), ("abc", 77, Some(0x2000)));
    assert_eq!((submit.username.as_str(), submit.ntime, submit.extranonce2.len()), ("alice.rig", 1_800_000_000, 8));
    // The header that was hashed is that of the coinbase with this extranonce.
    let hash = |bytes: &[u8]| sha256d::Hash::hash(bytes).to_byte_array();
    let coinbase = [&[1; 60][..], &[1, 2, 3, 4], &submit.extranonce2, &[2; 60]].concat();
    let merkle_root = hash(&[hash(&coinbase), [3; 32]].concat());
    let Header { merkle_root: hashed, .. } = assignment.works[1].header(0, 0, 0);
    assert_eq!(hashed, merkle_root);
    f.server.accept(request);
    f.run();
    assert!(f.session.reports().iter().any(|report| matches!(report, Report::Accepted { count: 1, credited: 512 })));
}

#[test]
fn shares_of_jobs_that_ended_are_not_sent_and_refusals_are_reported() {
    let mut f = Fixture::new();
    f.run();
    let (first, target) = f.job("1", 9, true).unwrap();
    assert_eq!(target, Target::from_difficulty(1.0), "where the server says nothing");
    let (second, _) = f.job("2", 9, false).unwrap();
    // A job on the same block: the one before still counts.
    f.session.handle_share(NOW, &share(first.works[0], 1));
    assert_eq!(f.run()[0].1.job_id, "1");
    let (third, _) = f.job("3", 8, true).unwrap();
    f.session.handle_share(NOW, &share(second.works[0], 1));
    assert!(f.run().is_empty());
    f.session.handle_share(NOW, &share(third.works[0], 1));
    let (request, _) = f.run().pop().unwrap();
    f.server.refuse(request, &ErrorCode::LowDifficulty.into());
    f.run();
    let rejected = |report: &Report| matches!(report, Report::Rejected { code } if code == "Low difficulty share (23)");
    assert!(f.session.reports().iter().any(rejected));
}

#[test]
fn a_new_extranonce_holds_from_the_next_job_on() {
    let mut f = Fixture::new();
    f.run();
    f.job("1", 9, true).unwrap();
    f.server.set_extranonce(&[9; 6], 4).unwrap();
    let (assignment, _) = f.job("2", 9, false).unwrap();
    f.session.handle_share(NOW, &share(assignment.works[0], 1));
    assert_eq!(f.run()[0].1.extranonce2.len(), 4);
}

#[test]
fn a_server_may_send_it_away_and_must_not_be_silent() {
    let mut f = Fixture::new();
    let (at, first) = (f.session.poll_timeout(), f.session.handle_timeout(NOW));
    assert_eq!((at, first), (NOW + Duration::from_secs(10), Ok(())));
    assert!(f.session.handle_timeout(at).unwrap_err().to_string().contains("mining.subscribe"));
    f.run();
    assert!(f.session.handle_timeout(f.session.poll_timeout()).unwrap_err().to_string().contains("a job"));
    f.job("1", 9, true).unwrap();
    assert!(f.session.handle_timeout(f.session.poll_timeout()).unwrap_err().to_string().contains("a line"));
    f.server.reconnect(&Reconnect { host: Some("b.example".into()), port: Some(5), wait: 0 });
    let line = std::mem::take(f.server.output());
    let end = f.session.handle_line(NOW, line.trim_ascii()).unwrap_err();
    assert_eq!(end, End::Redirected { host: "b.example".into(), port: 5 });
}
