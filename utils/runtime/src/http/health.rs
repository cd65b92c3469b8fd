//! `/healthz`: the process runs. `/readyz`: it can do its work.

use std::sync::Arc;

use axum::{Json, Router, http::StatusCode, response::IntoResponse, routing::get};
use serde::Serialize;
use utoipa::ToSchema;

/// One thing that a role needs for its work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Check {
    /// What it is: `template`, `ledger`.
    pub name: String,
    /// Whether it is there.
    pub ok: bool,
    /// What is wrong.
    pub detail: Option<String>,
}

/// Whether a role can do its work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Ready {
    /// Whether all checks are passed.
    pub ready: bool,
    /// Each of them.
    pub checks: Vec<Check>,
}

/// Asks the role.
#[derive(Clone)]
pub struct Readiness(Arc<dyn Fn() -> Vec<Check> + Send + Sync>);

impl std::fmt::Debug for Readiness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Readiness(..)")
    }
}

impl Readiness {
    /// Calls `checks` for each request.
    pub fn new(checks: impl Fn() -> Vec<Check> + Send + Sync + 'static) -> Self {
        Self(Arc::new(checks))
    }
}

pub(super) fn routes(readiness: Readiness) -> Router {
    let ready = async move || {
        let checks = (readiness.0)();
        let ready = checks.iter().all(|check| check.ok);
        let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        (status, Json(Ready { ready, checks })).into_response()
    };
    Router::new().route("/healthz", get(async || "ok\n")).route("/readyz", get(ready))
}
