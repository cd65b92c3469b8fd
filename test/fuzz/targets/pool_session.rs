//! A miner at the pool: any frames, in between new templates, tips and time. The session answers in messages or hangs up.
//!
//! Input: frames. Those of extension 0x7fff steer the test: message type 0 a template, 1 a tip, 2 makes records durable,
//! 3 and above let time pass.
#![no_main]

use std::{fmt::Display, sync::Arc, time::Duration};

use binary_sv2::Message;
use bitcoin::{BlockHash, hashes::Hash};
use common_messages_sv2::CommonMessages;
use extensions_sv2::ExtensionNegotiation;
use framing_sv2::Header;
use fuzz::Input;
use libfuzzer_sys::fuzz_target;
use mining_sv2::Mining;
use pool::{
    PoolConfig,
    hold::Hold,
    hub::{Candidate, Hub, Output},
    payouts::Payouts,
    session::{Acknowledge, Session, SessionConfig},
};
use roles_logic_sv2::{
    TargetBounds,
    accounting::AckLimits,
    extranonce::{Layout, Space},
    share::Rules,
    vardiff::policy::{Start, TargetPolicies, TargetPolicy},
};
use stratum_runtime::{
    core::{Core, Sink},
    journal::JournalFull,
};
use template_source::{Capabilities, CoinbaseTemplate, Event, Template, TemplateId, Tip};

const START: Duration = Duration::from_secs(1_800_000_000);
const STEER: u16 = 0x7fff;
const MAX_CHANNELS: usize = 3;
const MAX_RECORDS: usize = 4;
/// As many blocks wait for the disk; further ones are there at once.
const MAX_HOLDS: usize = 4;
const CONFIG: &str = "network = 'regtest'\npayout = 'raw(51)'\ndata_dir = 'unused'\nsource = []\n\
                      listen = [{ address = '127.0.0.1:0', policies = ['pool', 'solo'] }]";

/// Checks that what the pool says are messages a pool may send.
#[derive(Default)]
struct Checker {
    gone: bool,
    sent: usize,
    /// Records that are not durable yet.
    records: usize,
    /// Blocks that are not on disk yet.
    holds: Vec<Hold>,
}

impl Sink for Checker {
    type Report = Candidate;
    type Record = <Session as Core>::Record;

    fn send<M: Message>(&mut self, message: &M) {
        assert!(!self.gone, "{} after the connection was closed", M::NAME);
        self.sent += 1;
        let payload = binary_sv2::to_bytes(message).expect("a message that can be sent");
        let number = M::MESSAGE_TYPE;
        let read = match M::EXTENSION_TYPE {
            0 => CommonMessages::decode(number, &payload).is_ok() || Mining::decode(number, &payload).is_ok(),
            _ => ExtensionNegotiation::decode(number, &payload).is_ok(),
        };
        assert!(read, "{} can not be read", M::NAME);
    }

    fn disconnect(&mut self, reason: impl Display) {
        assert!(!reason.to_string().is_empty());
        self.gone = true;
    }

    fn report(&mut self, mut report: Candidate) {
        if self.holds.len() < MAX_HOLDS {
            self.holds.push(std::mem::take(&mut report.hold));
        }
        let block = report.candidate.block(&[]);
        assert_eq!(block[..80], report.candidate.header_bytes());
    }

    /// Takes a few at a time.
    fn persist(&mut self, _: Self::Record) -> Result<(), JournalFull> {
        if self.records == MAX_RECORDS {
            return Err(JournalFull);
        }
        self.records += 1;
        Ok(())
    }
}

struct Rig {
    hub: Hub,
    session: Session,
    sink: Checker,
    now: Duration,
    templates: u64,
}

impl Rig {
    fn new() -> Self {
        let config = stratum_runtime::config::parse(CONFIG, "fuzz", "NONE", std::iter::empty());
        let config: PoolConfig = config.expect("a configuration");
        let size = 20;
        let payouts = Arc::new(Payouts::new(&config, size).expect("payouts"));
        let factory = payouts.factory().clone();
        let layout = Layout::new(8, 16, 8, size).expect("a layout");
        let config = SessionConfig {
            space: Space::new(layout, 0, 1).expect("a space"),
            payouts,
            policies: config.listen[0].policies.clone(),
            rules: Rules::default(),
            targets: TargetPolicies::new(TargetPolicy {
                shares_per_minute: 12.0,
                bounds: TargetBounds::NONE,
                start: Start::Nominal(None),
            })
            .expect("sound targets"),
            vardiff: true,
            acknowledge: Acknowledge::Durable,
            ack_limits: AckLimits::default(),
            max_channels: MAX_CHANNELS,
            setup: Duration::from_secs(10),
            first_channel: Duration::from_secs(60),
            limits: pool::config::Limits::default().of_sessions(),
            registry: pool::registry::Registry::new(START),
            listener: 0,
        };
        let peer = ([127, 0, 0, 1], 1).into();
        let session = Session::new(START, peer, Arc::new(config));
        let hub = Hub::new(factory, &[Capabilities { raw_blocks: true }]);
        let mut rig = Self { hub, session, sink: Checker::default(), now: START, templates: 0 };
        rig.source(Event::Up { network: None, description: "fuzz".into() });
        rig.template(true, 1);
        rig.tip(1);
        rig
    }

    fn source(&mut self, event: Event) {
        self.hub.handle_source(self.now, 0, event);
        while let Some(output) = self.hub.poll_output() {
            if let Output::Publish(snapshot) = output {
                self.session.handle_notice(self.now, &snapshot, &mut self.sink);
            }
        }
    }

    fn template(&mut self, future: bool, transactions: u8) {
        self.templates += 1;
        let coinbase = CoinbaseTemplate {
            version: 2,
            script_sig_prefix: vec![0x02, 101, 0],
            sequence: u32::MAX,
            value_remaining: 5_000_000_000,
            outputs_count: 0,
            outputs: vec![],
            lock_time: 0,
        };
        let id = TemplateId(self.templates);
        let merkle_path = vec![[7; 32]; usize::from(transactions % 14)];
        let template = Template { id, future, height: 101, version: 0x2000_0000, coinbase, merkle_path };
        self.source(Event::Template(Arc::new(template)));
    }

    fn tip(&mut self, prev_hash: u8) {
        self.source(Event::Tip(Tip {
            template_id: TemplateId(self.templates),
            prev_hash: BlockHash::from_byte_array([prev_hash; 32]),
            header_timestamp: self.now.as_secs() as u32,
            nbits: 0x207f_ffff,
            target: [0xff; 32],
        }));
    }

    fn steer(&mut self, what: u8, with: u8) {
        match what {
            0 => self.template(with & 1 == 1, with >> 1),
            1 => {
                self.template(true, with);
                self.tip(with);
            }
            2 => {
                let count = self.sink.records.min(with.into());
                self.sink.records -= count;
                // Now and then a block is on disk before.
                if with & 1 == 1 {
                    self.sink.holds.clear();
                }
                self.session.handle_durable(self.now, count, &mut self.sink);
            }
            seconds => {
                self.now += Duration::from_secs(seconds.into());
                if self.session.poll_timeout().is_some_and(|at| at <= self.now) {
                    self.session.handle_timeout(self.now, &mut self.sink);
                    assert!(self.sink.gone || self.session.poll_timeout().is_none_or(|at| at > self.now));
                }
            }
        }
    }

    fn frame(&mut self, header: Header, payload: &[u8]) {
        let sent = self.sink.sent;
        self.session.handle_frame(self.now, header, payload, &mut self.sink);
        self.session.finish_input(self.now, &mut self.sink);
        assert!(self.sink.sent - sent <= 16, "one frame is answered by few");
        assert!(self.session.outbound_limit() <= 64 * 1024 + 256 * MAX_CHANNELS);
    }
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let mut rig = Rig::new();
    while let Some((header, payload)) = input.frame() {
        if rig.sink.gone {
            break;
        }
        if header.extension_type() == STEER {
            rig.steer(header.message_type(), payload.first().copied().unwrap_or(0));
        } else {
            rig.frame(header, payload);
        }
    }
});
