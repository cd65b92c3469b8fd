//! Channels, jobs, shares and targets: what a Stratum V2 role needs beyond the wire
