//! The mining core: shares to verdicts, templates to jobs, jobs to messages. Prints a table in Markdown; of one part only
//! when called with `shares`, `jobs` or `scale`.

mod fixture;
#[path = "../wire/handshake.rs"]
#[allow(dead_code, reason = "the wire bench measures the handshakes")]
mod handshake;
mod jobs;
mod scale;
mod shares;

use stratum_bench::{Row, markdown, measure};

/// Turns of about a millisecond for each way to do a row's work.
const ROUNDS: usize = 200;
/// Turns for rows whose work takes many milliseconds.
const LONG_ROUNDS: usize = 10;

/// Part, row and rounds.
type Entry = (&'static str, fn() -> Row<'static>, usize);

fn main() {
    // `cargo test --benches` only asks whether the benches run.
    let measured = std::env::args().any(|arg| arg == "--bench");
    let wanted = std::env::args().skip(1).find(|arg| !arg.starts_with('-')).unwrap_or_default();
    let rows: [Entry; 10] = [
        ("shares", shares::extended, ROUNDS),
        ("shares", shares::standard, ROUNDS),
        ("jobs", jobs::template, ROUNDS),
        ("jobs", jobs::prev_hash, ROUNDS),
        ("jobs", jobs::messages, ROUNDS),
        ("scale", scale::one, ROUNDS),
        ("scale", scale::thousand, ROUNDS),
        ("scale", scale::standard, LONG_ROUNDS),
        ("scale", scale::solo, LONG_ROUNDS),
        ("scale", scale::hundred_thousand, LONG_ROUNDS),
    ];
    let rows = rows.into_iter().filter(|(part, ..)| if measured { part.contains(&wanted) } else { *part == "shares" });
    let rows: Vec<_> = rows.map(|(_, row, rounds)| measure(row(), if measured { rounds } else { 1 })).collect();
    print!("{}", markdown(&rows));
}
