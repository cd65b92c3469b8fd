//! Whose the data folder is: this process', or still that of the one before it (`docs/adr/0019-a-new-process-takes-over.md`).

use std::{
    fs::File,
    io,
    net::TcpListener,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use stratum_runtime::{
    handover::{Offer, PATIENCE, Succession},
    shutdown::Shutdown,
    sockets::Inherited,
};
use tokio::{
    sync::{oneshot, watch},
    task::JoinHandle,
};

use crate::{
    blocks::{BlockState, FoundBlock},
    epoch,
    snapshot::Snapshot,
    store::BlockStore,
};

/// Pause between two looks at whether the process before this one has let go of the data folder.
pub(crate) const LOOK: Duration = Duration::from_millis(50);

/// How much sooner than the other process gives up on this one, this one gives up itself.
const READY_RESERVE: Duration = Duration::from_secs(10);

/// How a pool begins.
#[derive(Debug, Default)]
pub struct Beginning {
    /// Sockets that somebody else has opened.
    pub inherited: Inherited,
    /// The process whose place is taken, if it is still there.
    pub succession: Option<Succession>,
}

impl Beginning {
    /// Takes the place of the process that runs on `data_dir`, if there is one.
    ///
    /// # Errors
    /// When there is one that does not hand over its sockets.
    pub async fn take_over(data_dir: &Path) -> io::Result<Self> {
        Ok(match Succession::begin(data_dir).await? {
            Some((succession, inherited)) => Self { inherited, succession: Some(succession) },
            None => Self::default(),
        })
    }
}

/// The data folder, once it is this process' own.
#[derive(Debug)]
pub(crate) struct Estate {
    /// Held, so that no other pool uses the folder.
    pub lock: File,
    /// Found blocks whose fate is open.
    pub blocks: Vec<(FoundBlock, BlockState)>,
}

impl Estate {
    /// Takes the folder now.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] when another process has it.
    pub fn take(folder: &Path, store: &BlockStore) -> io::Result<Self> {
        let lock = epoch::lock(folder)?;
        Ok(Self { lock, blocks: store.undecided()? })
    }

    /// Takes the folder when the process before this one has let go of it.
    pub async fn inherit(folder: PathBuf, store: BlockStore) -> io::Result<Self> {
        loop {
            match Self::take(&folder, &store) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => tokio::time::sleep(LOOK).await,
                taken => return taken,
            }
        }
    }
}

/// Tells the process before this one that it may end, when there is a job to give out. If that takes too long, this process
/// ends, and the other goes on.
pub(crate) async fn confirm(succession: Succession, mut snapshots: watch::Receiver<Arc<Snapshot>>, shutdown: Shutdown) {
    let ready = async {
        let served = snapshots.wait_for(|snapshot| snapshot.tip.is_some()).await;
        served.map(drop).map_err(io::Error::other)?;
        succession.ready().await
    };
    let confirmed = tokio::select! {
        () = shutdown.cancelled() => return,
        confirmed = tokio::time::timeout(PATIENCE - READY_RESERVE, ready) => confirmed,
    };
    match confirmed.unwrap_or(Err(io::ErrorKind::TimedOut.into())) {
        Ok(()) => tracing::info!("taking over: the process before this one sends its miners here"),
        Err(error) => {
            tracing::error!("can not take over, so this process ends and the one before it goes on: {error}");
            shutdown.cancel();
        }
    }
}

/// Offers this process' sockets to a successor, once the folder is its own; then lets it all end.
pub(crate) async fn offer(
    folder: PathBuf,
    owned: oneshot::Receiver<()>,
    sockets: Vec<TcpListener>,
    accepting: (Shutdown, Shutdown, Vec<JoinHandle<()>>),
    shutdown: Shutdown,
) {
    let (stop_accepting, stop_http, accepts) = accepting;
    let handed_over = async {
        if owned.await.is_err() {
            return std::future::pending().await;
        }
        match Offer::open(&folder) {
            Ok(offer) => offer.handed_over(&sockets).await,
            Err(error) => {
                tracing::warn!("no other process can take over from this one: {error}");
                std::future::pending().await
            }
        }
    };
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = handed_over => {
            tracing::info!("another process takes over");
            // It answers for both from now on.
            stop_http.cancel();
        }
    }
    // What was accepted is in the shards' hands before they hear of the end.
    stop_accepting.cancel();
    for accept in accepts {
        if let Err(error) = accept.await {
            tracing::error!("a listener failed: {error}");
        }
    }
    shutdown.cancel();
}
