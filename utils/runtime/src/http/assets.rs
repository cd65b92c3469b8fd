//! The files of a dashboard.

use std::borrow::Cow;

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
};

use super::ApiError;

/// A file.
#[derive(Clone, Debug)]
pub struct Asset {
    /// What is in it.
    pub bytes: Cow<'static, [u8]>,
    /// A hash of that.
    pub hash: [u8; 32],
}

/// Finds the file of a name such as `assets/index-1a2b.js`. Compressed variants have `.br` or `.gz` added to the name.
pub type Assets = fn(&str) -> Option<Asset>;

/// The page that an application begins with.
const INDEX: &str = "index.html";
/// Files below this never change: their names contain a hash of what is in them.
const IMMUTABLE: &str = "assets/";
/// Variants by their encoding, the smallest first.
const ENCODINGS: [(&str, &str); 2] = [("br", ".br"), ("gzip", ".gz")];

/// The file that a request asks for. Paths without an extension are the application's own, and get its page.
pub(super) fn serve(assets: Assets, request: &Request) -> Response {
    let path = request.uri().path();
    if path.starts_with("/api/") {
        return ApiError::not_found("there is no such path; /docs tells which there are").into_response();
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return ApiError::method_not_allowed().into_response();
    }
    let name = path.trim_start_matches('/');
    let is_page = name.rsplit('/').next().is_none_or(|last| !last.contains('.'));
    let name = if is_page { INDEX } else { name };
    if ENCODINGS.iter().any(|(_, suffix)| name.ends_with(suffix)) {
        return ApiError::not_found("there is no such file").into_response();
    }
    let variant = ENCODINGS.iter().filter(|(encoding, _)| accepts(request.headers(), encoding));
    let variant =
        variant.filter_map(|(encoding, suffix)| Some((Some(*encoding), assets(&format!("{name}{suffix}"))?))).next();
    match variant.or_else(|| Some((None, assets(name)?))) {
        Some((encoding, asset)) => answer(name, encoding, asset, request.headers()),
        None if is_page => {
            ApiError::not_found("no dashboard was built into this program; /docs describes the API").into_response()
        }
        None => ApiError::not_found("there is no such file").into_response(),
    }
}

fn answer(name: &str, encoding: Option<&'static str>, asset: Asset, request: &HeaderMap) -> Response {
    let mut headers = HeaderMap::new();
    let tag: String = asset.hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let tag = HeaderValue::try_from(format!("\"{tag}\"")).ok();
    let is_known = tag.as_ref().is_some_and(|tag| matches_tag(request, tag));
    let kept = if name.starts_with(IMMUTABLE) { "public, max-age=31536000, immutable" } else { "no-cache" };
    headers.extend(tag.map(|tag| (header::ETAG, tag)));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(kept));
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    if is_known {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type(name)));
    headers.extend(encoding.map(|encoding| (header::CONTENT_ENCODING, HeaderValue::from_static(encoding))));
    let body = match asset.bytes {
        Cow::Borrowed(bytes) => Body::from(bytes),
        Cow::Owned(bytes) => Body::from(bytes),
    };
    (headers, body).into_response()
}

pub(super) fn matches_tag(request: &HeaderMap, tag: &HeaderValue) -> bool {
    let known = request.get(header::IF_NONE_MATCH).and_then(|known| known.to_str().ok()).unwrap_or_default();
    known
        .split(',')
        .map(|known| known.trim().trim_start_matches("W/"))
        .any(|known| known == "*" || known.as_bytes() == tag.as_bytes())
}

fn accepts(request: &HeaderMap, encoding: &str) -> bool {
    let accepted = request.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|one| {
        let (name, parameters) = one.split_once(';').unwrap_or((one, ""));
        let refused = parameters.trim().strip_prefix("q=").is_some_and(|q| q.parse::<f32>().is_ok_and(|q| q == 0.0));
        name.trim().eq_ignore_ascii_case(encoding) && !refused
    })
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}
