//! Mining channels, from the server's side and from the client's.

pub mod client;
pub mod clients;
pub mod group;
pub mod server;

/// Whether a channel rolls its extranonce (sv2-spec §5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Header-only mining: one merkle root per job.
    Standard,
    /// The client rolls this many bytes of extranonce.
    Extended {
        /// Granted size in bytes.
        extranonce_size: usize,
    },
}
