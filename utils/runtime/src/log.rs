//! Logs through `tracing`, for people or machines.

use std::io::IsTerminal;

use tracing_subscriber::{EnvFilter, filter::LevelFilter};

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Lines for people; coloured on a terminal.
    #[default]
    Human,
    /// One JSON object a line.
    Json,
}

/// Starts logging to standard error. `RUST_LOG` overrides `level`; a second call does nothing.
pub fn init(format: Format, level: LevelFilter) {
    let filter = EnvFilter::builder().with_default_directive(level.into()).from_env_lossy();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let _ = match format {
        Format::Human => builder.with_ansi(std::io::stderr().is_terminal()).with_target(false).try_init(),
        Format::Json => builder.json().try_init(),
    };
}

pub use tracing_subscriber::filter::LevelFilter as Level;
