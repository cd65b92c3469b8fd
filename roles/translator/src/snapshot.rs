//! What hub and sessions tell each other.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use roles_logic_sv2::{JobId, extranonce::Extranonce};
use stratum_runtime::core::ConnectionId;

use crate::job::{ChannelKey, ChannelState};

/// What all sessions are to know.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The routes, in the order of the configuration.
    pub routes: Vec<RouteState>,
}

/// A route, as sessions see it.
#[derive(Clone, Debug)]
pub struct RouteState {
    /// How much of the hashrate it is to have, beside the others.
    pub weight: f64,
    /// Where its miners mine; another route's upstream while none of its own is up. `None` when none is up at all.
    pub up: Option<RouteUp>,
}

/// See [`RouteState::up`].
#[derive(Clone, Debug)]
pub enum RouteUp {
    /// All share this channel.
    Shared(Arc<ChannelState>),
    /// Each miner has a channel of its own, which it hears of by letter. These are the bytes that it is likely to roll.
    Own {
        /// Length of extranonce2.
        extranonce2: usize,
    },
}

/// Miners of each route, counted where they come and go.
#[derive(Clone, Debug)]
pub struct Crowd(Arc<[AtomicUsize]>);

impl Crowd {
    /// For this many routes.
    pub fn new(routes: usize) -> Self {
        Self((0..routes).map(|_| AtomicUsize::new(0)).collect())
    }

    /// Miners of a route.
    pub fn of(&self, route: usize) -> usize {
        self.0.get(route).map_or(0, |count| count.load(Ordering::Relaxed))
    }

    /// Puts a miner on the route that has the fewest for its weight, of those that are up if any is.
    pub fn join(&self, snapshot: &Snapshot) -> Member {
        let is_up = |route: &&(usize, &RouteState)| route.1.up.is_some();
        let routes: Vec<_> = snapshot.routes.iter().enumerate().filter(|(_, route)| route.weight > 0.0).collect();
        let any_up = routes.iter().any(|route| is_up(&route));
        let filled = |route: &&(usize, &RouteState)| (self.of(route.0) + 1) as f64 / route.1.weight;
        let candidates = routes.iter().filter(|route| !any_up || is_up(route));
        let route = candidates.min_by(|a, b| filled(a).total_cmp(&filled(b))).map_or(0, |(index, _)| *index);
        Member::new(self.clone(), route)
    }
}

/// A miner's membership in a route.
#[derive(Debug)]
pub struct Member {
    crowd: Crowd,
    route: usize,
}

impl Member {
    fn new(crowd: Crowd, route: usize) -> Self {
        if let Some(count) = crowd.0.get(route) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        Self { crowd, route }
    }

    /// Index of the route.
    pub const fn route(&self) -> usize {
        self.route
    }

    /// The same miner on another route.
    #[must_use]
    pub fn moved(self, route: usize) -> Self {
        Self::new(self.crowd.clone(), route)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if let Some(count) = self.crowd.0.get(self.route) {
            count.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// What a session tells the hub.
#[derive(Clone, Debug)]
pub enum Report {
    /// A miner wants a channel of its own.
    Open {
        /// Whose it is.
        from: ConnectionId,
        /// The route.
        route: usize,
        /// The user name of the first worker.
        username: Arc<str>,
    },
    /// A share for the upstream; the answer is a [`Letter::Verdict`].
    Share(ForwardedShare),
}

/// See [`Report::Share`].
#[derive(Clone, Debug)]
pub struct ForwardedShare {
    /// Whose it is.
    pub from: ConnectionId,
    /// The session's number for it.
    pub ticket: u32,
    /// The channel that its job is of.
    pub channel: ChannelKey,
    /// The upstream's name of the job.
    pub job_id: JobId,
    /// nVersion of the header, whole.
    pub version: u32,
    /// nTime of the header.
    pub ntime: u32,
    /// nonce of the header.
    pub nonce: u32,
    /// All behind the channel's prefix.
    pub rolled: Extranonce,
    /// The worker's name for extension 0x0002.
    pub worker: Arc<str>,
}

/// What the hub tells one session.
#[derive(Clone, Debug)]
pub enum Letter {
    /// What became of a share.
    Verdict {
        /// The session's number for it.
        ticket: u32,
        /// What became of it.
        verdict: UpstreamVerdict,
    },
    /// The miner's own channel, as it is now; `None` while there is none.
    Channel(Option<Arc<ChannelState>>),
    /// The upstream gives this miner no channel.
    Refused(Arc<str>),
    /// The miner is to mine for another route.
    Move(usize),
}

/// See [`Letter::Verdict`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpstreamVerdict {
    /// The upstream accepted it.
    Accepted,
    /// The upstream refused it, with this code.
    Rejected(Arc<str>),
    /// Nobody will ever say: the channel has ended, or took no more.
    Lost(&'static str),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn miners_are_spread_by_weight_over_the_routes_that_are_up() {
        let up = || Some(RouteUp::Own { extranonce2: 8 });
        let route = |weight, up| RouteState { weight, up };
        let mut snapshot = Snapshot { routes: vec![route(3.0, up()), route(1.0, up()), route(0.0, up())] };
        let crowd = Crowd::new(3);
        let mut members: Vec<_> = (0..8).map(|_| crowd.join(&snapshot)).collect();
        assert_eq!([0, 1, 2].map(|route| crowd.of(route)), [6, 2, 0]);
        members.retain(|member| member.route() == 0);
        assert_eq!([0, 1].map(|route| crowd.of(route)), [6, 0]);
        snapshot.routes[1].up = None;
        assert_eq!(crowd.join(&snapshot).route(), 0);
        snapshot.routes[0].up = None;
        assert_eq!(crowd.join(&snapshot).route(), 1, "none is up: by weight");
        let moved = members.pop().map(|member| member.moved(1));
        assert_eq!(([0, 1].map(|route| crowd.of(route)), moved.map(|m| m.route())), ([5, 1], Some(1)));
    }
}
