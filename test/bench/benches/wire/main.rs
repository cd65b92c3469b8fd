//! The wire stack: shares with and without noise, handshakes, long messages. Prints a table in Markdown.

mod handshake;
mod noise;
mod plain;
mod share;

use stratum_bench::{Row, markdown, measure};

/// Turns of about a millisecond for each way to do a row's work.
const ROUNDS: usize = 200;

fn main() {
    // `cargo test --benches` only asks whether the benches run.
    let rounds = if std::env::args().any(|arg| arg == "--bench") { ROUNDS } else { 1 };
    let wanted = std::env::args().skip(1).find(|arg| !arg.starts_with('-')).unwrap_or_default();
    let rows = [noise::share as fn() -> Row<'static>, plain::encode, plain::decode, plain::fields_encode]
        .into_iter()
        .chain([plain::fields_decode, handshake::responder, handshake::both_sides, noise::longest]);
    let rows: Vec<_> = rows.filter(|row| row().is_called(&wanted)).map(|row| measure(row(), rounds)).collect();
    print!("{}", markdown(&rows));
}
