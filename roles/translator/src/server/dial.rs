//! Connections upstream, a task each.

use std::time::Duration;

use framing_sv2::{Header, Sv2Frame};
use network_helpers::{Connection, Error as NetworkError, Phase, Security};
use noise_sv2::url::EndpointUrl;
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, timeout},
};

/// Longest message that is taken from an upstream: an extended job with the longest coinbase and merkle path needs 140 KB.
const MAX_MESSAGE_BYTES: u32 = 256 * 1024;
/// An upstream that does not take our bytes within this time is given up.
const WRITE_DEADLINE: Duration = Duration::from_secs(10);
/// Frames that are put into one write.
const FRAMES_PER_WRITE: usize = 1_024;

/// What comes of a connection.
#[derive(Debug)]
pub enum LinkInput {
    /// It came about.
    Connected { upstream: usize, attempt: u64, took: Duration },
    /// It did not, or has ended.
    Ended { upstream: usize, attempt: u64, reason: String },
    /// A frame came.
    Frame { upstream: usize, attempt: u64, header: Header, payload: Vec<u8> },
}

/// The connections that there are, one for each upstream at the most.
#[derive(Debug)]
pub struct Connections {
    /// By upstream: which connection, and what is sent over it. What waits there is bounded by the shares that may be without a verdict
    /// ([`MAX_PENDING`](crate::hub::MAX_PENDING)) and by the deadline for writing.
    open: Vec<Option<(u64, mpsc::UnboundedSender<Sv2Frame<'static>>)>>,
    within: Duration,
    inputs: mpsc::Sender<LinkInput>,
    tasks: JoinSet<()>,
}

impl Connections {
    pub fn new(upstreams: usize, within: Duration, inputs: mpsc::Sender<LinkInput>) -> Self {
        Self { open: (0..upstreams).map(|_| None).collect(), within, inputs, tasks: JoinSet::new() }
    }

    pub fn dial(&mut self, upstream: usize, attempt: u64, url: EndpointUrl, plain: bool) {
        while self.tasks.try_join_next().is_some() {}
        let (frames, outgoing) = mpsc::unbounded_channel();
        if let Some(open) = self.open.get_mut(upstream) {
            *open = Some((attempt, frames));
        }
        let (inputs, within) = (self.inputs.clone(), self.within);
        self.tasks.spawn(async move {
            let reason = match run(upstream, attempt, &url, plain, within, outgoing, &inputs).await {
                Ok(()) => return,
                Err(error) => error.to_string(),
            };
            // A hub that has ended needs to know no more.
            let _ = inputs.send(LinkInput::Ended { upstream, attempt, reason }).await;
        });
    }

    pub fn send(&self, upstream: usize, attempt: u64, header: Header, payload: Vec<u8>) {
        if let Some(Some((current, frames))) = self.open.get(upstream)
            && *current == attempt
            && let Ok(frame) = Sv2Frame::new(header, payload)
        {
            // A connection that has ended says so.
            let _ = frames.send(frame);
        }
    }

    pub fn hang_up(&mut self, upstream: usize, attempt: u64) {
        if let Some(open) = self.open.get_mut(upstream) {
            open.take_if(|(current, _)| *current == attempt);
        }
    }

    /// Waits for what is on its way to leave.
    pub async fn end(mut self, within: Duration) {
        self.open.clear();
        let _ = timeout(within, async { while self.tasks.join_next().await.is_some() {} }).await;
    }
}

/// Runs a connection until it is hung up, or breaks.
async fn run(
    upstream: usize,
    attempt: u64,
    url: &EndpointUrl,
    plain: bool,
    within: Duration,
    mut outgoing: mpsc::UnboundedReceiver<Sv2Frame<'static>>,
    inputs: &mpsc::Sender<LinkInput>,
) -> Result<(), NetworkError> {
    let security = if plain { Security::Plain } else { Security::Noise { authority: url.authority() } };
    let start = Instant::now();
    let mut connection = Connection::connect_within(&url.address(), security, within).await?;
    connection.set_max_payload(MAX_MESSAGE_BYTES);
    let (mut reader, mut writer) = connection.split();
    if inputs.send(LinkInput::Connected { upstream, attempt, took: start.elapsed() }).await.is_err() {
        return Ok(());
    }
    let reading = async {
        loop {
            let frame = reader.read_frame().await?;
            let (header, payload) = (frame.header(), frame.payload().to_vec());
            if inputs.send(LinkInput::Frame { upstream, attempt, header, payload }).await.is_err() {
                return Ok::<_, NetworkError>(());
            }
        }
    };
    let writing = async {
        let mut frames = Vec::new();
        while outgoing.recv_many(&mut frames, FRAMES_PER_WRITE).await > 0 {
            for frame in frames.drain(..) {
                writer.queue_frame(&frame)?;
            }
            let late = || NetworkError::Timeout { phase: Phase::Messages, after: WRITE_DEADLINE };
            timeout(WRITE_DEADLINE, writer.flush()).await.map_err(|_| late())??;
        }
        writer.shutdown().await
    };
    tokio::select! {
        ended = reading => ended,
        ended = writing => ended,
    }
}
