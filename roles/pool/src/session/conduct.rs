//! How a peer behaves: how much it sends, and how many of its shares are invalid.

use std::time::Duration;

use mining_sv2::Mining;
use roles_logic_sv2::share::RejectReason;
use stratum_runtime::bucket::TokenBucket;

use crate::limits::SessionLimits;

/// Channels that a connection may lose to floods of invalid shares; with one more it is closed.
pub(super) const FLOODED_CHANNELS: u32 = 8;

/// What a connection has left of what it may use up.
#[derive(Debug)]
pub(crate) struct Conduct {
    limits: SessionLimits,
    requests: TokenBucket,
    shares: TokenBucket,
    /// Shares for channels that it does not have.
    astray: TokenBucket,
    flooded_channels: u32,
    /// When its last share was accepted.
    pub last_work: Option<Duration>,
}

impl Conduct {
    pub fn new(now: Duration, limits: SessionLimits) -> Self {
        Self {
            limits,
            requests: TokenBucket::full(now, limits.requests),
            shares: TokenBucket::full(now, limits.shares),
            astray: TokenBucket::full(now, limits.invalid_shares),
            flooded_channels: 0,
            last_work: None,
        }
    }

    /// What a new channel has.
    pub fn of_channel(&self, now: Duration) -> TokenBucket {
        TokenBucket::full(now, self.limits.invalid_shares)
    }

    /// A message of Stratum V2 came.
    pub fn count(&mut self, now: Duration, message: &Mining<'_>) {
        match message {
            Mining::SubmitSharesStandard(_) | Mining::SubmitSharesExtended(_) => self.count_share(now),
            _ => self.count_request(now),
        }
    }

    /// A share came.
    pub fn count_share(&mut self, now: Duration) {
        self.shares.spend(now, self.limits.shares, 1.0);
    }

    /// Something else came.
    pub fn count_request(&mut self, now: Duration) {
        self.requests.spend(now, self.limits.requests, 1.0);
    }

    /// Until when the peer is not read from, because it has sent too much.
    pub fn paused_until(&self) -> Option<Duration> {
        self.requests.in_debt_until(self.limits.requests).max(self.shares.in_debt_until(self.limits.shares))
    }

    /// A share was refused. False when its channel has submitted too many such.
    pub fn tolerates(&self, now: Duration, channel: &mut TokenBucket, reason: RejectReason) -> bool {
        // Shares that came too late are nobody's fault.
        reason == RejectReason::Stale || channel.try_spend(now, self.limits.invalid_shares, 1.0)
    }

    /// A channel was closed for its invalid shares. False when the connection has lost too many.
    pub fn tolerates_loss(&mut self) -> bool {
        self.flooded_channels += 1;
        self.flooded_channels <= FLOODED_CHANNELS
    }

    /// A share came for a channel that is not open. False when there were too many.
    pub fn tolerates_astray(&mut self, now: Duration) -> bool {
        self.astray.try_spend(now, self.limits.invalid_shares, 1.0)
    }
}
