//! A client at our Template Provider: any frames, events of the source and time in between.
//!
//! Input: frames. Those of extension 0x7fff steer the test: message type 0 lets time pass, 1 a template, 2 a tip, 3
//! transactions, 4 the fate of a block.
#![no_main]

use std::{sync::Arc, time::Duration};

use binary_sv2::Message;
use bitcoin::{BlockHash, Network, hashes::Hash};
use framing_sv2::Sv2Frame;
use fuzz::Input;
use libfuzzer_sys::fuzz_target;
use template_distribution_sv2::TemplateDistribution;
use template_provider::{Session, Settings};
use template_source::{
    CoinbaseTemplate, Event, SubmitOutcome, SubmitPath, Template, TemplateId, Tip,
    sv2::{SendError, Sink},
};

const STEER: u16 = 0x7fff;
const STEP: Duration = Duration::from_secs(10);
const SETTINGS: Settings = Settings { setup: STEP, constraints: STEP, network: Network::Regtest, raw_blocks: true };

struct Out;

impl Sink for Out {
    fn send<M: Message>(&mut self, message: &M) -> Result<(), SendError> {
        let payload = binary_sv2::to_bytes(message).expect("a message that can be sent");
        if M::EXTENSION_TYPE == 0 && M::MESSAGE_TYPE >= 0x70 {
            TemplateDistribution::decode(M::MESSAGE_TYPE, &payload).expect("a message that can be read");
        }
        Ok(())
    }
}

fn event(what: u8, with: u8, templates: &mut u64) -> Event {
    let hash = BlockHash::from_byte_array([with; 32]);
    match what {
        1 => {
            *templates += 1;
            let coinbase = CoinbaseTemplate {
                version: 2,
                script_sig_prefix: vec![0x02, 101, 0],
                sequence: u32::MAX,
                value_remaining: 5_000_000_000,
                outputs_count: 0,
                outputs: vec![],
                lock_time: 0,
            };
            let (id, merkle_path) = (TemplateId(*templates), vec![[7; 32]; usize::from(with % 4)]);
            let future = with & 4 == 0;
            Event::Template(Arc::new(Template { id, future, height: 101, version: 0x2000_0000, coinbase, merkle_path }))
        }
        2 => Event::Tip(Tip {
            template_id: TemplateId(*templates),
            prev_hash: hash,
            header_timestamp: 1_700_000_000,
            nbits: 0x207f_ffff,
            target: [0xff; 32],
        }),
        3 => {
            let transactions = Arc::new(vec![vec![with; 100]; usize::from(with % 4)]);
            let result = if with & 8 == 0 { Ok(transactions) } else { Err("gone".to_owned()) };
            Event::Transactions { id: TemplateId(u64::from(with) % (*templates + 1)), result }
        }
        _ => {
            let outcome = match with % 4 {
                0 => SubmitOutcome::Accepted,
                1 => SubmitOutcome::Sent,
                2 => SubmitOutcome::Rejected("no".to_owned()),
                _ => SubmitOutcome::Failed("gone".to_owned()),
            };
            let path = if with & 4 == 0 { SubmitPath::Solution } else { SubmitPath::RawBlock };
            Event::Submitted { hash, path, outcome }
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let mut now = Duration::from_secs(1);
    let mut session = Session::new(now, SETTINGS);
    let mut templates = 0;
    let mut input = Input(data);
    while let Some((header, payload)) = input.frame() {
        let with = payload.first().copied().unwrap_or(0);
        let result = match (header.extension_type(), header.message_type()) {
            (STEER, 0) => {
                now += Duration::from_secs(with.into());
                session.handle_timeout(now)
            }
            (STEER, what) => session.handle_event(now, event(what, with, &mut templates)),
            _ => session.handle_frame(now, &Sv2Frame::new(header, payload).expect("a frame"), &mut Out),
        };
        let result = result.and_then(|()| session.transmit(&mut Out));
        while session.poll_action().is_some() {}
        if let Err(reason) = result {
            return assert!(!reason.to_string().is_empty());
        }
    }
});
