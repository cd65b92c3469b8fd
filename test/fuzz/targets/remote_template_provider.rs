//! A Template Provider at our client: any frames, commands and time in between. It takes them or drops the connection.
//!
//! Input: frames. Those of extension 0x7fff steer the test: message type 0 lets time pass, 1 asks for transactions, 2
//! changes constraints, 3 submits a solution, 4 says that all has left.
#![no_main]

use std::time::Duration;

use binary_sv2::Message;
use bitcoin::{BlockHash, hashes::Hash};
use framing_sv2::Sv2Frame;
use fuzz::Input;
use libfuzzer_sys::fuzz_target;
use template_source::{
    Command, Constraints, Solution, TemplateId,
    sv2::{Core, QUEUED_EVENTS, SendError, Sink, Step},
};

const STEER: u16 = 0x7fff;
const CONSTRAINTS: Constraints = Constraints { max_additional_size: 100, max_additional_sigops: 4 };

struct Out;

impl Sink for Out {
    fn send<M: Message>(&mut self, message: &M) -> Result<(), SendError> {
        binary_sv2::to_bytes(message).expect("a message that can be sent");
        Ok(())
    }
}

/// Waits until the core is connected again.
fn connect(core: &mut Core, now: &mut Duration) {
    *now = (*now).max(core.poll_timeout());
    match core.handle_timeout(*now) {
        Step::Connect(url) => {
            assert!(url.port() != 0);
            core.connected(*now, &mut Out).expect("the first message");
        }
        step => panic!("expected an attempt to connect, got {step:?}"),
    }
}

fn command(what: u8, with: u8) -> Command {
    let template_id = TemplateId(with.into());
    match what {
        1 => Command::RequestTransactions(template_id),
        2 => Command::SetConstraints(CONSTRAINTS),
        _ => Command::SubmitSolution(Solution {
            template_id,
            hash: BlockHash::from_byte_array([with; 32]),
            version: 1,
            header_timestamp: 2,
            header_nonce: 3,
            coinbase_tx: vec![with; 64],
        }),
    }
}

fuzz_target!(|data: &[u8]| {
    let url = "stratum2+tcp://127.0.0.1:8442/9bXiEd8boQVhq7WddEcERUL5tyyJVFYdU8th3HfbNXK3Yw6GRXh";
    let mut now = Duration::from_secs(1);
    let mut core = Core::new(now, url.parse().expect("a URL"), CONSTRAINTS);
    connect(&mut core, &mut now);
    let mut input = Input(data);
    while let Some((header, payload)) = input.frame() {
        let with = payload.first().copied().unwrap_or(0);
        let result = match (header.extension_type(), header.message_type()) {
            (STEER, 0) => {
                now += Duration::from_secs(with.into());
                match core.handle_timeout(now) {
                    Step::Close(reason) => Err(reason),
                    Step::Wait => Ok(()),
                    Step::Connect(_) => panic!("connected already"),
                }
            }
            (STEER, 4) => {
                core.flushed();
                Ok(())
            }
            (STEER, what) => core.handle_command(now, command(what, with), &mut Out),
            _ => core.handle_frame(now, &Sv2Frame::new(header, payload).expect("a frame"), &mut Out),
        };
        if let Err(reason) = result {
            assert!(!reason.to_string().is_empty());
            core.closed(now, reason);
            while core.poll_event().is_some() {}
            connect(&mut core, &mut now);
        }
        let mut events = 0;
        while !core.wants_input() && core.poll_event().is_some() {
            events += 1;
        }
        assert!(events <= 4 * QUEUED_EVENTS);
    }
});
