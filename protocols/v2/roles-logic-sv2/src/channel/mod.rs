//! Mining channels, from the server's side and from the client's.

// client
pub mod server;
