//! `/openapi.json`, and a page that shows it to people.

use axum::{
    Router,
    body::Bytes,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use utoipa::openapi::OpenApi;

const PAGE: &str = include_str!("docs/index.html");
const SCRIPT: &str = include_str!("docs/docs.js");
const STYLE: &str = include_str!("docs/docs.css");

pub(super) fn routes(openapi: &OpenApi) -> Router {
    let document = serde_json::to_vec(openapi).unwrap_or_else(|error| {
        tracing::error!("the OpenAPI document can not be shown: {error}");
        Vec::new()
    });
    let document = Bytes::from(document);
    let document = async move || file("application/json", document);
    let text =
        |kind: &'static str, text: &'static str| get(async move || file(kind, Bytes::from_static(text.as_bytes())));
    Router::new()
        .route("/openapi.json", get(document))
        .route("/docs", text("text/html; charset=utf-8", PAGE))
        .route("/docs/docs.js", text("text/javascript; charset=utf-8", SCRIPT))
        .route("/docs/docs.css", text("text/css; charset=utf-8", STYLE))
}

fn file(kind: &'static str, bytes: Bytes) -> Response {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    (StatusCode::OK, headers, bytes).into_response()
}
