//! `sv2`: templates from a remote Template Provider, over the Template Distribution Protocol (sv2-spec §7).
//!
//! Each subscription is one connection: encrypted when the URL names the authority's key, else not. A connection that
//! breaks is made anew after a pause that doubles from [`FIRST_RETRY`] to [`LONGEST_RETRY`].
//!
//! # What it refuses
//! A connection ends, with the reason in [`Event::Down`](crate::Event::Down), when the Template Provider misses a deadline
//! ([`STEP_DEADLINE`]), breaks the order of messages, sends a template that no block can be made of, or names a template in
//! SetNewPrevHash that it never sent. A request to reconnect is followed to another host only where that host must show a
//! certificate of the same authority.
//!
//! # Limits
//! The protocol has no answer to a solution, so one that has left counts as [`Sent`](crate::SubmitOutcome::Sent); it has
//! no raw blocks. Frames may have up to 2^24 - 1 bytes, as a block's transactions come in one; memory follows what
//! has arrived. Ids of templates are renumbered, since those of a new connection begin anew.
//!
//! # Example
//! ```no_run
//! use template_source::{Constraints, TemplateSource, sv2::RemoteTemplateProvider};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), noise_sv2::UrlError> {
//! let url = "stratum2+tcp://127.0.0.1:8442/9bXiEd8boQVhq7WddEcERUL5tyyJVFYdU8th3HfbNXK3Yw6GRXh".parse()?;
//! let mut subscription = RemoteTemplateProvider::new(url).subscribe(Constraints::default());
//! while let Some(event) = subscription.events.recv().await {
//!     println!("{event:?}");
//! }
//! # Ok(()) }
//! ```

mod core;
mod driver;
mod queue;
mod templates;

#[cfg(test)]
mod tests;

use noise_sv2::url::EndpointUrl;

use crate::{Capabilities, Constraints, Subscription, TemplateSource};

pub use self::core::{
    Close, Core, FIRST_RETRY, LONGEST_RETRY, PENDING_REQUESTS, REQUEST_DEADLINE, STABLE_AFTER, STEP_DEADLINE,
    SendError, Sink, Step, UNSENT_DEADLINE, UNSENT_SOLUTIONS,
};
pub use queue::{EventQueue, QUEUED_EVENTS};
pub use templates::{BadTemplate, KNOWN_FUTURES, KNOWN_TEMPLATES};

/// A remote Template Provider as a source of templates.
#[derive(Clone, Debug)]
pub struct RemoteTemplateProvider {
    url: EndpointUrl,
}

impl RemoteTemplateProvider {
    /// The Template Provider at `url`. Without an authority key in it, connections are not encrypted.
    pub fn new(url: EndpointUrl) -> Self {
        Self { url }
    }
}

impl TemplateSource for RemoteTemplateProvider {
    fn name(&self) -> &str {
        "sv2"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { raw_blocks: false }
    }

    fn subscribe(&self, constraints: Constraints) -> Subscription {
        driver::subscribe(self.url.clone(), constraints)
    }
}
