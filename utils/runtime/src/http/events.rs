//! What happens, as it happens: server-sent events.

use std::{sync::Arc, time::Duration};

use axum::{
    body::{Body, Bytes},
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use futures_util::stream;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast};

use super::ApiError;
use crate::shutdown::Shutdown;

/// Events that a subscriber may be behind before it is dropped; its browser comes again by itself.
const MAX_BEHIND: usize = 128;
/// Silence after which a comment is sent, so that nothing on the way closes the connection.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// What a browser waits before it comes again, in milliseconds.
const COME_AGAIN: &str = "retry: 3000\n\n";

/// An event as it is sent, made once for all subscribers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event(Bytes);

impl Event {
    /// An event of this name, with data as JSON.
    ///
    /// # Errors
    /// When the data makes no JSON.
    pub fn new(name: &str, data: &impl Serialize) -> Result<Self, serde_json::Error> {
        // Line breaks within strings are escaped, and there are no others.
        Ok(Self(format!("event: {name}\ndata: {}\n\n", serde_json::to_string(data)?).into()))
    }
}

/// Tells subscribers of events. Clones are the same.
#[derive(Clone, Debug)]
pub struct Events {
    sender: broadcast::Sender<Event>,
    places: Arc<Semaphore>,
    shutdown: Shutdown,
}

impl Events {
    /// For so many subscribers at most.
    pub fn new(subscribers: usize, shutdown: Shutdown) -> Self {
        Self { sender: broadcast::Sender::new(MAX_BEHIND), places: Arc::new(Semaphore::new(subscribers)), shutdown }
    }

    /// Whether there are any subscribers.
    pub fn is_watched(&self) -> bool {
        self.sender.receiver_count() > 0
    }

    /// How many there are.
    pub fn subscribers(&self) -> usize {
        self.sender.receiver_count()
    }

    /// Tells all subscribers.
    pub fn publish(&self, event: Event) {
        // It may be that nobody is there.
        let _ = self.sender.send(event);
    }

    /// The answer to a new subscriber: `first`, then what is published, until the server ends or the subscriber is too slow.
    ///
    /// # Errors
    /// When there are too many subscribers.
    pub fn subscribe(&self, first: Option<Event>) -> Result<Response, ApiError> {
        let place = self.places.clone().try_acquire_owned();
        let place = place.map_err(|_| ApiError::unavailable("too many watch already; try again later"))?;
        let beginning = std::iter::once(Bytes::from_static(COME_AGAIN.as_bytes())).chain(first.map(|event| event.0));
        let subscriber = Subscriber {
            beginning: beginning.collect::<Vec<_>>().into_iter(),
            receiver: self.sender.subscribe(),
            shutdown: self.shutdown.clone(),
            _place: place,
        };
        let stream = stream::unfold(subscriber, |mut subscriber| async {
            let next = subscriber.next().await?;
            Some((Ok::<_, std::convert::Infallible>(next), subscriber))
        });
        let mut response = Body::from_stream(stream).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        // A reverse proxy that gathers answers would hold events back.
        headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
        Ok(response)
    }
}

struct Subscriber {
    beginning: std::vec::IntoIter<Bytes>,
    receiver: broadcast::Receiver<Event>,
    shutdown: Shutdown,
    _place: OwnedSemaphorePermit,
}

impl Subscriber {
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(bytes) = self.beginning.next() {
            return Some(bytes);
        }
        tokio::select! {
            () = self.shutdown.cancelled() => None,
            event = self.receiver.recv() => event.ok().map(|event| event.0),
            () = tokio::time::sleep(KEEP_ALIVE) => Some(Bytes::from_static(b":\n\n")),
        }
    }
}
