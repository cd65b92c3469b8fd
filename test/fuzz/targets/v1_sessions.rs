//! Sv1 lines to both sides: whatever comes, each line that goes out is a message, and requests are answered once.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stratum_v1::{
    ErrorCode,
    envelope::Envelope,
    line::{LineDecoder, MAX_LINE_FROM_MINER, MAX_LINE_FROM_POOL},
    session::{
        client::{Client, Config as ClientConfig},
        server::{Config, Event, Server},
    },
};

/// Answers whatever a miner asks.
fn serve(data: &[u8]) {
    let mut lines = LineDecoder::new(MAX_LINE_FROM_MINER);
    let mut server = Server::new(Config::default());
    for part in data.chunks(64) {
        lines.extend(part);
        while let Ok(Some(line)) = lines.next_line() {
            let asks =
                matches!(Envelope::parse(line), Ok(Envelope::Request(request)) if request.method != "mining.pong");
            let Ok(event) = server.handle_line(line) else { return };
            match event {
                Some(Event::Subscribe { request, .. }) => server.subscribed(request, &[1, 2, 3, 4], 8),
                Some(Event::Authorize { request, authorize }) => server.authorized(request, &authorize.username),
                Some(Event::Submit { request, submit }) if submit.nonce % 2 == 0 => server.accept(request),
                Some(Event::Submit { request, .. }) => server.refuse(request, &ErrorCode::LowDifficulty.into()),
                _ => {}
            }
            let output = std::mem::take(server.output());
            assert_eq!(check(&output), usize::from(asks), "one answer a request: {}", String::from_utf8_lossy(line));
        }
        assert!(lines.pending() <= MAX_LINE_FROM_MINER + part.len());
    }
}

fn mine(data: &[u8]) {
    let mut lines = LineDecoder::new(MAX_LINE_FROM_POOL);
    let mut client = Client::new(ClientConfig::default());
    client.start().expect("nothing waits yet");
    lines.extend(data);
    while let Ok(Some(line)) = lines.next_line() {
        if client.handle_line(line).is_err() {
            return;
        }
        let output = std::mem::take(client.output());
        check(&output);
        assert!(client.extranonce1().is_none_or(|extranonce1| extranonce1.len() <= 32));
        assert_eq!(client.version_mask() & !ClientConfig::default().version_mask, 0);
        assert!(client.difficulty().is_none_or(|difficulty| difficulty > 0.0));
    }
}

/// Counts lines, each of which must be a message.
fn check(output: &[u8]) -> usize {
    let lines: Vec<_> = output.split_inclusive(|&byte| byte == b'\n').collect();
    for line in &lines {
        assert!(line.ends_with(b"\n"));
        Envelope::parse(line).expect("what is sent is a message");
    }
    lines.len()
}

fuzz_target!(|data: &[u8]| {
    serve(data);
    mine(data);
});
