//! One request to a webhook: HTTP/1.1 over TCP or TLS, one connection each, everything within one time limit.

use std::{fmt, sync::Arc, time::Duration};

use http_body_util::Full;
use hyper::{
    Method, Request, Uri,
    body::Bytes,
    client::conn::http1,
    header::{CONNECTION, CONTENT_TYPE, HOST, USER_AGENT},
};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::AbortHandle,
};
use tokio_rustls::TlsConnector;

use crate::{
    config::WebhookConfig,
    message::{Message, Origin},
    outbox::Delivery,
    secret::SigningKey,
};

/// Most bytes of headers that a receiver may answer with; what follows them is not read.
const MAX_ANSWER: usize = 16 << 10;

/// A receiver over HTTP.
pub(crate) struct Webhook {
    scheme: &'static str,
    host: String,
    port: u16,
    /// May hold a token: never shown.
    path: String,
    /// `host`, and the port unless it is the scheme's own.
    authority: String,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    key: Option<SigningKey>,
    timeout: Duration,
}

/// Where, without what may be secret.
impl fmt::Display for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "webhook {}://{}", self.scheme, self.authority)
    }
}

impl Webhook {
    /// Reads what the configuration names.
    pub(crate) fn new(config: &WebhookConfig) -> Result<Self, String> {
        // The URL itself is in no message: it may hold a token.
        const EXPECTED: &str = "url: expected https://host[:port]/path or http://host[:port]/path";
        let uri: Uri = config.url.0.parse().map_err(|_| EXPECTED)?;
        let (scheme, standard) = match uri.scheme_str() {
            Some("https") => ("https", 443),
            Some("http") => ("http", 80),
            _ => return Err(EXPECTED.to_owned()),
        };
        let authority = uri.authority().ok_or(EXPECTED)?;
        if authority.as_str().contains('@') {
            return Err("url: no login here; requests are signed with secret_file".to_owned());
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let has_port = authority.as_str().rsplit(']').next().is_some_and(|rest| rest.contains(':'));
        let port = match authority.port_u16() {
            Some(0) => return Err(EXPECTED.to_owned()),
            Some(port) => port,
            None if has_port => return Err(EXPECTED.to_owned()),
            None => standard,
        };
        if host.is_empty() {
            return Err(EXPECTED.to_owned());
        }
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let path = if path.is_empty() { "/" } else { path }.to_owned();
        let tls = match scheme {
            "https" => {
                let name = ServerName::try_from(host.clone()).map_err(|_| "url: the host is no name that TLS knows")?;
                Some((connector(config)?, name))
            }
            _ if config.ca_file.is_some() => return Err("ca_file: expected it only with an https URL".to_owned()),
            _ => None,
        };
        let key = config.secret_file.as_deref().map(SigningKey::load).transpose();
        let key = key.map_err(|error| format!("secret_file {error}"))?;
        let timeout = Duration::from_secs(config.timeout_seconds);
        Ok(Self { scheme, host, port, path, authority: authority.to_string(), tls, key, timeout })
    }

    /// Delivers, or says why not. The receiver has it when it answers with a status of 200 to 299; it may have it otherwise, too.
    pub(crate) async fn deliver(&self, now: Duration, origin: &Origin, delivery: &Delivery) -> Result<(), String> {
        let Delivery { message, dropped, attempt } = delivery;
        let request = self.request(now, message, *attempt, message.body(origin, *dropped))?;
        let exchange = async {
            let address = (self.host.as_str(), self.port);
            let stream = TcpStream::connect(address).await.map_err(|error| format!("can not connect: {error}"))?;
            stream.set_nodelay(true).map_err(|error| error.to_string())?;
            match &self.tls {
                None => exchange(stream, request).await,
                Some((connector, name)) => {
                    let stream = connector.connect(name.clone(), stream).await;
                    exchange(stream.map_err(|error| format!("TLS: {error}"))?, request).await
                }
            }
        };
        match tokio::time::timeout(self.timeout, exchange).await {
            Ok(Ok(status)) if status.is_success() => Ok(()),
            Ok(Ok(status)) if status.is_redirection() => {
                Err(format!("it answers with a redirection ({}), which is not followed", status.as_u16()))
            }
            Ok(Ok(status)) => Err(format!("it answers with the status {}", status.as_u16())),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(format!("no answer within {} s", self.timeout.as_secs())),
        }
    }

    fn request(
        &self,
        now: Duration,
        message: &Message,
        attempt: u32,
        body: Vec<u8>,
    ) -> Result<Request<Full<Bytes>>, String> {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(&self.path)
            .header(HOST, &self.authority)
            .header(USER_AGENT, concat!("stratum/", env!("CARGO_PKG_VERSION")))
            .header(CONTENT_TYPE, "application/json")
            .header(CONNECTION, "close")
            .header("webhook-id", &message.id)
            .header("webhook-timestamp", now.as_secs())
            .header("webhook-attempt", attempt);
        if let Some(key) = &self.key {
            request = request.header("webhook-signature", key.sign(&message.id, now, &body));
        }
        request.body(Full::new(Bytes::from(body))).map_err(|error| error.to_string())
    }
}

/// Ends the connection when dropped.
struct Closes(AbortHandle);

impl Drop for Closes {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> Result<hyper::StatusCode, String>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let http = |error: hyper::Error| format!("HTTP: {error}");
    let mut builder = http1::Builder::new();
    builder.max_buf_size(MAX_ANSWER);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(http)?;
    let _closes = Closes(tokio::spawn(connection).abort_handle());
    Ok(sender.send_request(request).await.map_err(http)?.status())
}

/// Trusts the system's authorities and those of the file.
fn connector(config: &WebhookConfig) -> Result<TlsConnector, String> {
    let mut roots = RootCertStore::empty();
    // Some of a system's certificates may be too odd to be read; the others are as good as ever.
    let system = rustls_native_certs::load_native_certs();
    roots.add_parsable_certificates(system.certs);
    if let Some(path) = &config.ca_file {
        let bad = |problem: String| format!("ca_file {}: {problem}", path.display());
        let certificates = CertificateDer::pem_file_iter(path).map_err(|error| bad(error.to_string()))?;
        let mut count = 0;
        for certificate in certificates {
            let certificate = certificate.map_err(|error| bad(error.to_string()))?;
            roots.add(certificate).map_err(|error| bad(error.to_string()))?;
            count += 1;
        }
        if count == 0 {
            return Err(bad("expected certificates in PEM".to_owned()));
        }
    }
    if roots.is_empty() {
        return Err(
            "url: this system trusts no certificate authority; install its package of them (ca-certificates), \
                    or set ca_file"
                .to_owned(),
        );
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SecretUrl;

    fn config(url: &str) -> WebhookConfig {
        WebhookConfig {
            url: SecretUrl::new(url),
            secret_file: None,
            ca_file: None,
            events: Vec::new(),
            timeout_seconds: 1,
        }
    }

    #[test]
    fn addresses_are_read_and_tokens_are_not_shown() {
        let parts = |url: &str| {
            let webhook = Webhook::new(&config(url)).unwrap();
            (webhook.to_string(), webhook.host, webhook.port, webhook.path)
        };
        let expected = |label: &str, host: &str, port, path: &str| (label.into(), host.into(), port, path.into());
        assert_eq!(parts("http://a"), expected("webhook http://a", "a", 80, "/"));
        assert_eq!(parts("http://a:81/x?y=hunter2"), expected("webhook http://a:81", "a", 81, "/x?y=hunter2"));
        assert_eq!(parts("http://[::1]:8/hunter2"), expected("webhook http://[::1]:8", "::1", 8, "/hunter2"));
        assert_eq!(parts("http://[::1]/"), expected("webhook http://[::1]", "::1", 80, "/"));
    }

    #[test]
    fn what_is_no_address_is_refused_without_showing_it() {
        for url in [
            "",
            "hunter2",
            "ftp://hunter2",
            "/hunter2",
            "http://",
            "http://:80/hunter2",
            "http://a:0/hunter2",
            "http://a:x/hunter2",
            "http://me:hunter2@a/",
            "https://me:hunter2@a/",
        ] {
            let error = Webhook::new(&config(url)).map(drop).unwrap_err();
            assert!(error.starts_with("url: ") && !error.contains("hunter2"), "{url}: {error}");
        }
        let ca_file = WebhookConfig { ca_file: Some("missing.pem".into()), ..config("http://a") };
        assert!(Webhook::new(&ca_file).map(drop).unwrap_err().starts_with("ca_file"));
        let ca_file = WebhookConfig { ca_file: Some("missing.pem".into()), ..config("https://a") };
        assert!(Webhook::new(&ca_file).map(drop).unwrap_err().contains("missing.pem"));
        let secret = WebhookConfig { secret_file: Some("missing.key".into()), ..config("http://a") };
        assert!(Webhook::new(&secret).map(drop).unwrap_err().contains("missing.key"));
    }
}
