mod protocols;

use std::ops::RangeInclusive;

use binary_sv2::Message;
use common_messages_sv2::SetupConnectionSuccess;
use framing_sv2::Header;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::Semaphore,
};

use super::*;
use crate::{
    core::Protocol,
    journal::{Bounds, testing::Held},
    listener,
};

/// Messages from this number on are recorded, those before reported.
const RECORDED: u8 = 100;
/// A message that is answered after [`SLOWLY`], with its number.
const SLOW: u8 = 99;
const SLOWLY: Duration = Duration::from_millis(20);
/// What answers a record that the journal refused.
const REFUSED: u16 = 0xffff;

/// What a peer is told with each letter.
const LETTER: u32 = 77;

/// What a peer is told when it is to go.
const DRAINED: u16 = 0xfffe;

/// Reports or records the number of each message. Answers once for all reports of a read, and once for each time that records are
/// durable, with their count.
#[derive(Default)]
struct Echo {
    reported: bool,
    /// The peer sends lines.
    lines: bool,
    owes_at: Option<Duration>,
}

fn answer(version: u16, flags: u32) -> SetupConnectionSuccess {
    SetupConnectionSuccess { used_version: version, flags }
}

impl Core for Echo {
    type Notice = ();
    type Report = u8;
    type Letter = u16;
    type Record = u8;

    fn handle_letter<S: Sink>(&mut self, _: Duration, letter: u16, sink: &mut S) {
        sink.send(&answer(letter, LETTER));
    }

    fn handle_frame<S: Sink<Report = u8, Record = u8>>(
        &mut self,
        now: Duration,
        header: Header,
        _: &[u8],
        sink: &mut S,
    ) {
        let number = header.message_type();
        if number == SLOW {
            self.owes_at = Some(now + SLOWLY);
        } else if number < RECORDED {
            self.reported = true;
            sink.report(number);
        } else if sink.persist(number).is_err() {
            sink.send(&answer(REFUSED, number.into()));
        }
    }

    /// Gives each line back.
    fn handle_line<S: Sink<Report = u8, Record = u8>>(&mut self, _: Duration, line: &[u8], sink: &mut S) {
        sink.send_lines(&[line, b"\n"].concat());
    }

    fn finish_input<S: Sink>(&mut self, _: Duration, sink: &mut S) {
        if std::mem::take(&mut self.reported) {
            sink.send(&answer(2, 0));
        }
    }

    fn handle_notice<S: Sink>(&mut self, _: Duration, _: &Arc<()>, _: &mut S) {}

    fn handle_drain<S: Sink>(&mut self, _: Duration, sink: &mut S) {
        if !self.lines {
            sink.send(&answer(DRAINED, 0));
        }
    }

    fn handle_durable<S: Sink>(&mut self, _: Duration, count: usize, sink: &mut S) {
        sink.send(&answer(2, count as u32));
    }

    fn poll_timeout(&self) -> Option<Duration> {
        self.owes_at
    }

    fn handle_timeout<S: Sink>(&mut self, now: Duration, sink: &mut S) {
        if self.owes_at.take_if(|at| *at <= now).is_some() {
            sink.send(&answer(2, SLOW.into()));
        }
    }

    fn owes_answers(&self) -> bool {
        self.owes_at.is_some()
    }

    fn outbound_limit(&self) -> usize {
        1024
    }
}

/// A shard with what it ends with.
struct Rig {
    shard: Shard<Echo>,
    shutdown: Shutdown,
    /// Time for what comes before messages.
    handshake: Duration,
    _notices: watch::Sender<Arc<()>>,
}

impl Rig {
    fn new(reports: mpsc::Sender<u8>, recording: Option<Recording<u8>>) -> Self {
        Self::draining(Duration::ZERO, reports, recording)
    }

    fn draining(drain: Duration, reports: mpsc::Sender<u8>, recording: Option<Recording<u8>>) -> Self {
        let (_notices, notices) = watch::channel(Arc::new(()));
        let shutdown = Shutdown::new();
        let clock = Clock::start();
        let surroundings = Surroundings { clock, notices, reports, recording, shutdown: shutdown.clone(), drain };
        let handshake = Duration::from_secs(60);
        Self { shard: Shard::spawn(0, surroundings).unwrap(), shutdown, handshake, _notices }
    }

    /// A connection to the shard, which expects frames in the clear.
    async fn connect(&self) -> TcpStream {
        self.connect_to(Security::Plain.into()).await
    }

    async fn connect_to(&self, protocols: Protocols) -> TcpStream {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, peer) = listener.accept().await.unwrap();
        let permit = Arc::new(Semaphore::new(1)).acquire_owned().await.unwrap();
        let minute = Duration::from_secs(60);
        let limits = Limits { message_bytes: 100, handshake: self.handshake, unsent: minute, idle: minute };
        let make =
            Arc::new(|_, peer: Peer| Echo { lines: matches!(peer.protocol, Protocol::V1 { .. }), ..Echo::default() });
        let gate = listener::tests::gate(9);
        let ticket = gate.enter(Duration::ZERO, 0, peer.ip()).unwrap();
        let service = Arc::new(Service { protocols, limits, gate, listener: 0, make });
        self.shard.serve(Accepted { stream, peer, permit, ticket, proxied: false }, service);
        client
    }

    fn end(self) {
        self.shutdown.cancel();
        self.shard.join();
    }
}

/// A journal, and a shard that records into it within these bounds.
fn recording(records: usize, patience: Duration, reports: mpsc::Sender<u8>) -> (Arc<Held<u8>>, Rig) {
    let journal = Held::new();
    let bounds = Bounds { records, patience };
    (journal.clone(), Rig::new(reports, Some(Recording { journal, bounds })))
}

/// The next answer's version and flags.
async fn receive(client: &mut TcpStream) -> (u16, u32) {
    let mut bytes = [0; 12];
    client.read_exact(&mut bytes).await.unwrap();
    assert_eq!(bytes[2], SetupConnectionSuccess::MESSAGE_TYPE);
    let success: SetupConnectionSuccess = binary_sv2::from_bytes(&bytes[6..]).unwrap();
    (success.used_version, success.flags)
}

fn messages(numbers: RangeInclusive<u8>) -> Vec<u8> {
    numbers.flat_map(|number| Header::new(0, false, number, 0).unwrap().to_bytes()).collect()
}

#[tokio::test]
async fn frames_before_a_malformed_one_are_answered() {
    let (reports, mut taken) = mpsc::channel(1);
    let rig = Rig::new(reports, None);
    let mut client = rig.connect().await;
    let mut bytes = messages(1..=1);
    bytes.extend(Header::new(0, false, 2, 101).unwrap().to_bytes());
    client.write_all(&bytes).await.unwrap();
    assert_eq!(taken.recv().await, Some(1));
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer.len(), 12, "one SetupConnection.Success, then the end: {answer:?}");
    rig.end();
}

#[tokio::test]
async fn what_was_found_reaches_the_role_although_all_ends() {
    let (reports, mut taken) = mpsc::channel(1);
    let rig = Rig::new(reports, None);
    let mut client = rig.connect().await;
    // Four messages in one read, and room for one report.
    client.write_all(&messages(1..=4)).await.unwrap();
    assert_eq!(taken.recv().await, Some(1));
    rig.shutdown.cancel();
    let mut rest = Vec::new();
    while let Some(report) = taken.recv().await {
        rest.push(report);
    }
    assert_eq!(rest, [2, 3, 4]);
    rig.end();
}

#[tokio::test]
async fn a_letter_reaches_its_connection_and_no_other() {
    let (reports, mut taken) = mpsc::channel(9);
    let rig = Rig::new(reports, None);
    let post = letters::Post::new([&rig.shard]);
    let mut clients = [rig.connect().await, rig.connect().await];
    // Each has been made once it has reported.
    for client in &mut clients {
        client.write_all(&messages(1..=1)).await.unwrap();
        assert_eq!((taken.recv().await, receive(client).await), (Some(1), (2, 0)));
    }
    let to = |shard, number| ConnectionId { shard, number };
    post.send(to(0, 2), 1); // no such connection
    post.send(to(1, 0), 2); // no such shard
    (10..14).for_each(|letter| post.send(to(0, u64::from(letter) % 2), letter));
    for (number, client) in (0..).zip(&mut clients) {
        assert_eq!(receive(client).await, (10 + number, LETTER));
        assert_eq!(receive(client).await, (12 + number, LETTER));
    }
    rig.end();
}

const LONG: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn without_a_journal_a_record_counts_as_durable_at_once() {
    let (reports, _taken) = mpsc::channel(9);
    let rig = Rig::new(reports, None);
    let mut client = rig.connect().await;
    let records = RECORDED..=RECORDED + 2;
    client.write_all(&[messages(1..=1), messages(records)].concat()).await.unwrap();
    assert_eq!((receive(&mut client).await, receive(&mut client).await), ((2, 0), (2, 3)), "after the input's end");
    rig.end();
}

#[tokio::test]
async fn records_are_answered_when_they_are_durable_and_not_before() {
    let (reports, _taken) = mpsc::channel(9);
    let (journal, rig) = recording(100, LONG, reports);
    let (mut alice, mut bob) = (rig.connect().await, rig.connect().await);
    alice.write_all(&messages(RECORDED..=RECORDED + 1)).await.unwrap();
    journal.wait_for(2).await;
    bob.write_all(&messages(RECORDED + 2..=RECORDED + 2)).await.unwrap();
    journal.wait_for(3).await;
    assert_eq!(*journal.records.lock().unwrap(), [RECORDED, RECORDED + 1, RECORDED + 2]);
    // What needs no journal is answered meanwhile.
    alice.write_all(&messages(1..=1)).await.unwrap();
    assert_eq!(receive(&mut alice).await, (2, 0));
    journal.write_to_disk(2);
    assert_eq!(receive(&mut alice).await, (2, 2));
    bob.write_all(&messages(1..=1)).await.unwrap();
    assert_eq!(receive(&mut bob).await, (2, 0), "its record is not durable yet");
    journal.write_to_disk(3);
    assert_eq!(receive(&mut bob).await, (2, 1));
    rig.end();
}

#[tokio::test]
async fn a_full_journal_holds_up_those_who_fill_it_and_nobody_else() {
    let (reports, mut taken) = mpsc::channel(9);
    let (journal, rig) = recording(2, LONG, reports);
    let (mut alice, mut bob) = (rig.connect().await, rig.connect().await);
    alice.write_all(&messages(RECORDED..=RECORDED + 1)).await.unwrap();
    journal.wait_for(2).await;
    alice.write_all(&[messages(RECORDED + 2..=RECORDED + 2), messages(1..=1)].concat()).await.unwrap();
    bob.write_all(&messages(2..=2)).await.unwrap();
    assert_eq!(taken.recv().await, Some(2), "the first is not read from");
    journal.write_to_disk(2);
    assert_eq!(taken.recv().await, Some(1));
    assert_eq!((receive(&mut alice).await, receive(&mut alice).await), ((2, 2), (2, 0)));
    journal.wait_for(3).await;
    journal.write_to_disk(3);
    assert_eq!(receive(&mut alice).await, (2, 1));
    rig.end();
}

#[tokio::test]
async fn a_journal_that_stays_full_refuses_records_but_not_reports() {
    let (reports, mut taken) = mpsc::channel(9);
    let (journal, rig) = recording(2, Duration::ZERO, reports);
    let mut client = rig.connect().await;
    client.write_all(&messages(RECORDED..=RECORDED + 1)).await.unwrap();
    journal.wait_for(2).await;
    client.write_all(&[messages(RECORDED + 2..=RECORDED + 2), messages(1..=1)].concat()).await.unwrap();
    assert_eq!(taken.recv().await, Some(1));
    assert_eq!(receive(&mut client).await, (REFUSED, u32::from(RECORDED) + 2));
    assert_eq!(receive(&mut client).await, (2, 0));
    journal.write_to_disk(2);
    assert_eq!(receive(&mut client).await, (2, 2));
    client.write_all(&messages(RECORDED..=RECORDED)).await.unwrap();
    journal.wait_for(3).await;
    journal.write_to_disk(3);
    rig.end();
}

#[tokio::test]
async fn a_failed_journal_answers_nothing_until_it_has_written_all_the_same() {
    let (reports, _taken) = mpsc::channel(9);
    let (journal, rig) = recording(100, LONG, reports);
    let mut client = rig.connect().await;
    client.write_all(&messages(RECORDED..=RECORDED)).await.unwrap();
    journal.wait_for(1).await;
    journal.fail();
    // The failure reaches the shard at some time; from then on records are refused.
    let refused = loop {
        client.write_all(&messages(RECORDED + 1..=RECORDED + 1)).await.unwrap();
        client.write_all(&messages(1..=1)).await.unwrap();
        match receive(&mut client).await {
            (2, 0) => {}
            other => break other,
        }
    };
    assert_eq!(refused, (REFUSED, u32::from(RECORDED) + 1));
    while receive(&mut client).await != (2, 0) {}
    let written = journal.records.lock().unwrap().len();
    journal.write_to_disk(written as u64);
    let mut answered = 0;
    while answered < written {
        answered += receive(&mut client).await.1 as usize;
    }
    client.write_all(&messages(RECORDED..=RECORDED)).await.unwrap();
    journal.wait_for(written as u64 + 1).await;
    journal.write_to_disk(written as u64 + 1);
    rig.end();
}

#[tokio::test]
async fn a_connection_that_ended_is_passed_over() {
    let (reports, _taken) = mpsc::channel(9);
    let (journal, rig) = recording(100, LONG, reports);
    let (mut alice, mut bob) = (rig.connect().await, rig.connect().await);
    alice.write_all(&messages(RECORDED..=RECORDED)).await.unwrap();
    journal.wait_for(1).await;
    bob.write_all(&messages(RECORDED..=RECORDED)).await.unwrap();
    journal.wait_for(2).await;
    alice.shutdown().await.unwrap();
    assert_eq!(alice.read(&mut [0]).await.unwrap(), 0, "it is gone");
    journal.write_to_disk(2);
    assert_eq!(receive(&mut bob).await, (2, 1));
    rig.end();
}

#[tokio::test]
async fn at_the_end_peers_are_told_and_served_until_they_go() {
    let (reports, mut taken) = mpsc::channel(9);
    let (journal, rig) = {
        let journal = Held::new();
        let recording = Recording { journal: journal.clone(), bounds: Bounds::default() };
        (journal, Rig::draining(LONG, reports, Some(recording)))
    };
    let (mut alice, mut bob) = (rig.connect().await, rig.connect().await);
    alice.write_all(&messages(1..=1)).await.unwrap();
    bob.write_all(&messages(2..=2)).await.unwrap();
    assert_eq!((receive(&mut alice).await, receive(&mut bob).await), ((2, 0), (2, 0)));
    rig.shutdown.cancel();
    assert_eq!((receive(&mut alice).await, receive(&mut bob).await), ((DRAINED, 0), (DRAINED, 0)));
    alice.write_all(&messages(RECORDED..=RECORDED)).await.unwrap();
    journal.wait_for(1).await;
    drop(bob);
    journal.write_to_disk(1);
    assert_eq!(receive(&mut alice).await, (2, 1));
    drop(alice);
    // Long before the drain's time is up.
    rig.end();
    assert_eq!((taken.recv().await.is_some(), taken.recv().await.is_some()), (true, true));
}

#[tokio::test]
async fn what_is_under_way_to_the_disk_at_the_end_is_still_answered() {
    let (reports, _taken) = mpsc::channel(9);
    let (journal, rig) = recording(100, LONG, reports);
    let mut client = rig.connect().await;
    client.write_all(&messages(RECORDED..=RECORDED + 1)).await.unwrap();
    journal.wait_for(2).await;
    rig.shutdown.cancel();
    while receive(&mut client).await != (DRAINED, 0) {}
    journal.write_to_disk(2);
    assert_eq!(receive(&mut client).await, (2, 2));
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    rig.end();
}

#[tokio::test]
async fn an_answer_that_is_owed_at_the_end_is_waited_for() {
    let (reports, _taken) = mpsc::channel(9);
    let rig = Rig::new(reports, None);
    let mut client = rig.connect().await;
    client.write_all(&[messages(1..=1), messages(SLOW..=SLOW)].concat()).await.unwrap();
    assert_eq!(receive(&mut client).await, (2, 0));
    rig.shutdown.cancel();
    while receive(&mut client).await != (2, SLOW.into()) {}
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    rig.end();
}
