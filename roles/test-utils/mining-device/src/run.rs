//! The miner as a whole: start, connections, and the time between them.

use std::time::{Duration, Instant};

use noise_sv2::url::EndpointUrl;
use rand_core::{OsRng, RngCore as _};
use stratum_runtime::{
    backoff::Backoff,
    key_log::{self, KeyLogFileError},
    redirect,
    shutdown::Shutdown,
};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::{
    config::{InvalidConfig, MinerConfig, Protocol},
    link::{self, Machine, Outcome},
    meter::{Meter, benchmark},
    session::{End, Settings},
    status::{Rate, Status},
    workers::Workers,
};

/// A connection that lasted so long was a good one, shares or not; the delay before the next starts over.
const GOOD_CONNECTION: Duration = Duration::from_secs(30);

/// Why a miner does not start. Once it runs, it goes on until it is told to end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration makes no sense.
    #[error(transparent)]
    Config(#[from] InvalidConfig),
    /// The system gives no threads.
    #[error("can not start the hashing threads: {0}; ask for fewer with --threads")]
    Threads(std::io::Error),
    /// The key log can not be written.
    #[error(transparent)]
    KeyLog(#[from] KeyLogFileError),
}

/// Mines until `shutdown`, through any number of connections; `status` tells how it goes.
///
/// # Errors
/// Only before it has begun.
pub async fn run(config: MinerConfig, shutdown: Shutdown, status: watch::Sender<Status>) -> Result<(), Error> {
    config.check()?;
    let key_log = key_log::open(config.debug_key_log.as_deref())?;
    let (threads, origin) = (config.thread_count(), Instant::now());
    let workers = Workers::start(threads, config.max_shares_per_second, origin).map_err(Error::Threads)?;
    let hashrate = match config.nominal_hashrate {
        Some(hashrate) => hashrate,
        None => benchmark(&workers).await,
    };
    let (user, address) = (config.user_identity.escape_debug(), config.url.address());
    info!("mining for {user} at {address} with {threads} threads, {} nominal", Rate(hashrate.into()));
    if let Protocol::V1 { tls, .. } = &config.protocol {
        if tls.is_none() {
            warn!("Stratum V1 without TLS: whoever is on the way can read and change all of it");
        }
    } else if config.plain {
        warn!("the connection is not encrypted; use --plain in trusted networks only");
    } else if config.url.authority().is_none() {
        warn!("the URL names no authority key, so the server can not be told from an impostor");
    }
    let machine = Machine { workers, meter: Meter::new(threads), hashrate, status, origin, key_log };
    connections(machine, config, &shutdown).await;
    Ok(())
}

async fn connections(mut machine: Machine, config: MinerConfig, shutdown: &Shutdown) {
    let mut backoff = Backoff::new(config.reconnect_first, config.reconnect_most);
    let mut url = config.url.clone();
    loop {
        let (start, accepted) = (Instant::now(), machine.status.borrow().accepted);
        let dialled = MinerConfig { url: url.clone(), ..config.clone() };
        let settings = Settings { config: dialled, hashrate: machine.hashrate, threads: machine.workers.count() };
        let outcome = link::run(&mut machine, settings, &url, shutdown).await;
        let reason = match &outcome {
            Outcome::Shutdown => return,
            Outcome::Network(error) => error.to_string(),
            Outcome::Session(end) => end.to_string(),
        };
        machine.status.send_modify(|status| {
            status.disconnects += 1;
            status.last_error = Some(reason.clone());
        });
        if machine.status.borrow().accepted > accepted || start.elapsed() >= GOOD_CONNECTION {
            backoff.reset();
        }
        url = next_url(&config, &url, &outcome);
        let delay = backoff.delay(OsRng.next_u32());
        warn!("{reason}; connecting to {} in {:.1} s", url.address(), delay.as_secs_f64());
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(delay) => {}
        }
    }
}

/// Where the server sent us, if it may; else what is configured.
fn next_url(config: &MinerConfig, present: &EndpointUrl, outcome: &Outcome) -> EndpointUrl {
    if let Outcome::Session(End::Redirected { host, port }) = outcome {
        match redirect::follow(&config.url, config.plain, present, host, *port) {
            Ok(url) => return url,
            Err(refusal) => warn!("not followed: {refusal}"),
        }
    }
    config.url.clone()
}
