//! When to try again after a connection was lost.

use std::{fmt::Display, time::Duration};

use super::port::{Closed, Port};
use crate::Event;

/// First wait before another attempt to connect.
pub(crate) const RETRY_FIRST: Duration = Duration::from_millis(250);
/// Longest wait before another attempt to connect.
pub(crate) const RETRY_MOST: Duration = Duration::from_secs(10);

/// The next wait: doubles with each failure, and starts anew after a connection that held.
#[derive(Debug)]
pub(crate) struct Backoff {
    retry_in: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { retry_in: RETRY_FIRST }
    }
}

impl Backoff {
    /// Tells the user why a connection that held for `held` has ended, and waits for the next attempt.
    pub(crate) async fn wait(&mut self, port: &mut Port, held: Duration, reason: &impl Display) -> Result<(), Closed> {
        // A connection that held for a while was a good one.
        if held > RETRY_MOST {
            self.retry_in = RETRY_FIRST;
        }
        let retry_in = self.retry_in;
        self.retry_in = (retry_in * 2).min(RETRY_MOST);
        tracing::debug!(%reason, ?retry_in, "no templates from the node");
        port.emit(Event::Down { reason: reason.to_string(), retry_in });
        port.idle_while(tokio::time::sleep(retry_in)).await
    }
}
