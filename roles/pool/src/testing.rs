//! What several tests of this crate need: templates, a sink that remembers, a hub with a source.

use std::{fmt::Display, sync::Arc, time::Duration};

use binary_sv2::Message;
use bitcoin::{BlockHash, hashes::Hash};
use framing_sv2::Header;
use roles_logic_sv2::{extranonce::Layout, job::JobFactory};
use stratum_runtime::{core::Sink, journal::JournalFull};
use template_source::{Capabilities, CoinbaseTemplate, Event, Template, TemplateId, Tip};

use crate::{
    config::PoolConfig,
    hold::Hold,
    hub::{Candidate, Hub, Output},
    ledger::Record,
    payouts::Payouts,
};

pub(crate) const NOW: Duration = Duration::from_secs(1_800_000_000);

/// A sink that remembers.
#[derive(Default)]
pub(crate) struct Recorder {
    pub sent: Vec<(Header, Vec<u8>)>,
    /// Lines, one after the other.
    pub lines: Vec<u8>,
    pub reports: Vec<Candidate>,
    /// Blocks that are on their way to the disk.
    pub holds: Vec<Hold>,
    /// Records that are not durable yet.
    pub records: Vec<Record>,
    /// The journal takes nothing.
    pub is_full: bool,
    pub gone: Option<String>,
}

impl Recorder {
    /// Names of the messages sent since the last call.
    pub(crate) fn names(&mut self) -> Vec<&'static str> {
        let name = |(header, _): &(Header, Vec<u8>)| {
            let tables =
                [const_sv2::message_type::common::ALL.as_slice(), const_sv2::message_type::mining::ALL.as_slice()];
            let found = tables.into_iter().flatten().find(|info| info.message_type == header.message_type());
            found.map_or("extension", |info| info.name)
        };
        std::mem::take(&mut self.sent).iter().map(name).collect()
    }
}

impl Sink for Recorder {
    type Report = Candidate;
    type Record = Record;

    fn send<M: Message>(&mut self, message: &M) {
        let payload = binary_sv2::to_bytes(message).unwrap();
        self.sent.push((Header::of::<M>(payload.len()).unwrap(), payload));
    }

    fn send_lines(&mut self, lines: &[u8]) {
        assert!(lines.ends_with(b"\n"));
        self.lines.extend_from_slice(lines);
    }

    fn disconnect(&mut self, reason: impl Display) {
        self.gone.get_or_insert(reason.to_string());
    }

    fn report(&mut self, mut report: Candidate) {
        self.holds.push(std::mem::take(&mut report.hold));
        self.reports.push(report);
    }

    fn persist(&mut self, record: Record) -> Result<(), JournalFull> {
        if self.is_full {
            return Err(JournalFull);
        }
        self.records.push(record);
        Ok(())
    }
}

/// A pool on regtest with one listener.
pub(crate) fn config() -> PoolConfig {
    let text = "network = 'regtest'\npayout = 'raw(51)'\ndata_dir = 'unused'\n\
                listen = [{ address = '127.0.0.1:0', noise = false }]\nsource = [{ kind = 'devnet' }]";
    stratum_runtime::config::parse(text, "test", "NONE", std::iter::empty()).unwrap()
}

pub(crate) fn factory() -> JobFactory {
    payouts(&config()).factory().clone()
}

pub(crate) fn payouts(config: &PoolConfig) -> Payouts {
    Payouts::new(config, Layout::SV2_DEFAULT.full_size()).unwrap()
}

pub(crate) fn hub(sources: usize) -> Hub {
    Hub::new(factory(), &vec![Capabilities { raw_blocks: true }; sources])
}

pub(crate) fn template(id: u64, height: u32, future: bool, with_transactions: bool) -> Arc<Template> {
    let coinbase = CoinbaseTemplate {
        version: 2,
        script_sig_prefix: vec![0x02, height as u8, (height >> 8) as u8],
        sequence: u32::MAX,
        value_remaining: 5_000_000_000,
        outputs_count: 0,
        outputs: vec![],
        lock_time: 0,
    };
    let merkle_path = if with_transactions { vec![[7; 32]] } else { vec![] };
    Arc::new(Template { id: TemplateId(id), future, height, version: 0x2000_0000, coinbase, merkle_path })
}

pub(crate) fn hash(n: u8) -> BlockHash {
    BlockHash::from_byte_array([n; 32])
}

/// A tip on regtest, where every second hash is a block.
pub(crate) fn tip(template: u64, prev_hash: u8) -> Tip {
    Tip {
        template_id: TemplateId(template),
        prev_hash: hash(prev_hash),
        header_timestamp: NOW.as_secs() as u32,
        nbits: 0x207f_ffff,
        target: [0xff; 32],
    }
}

pub(crate) fn up() -> Event {
    Event::Up { network: None, description: "test".into() }
}

pub(crate) fn outputs(hub: &mut Hub) -> Vec<Output> {
    std::iter::from_fn(|| hub.poll_output()).collect()
}

/// The last snapshot that the hub published.
pub(crate) fn published(hub: &mut Hub) -> Arc<crate::snapshot::Snapshot> {
    let published = outputs(hub).into_iter().filter_map(|output| match output {
        Output::Publish(snapshot) => Some(snapshot),
        _ => None,
    });
    published.last().expect("the hub published nothing")
}
