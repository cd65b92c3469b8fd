//! `stratum-simulation --seeds N [--start S]` runs many worlds, `--seed N` one, with the last events of its trace, or `--trace M` of them.
//! `--small` as the tests have them.

use std::{
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Instant,
};

use simulation::{Counters, Options, run};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str| {
        let index = args.iter().position(|arg| arg == name)?;
        args.get(index + 1)?.parse::<u64>().ok()
    };
    let options = if args.iter().any(|arg| arg == "--small") { Options::SMALL } else { Options::LARGE };
    let trace = number("--trace").and_then(|count| usize::try_from(count).ok()).unwrap_or(options.trace);
    let options = Options { trace, ..options };
    match (number("--seed"), number("--seeds")) {
        (Some(seed), None) => one(seed, options),
        (None, Some(count)) => many(number("--start").unwrap_or(1), count, options),
        _ => {
            eprintln!("usage: stratum-simulation (--seed N [--trace M] | --seeds N [--start S]) [--small]");
            ExitCode::from(2)
        }
    }
}

fn one(seed: u64, options: Options) -> ExitCode {
    let start = Instant::now();
    let outcome = run(seed, options);
    println!("{outcome}\n{}{:>12.0} ms", outcome.counters, start.elapsed().as_secs_f64() * 1e3);
    if outcome.violation.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn many(first: u64, count: u64, options: Options) -> ExitCode {
    let (start, next, failed) = (Instant::now(), AtomicU64::new(first), AtomicBool::new(false));
    let (counters, slowest) = (Mutex::new(Counters::default()), Mutex::new((0.0, 0)));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first.saturating_add(count) || failed.load(Ordering::Relaxed) {
                return;
            }
            let begin = cpu_seconds();
            let outcome = run(seed, options);
            let seconds = cpu_seconds() - begin;
            if outcome.violation.is_some() && !failed.swap(true, Ordering::Relaxed) {
                println!("{outcome}\n\nreplay with: cargo xtask simulate --seed {seed}");
            }
            if let (Ok(mut sum), Ok(mut slowest)) = (counters.lock(), slowest.lock()) {
                *sum += outcome.counters;
                if seconds > slowest.0 {
                    *slowest = (seconds, seed);
                }
            }
        }
    };
    thread::scope(|scope| {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        (0..threads).for_each(|_| {
            scope.spawn(work);
        });
    });
    if let (Ok(sum), Ok(slowest)) = (counters.lock(), slowest.lock()) {
        let seconds = start.elapsed().as_secs_f64();
        println!(
            "{sum}\n{:.1} worlds per second; the slowest took {:.2} s of CPU (seed {})",
            sum.worlds as f64 / seconds,
            slowest.0,
            slowest.1
        );
    }
    if failed.load(Ordering::Relaxed) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// What this thread has computed so far, in seconds; 0 where the system does not tell.
fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = text.split_whitespace().next().and_then(|number| number.parse::<u64>().ok());
    nanoseconds.unwrap_or(0) as f64 / 1e9
}
