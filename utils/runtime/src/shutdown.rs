//! Orderly ends: Ctrl-C and SIGTERM.

pub use tokio_util::sync::CancellationToken as Shutdown;

/// A token that is cancelled by Ctrl-C or SIGTERM. A second Ctrl-C ends the process at once.
///
/// Must be called within a tokio runtime.
///
/// # Errors
/// When the system refuses the signal handlers.
pub fn on_signal() -> std::io::Result<Shutdown> {
    let token = Shutdown::new();
    let cancelled = token.clone();
    #[cfg(unix)]
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::spawn(async move {
        #[cfg(unix)]
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
        #[cfg(not(unix))]
        let _ = tokio::signal::ctrl_c().await;
        tracing::info!("stopping; press Ctrl-C again to stop at once");
        cancelled.cancel();
        let _ = tokio::signal::ctrl_c().await;
        std::process::exit(130);
    });
    Ok(token)
}
