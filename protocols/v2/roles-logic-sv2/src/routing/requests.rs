//! Requests on their way.

use alloc::collections::{BTreeMap, BTreeSet};
use core::time::Duration;

use super::RoutingError;
use crate::ids::RequestId;

/// Requests that were passed on under ids of our own, until they are answered or given up.
///
/// `T` is what is to be known of a request when its answer comes. For the protocols whose answers repeat a U32: the Mining and the
/// Job Declaration Protocol.
#[derive(Clone, Debug)]
pub struct RequestMap<D, T = ()> {
    limit: usize,
    pub(super) last: u32,
    pending: BTreeMap<RequestId, Pending<D, T>>,
    origins: BTreeSet<(D, RequestId)>,
    /// By when they are given up.
    deadlines: BTreeSet<(Duration, RequestId)>,
}

#[derive(Clone, Debug)]
struct Pending<D, T> {
    request: Request<D, T>,
    deadline: Duration,
}

/// A request that is not on its way any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<D, T = ()> {
    /// Who asked; `None` when it is gone meanwhile. What was opened for it is to be closed then.
    pub origin: Option<D>,
    /// The id under which it asked.
    pub id: RequestId,
    /// What was to be known of it.
    pub data: T,
}

impl<D: Copy + Ord, T> RequestMap<D, T> {
    /// For at most `limit` requests on their way.
    pub const fn new(limit: usize) -> Self {
        Self { limit, last: 0, pending: BTreeMap::new(), origins: BTreeSet::new(), deadlines: BTreeSet::new() }
    }

    /// Number of requests on their way.
    pub fn len(&self) -> usize {
        self.pending.len()
    }

    /// Whether no request is on its way.
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// The id under which to pass on a request; no other request on its way has it.
    pub fn insert(&mut self, origin: D, id: RequestId, data: T, deadline: Duration) -> Result<RequestId, RoutingError> {
        if self.pending.len() >= self.limit.min(u32::MAX as usize) {
            return Err(RoutingError::Full { limit: self.limit });
        }
        if !self.origins.insert((origin, id)) {
            return Err(RoutingError::RequestInUse(id));
        }
        loop {
            self.last = self.last.wrapping_add(1);
            if !self.pending.contains_key(&RequestId(self.last)) {
                break;
            }
        }
        let upstream = RequestId(self.last);
        self.pending.insert(upstream, Pending { request: Request { origin: Some(origin), id, data }, deadline });
        self.deadlines.insert((deadline, upstream));
        Ok(upstream)
    }

    /// The request that an answer from upstream is to. `None` when there is none: it was given up, or the server made it up.
    /// What it opened is to be closed then.
    pub fn answer(&mut self, upstream: RequestId) -> Option<Request<D, T>> {
        let Pending { request, deadline } = self.pending.remove(&upstream)?;
        self.deadlines.remove(&(deadline, upstream));
        if let Some(origin) = request.origin {
            self.origins.remove(&(origin, request.id));
        }
        Some(request)
    }

    /// A downstream connection is gone. Its requests stay, so that their answers are recognised.
    pub fn abandon(&mut self, origin: D) {
        // Rare, and as many steps as there are requests.
        for pending in self.pending.values_mut().filter(|pending| pending.request.origin == Some(origin)) {
            self.origins.remove(&(origin, pending.request.id));
            pending.request.origin = None;
        }
    }

    /// When [`give_up`](Self::give_up) has something to return.
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Takes out a request whose time is over; to be called until nothing comes.
    pub fn give_up(&mut self, now: Duration) -> Option<Request<D, T>> {
        let (_, upstream) = *self.deadlines.first().filter(|(deadline, _)| now >= *deadline)?;
        self.answer(upstream)
    }
}
