//! `stratum2+tcp://host:port/key` (sv2-spec §4.7).

use alloc::string::{String, ToString};
use core::{fmt, net::Ipv6Addr, str::FromStr};

use crate::{error::UrlError, keys::AuthorityPublicKey};

/// Longest URL that is read, in bytes: a host name has at most 253, a key about 51.
pub const MAX_URL_LENGTH: usize = 512;
/// Longest host name, in bytes (RFC 1035 §2.3.4, in text form).
const MAX_HOST_LENGTH: usize = 253;
const SCHEME: &str = "stratum2+tcp://";

/// Where an Sv2 server listens and, if known, which authority vouches for it.
///
/// ```
/// use noise_sv2::url::EndpointUrl;
/// let text = "stratum2+tcp://thepool.com:34254/9bXiEd8boQVhq7WddEcERUL5tyyJVFYdU8th3HfbNXK3Yw6GRXh";
/// let url: EndpointUrl = text.parse()?;
/// assert_eq!((url.host(), url.port()), ("thepool.com", 34254));
/// assert_eq!(url.to_string(), text);
/// # Ok::<(), noise_sv2::UrlError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointUrl {
    host: String,
    port: u16,
    authority: Option<AuthorityPublicKey>,
}

impl EndpointUrl {
    /// An endpoint from its parts; `host` is a name, an IPv4 address, or an IPv6 address with or without brackets.
    ///
    /// Refuses hosts and ports that [`FromStr`] would refuse.
    pub fn new(host: &str, port: u16, authority: Option<AuthorityPublicKey>) -> Result<Self, UrlError> {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let host = match bare.parse::<Ipv6Addr>() {
            Ok(address) => address.to_string(),
            Err(_) => check_host(host).map(|()| host.to_string())?,
        };
        if port == 0 {
            return Err(UrlError::Port);
        }
        Ok(Self { host, port, authority })
    }

    /// Host name, IPv4 address, or IPv6 address without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Port, never 0.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The key that must have signed the server's certificate, if the URL names one.
    pub fn authority(&self) -> Option<AuthorityPublicKey> {
        self.authority
    }

    /// `host:port` as socket functions take it, an IPv6 address in brackets.
    pub fn address(&self) -> String {
        HostPort(self).to_string()
    }
}

impl FromStr for EndpointUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        if text.len() > MAX_URL_LENGTH {
            return Err(UrlError::TooLong { got: text.len() });
        }
        let (scheme, rest) = text.split_at_checked(SCHEME.len()).ok_or(UrlError::Scheme)?;
        if !scheme.eq_ignore_ascii_case(SCHEME) {
            return Err(UrlError::Scheme);
        }
        let (address, key) = rest.split_once('/').unwrap_or((rest, ""));
        let (host, port) = split_address(address)?;
        let authority = if key.is_empty() { None } else { Some(key.parse()?) };
        Ok(Self { host, port, authority })
    }
}

/// Takes `name:port`, `1.2.3.4:port` or `[v6]:port` apart.
fn split_address(address: &str) -> Result<(String, u16), UrlError> {
    let (host, port) = match address.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or(UrlError::Host)?;
            let host: Ipv6Addr = host.parse().map_err(|_| UrlError::Host)?;
            (host.to_string(), port.strip_prefix(':').ok_or(UrlError::Port)?)
        }
        None => {
            let (host, port) = address.split_once(':').unwrap_or((address, ""));
            check_host(host)?;
            (host.to_string(), port)
        }
    };
    Ok((host, parse_port(port)?))
}

fn check_host(host: &str) -> Result<(), UrlError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    let fits = !host.is_empty() && host.len() <= MAX_HOST_LENGTH;
    if fits && host.bytes().all(allowed) { Ok(()) } else { Err(UrlError::Host) }
}

/// Digits only: `u16::from_str` would take a plus sign.
fn parse_port(port: &str) -> Result<u16, UrlError> {
    if !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(UrlError::Port);
    }
    port.parse().ok().filter(|port| *port != 0).ok_or(UrlError::Port)
}

/// `host:port`, with brackets where the host is an IPv6 address.
struct HostPort<'a>(&'a EndpointUrl);

impl fmt::Display for HostPort<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let EndpointUrl { host, port, .. } = self.0;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

impl fmt::Display for EndpointUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}", HostPort(self))?;
        self.authority.iter().try_for_each(|key| write!(f, "/{key}"))
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use proptest::prelude::*;

    use super::*;
    use crate::error::KeyError;

    const KEY: &str = "9bXiEd8boQVhq7WddEcERUL5tyyJVFYdU8th3HfbNXK3Yw6GRXh";

    #[test]
    fn reads_names_addresses_and_keys() {
        for (text, host, port, address) in [
            ("stratum2+tcp://thepool.com:34254", "thepool.com", 34_254, "thepool.com:34254"),
            ("stratum2+tcp://10.0.0.1:1", "10.0.0.1", 1, "10.0.0.1:1"),
            ("stratum2+tcp://[::1]:65535", "::1", 65_535, "[::1]:65535"),
            ("stratum2+tcp://[2001:db8::7]:34254", "2001:db8::7", 34_254, "[2001:db8::7]:34254"),
        ] {
            let url: EndpointUrl = text.parse().unwrap();
            assert_eq!((url.host(), url.port(), url.authority()), (host, port, None));
            assert_eq!(url.address(), address);
            assert_eq!(url.to_string(), text);
            let with_key: EndpointUrl = format!("{text}/{KEY}").parse().unwrap();
            assert_eq!(with_key.authority(), Some(KEY.parse().unwrap()));
            assert_eq!(with_key.to_string(), format!("{text}/{KEY}"));
            assert_eq!(format!("{text}/").parse(), Ok(url));
        }
        assert!("STRATUM2+TCP://host:1".parse::<EndpointUrl>().is_ok());
    }

    #[test]
    fn says_what_is_wrong() {
        let parse = |text: &str| text.parse::<EndpointUrl>().unwrap_err();
        for text in ["", "thepool.com:34254", "stratum+tcp://thepool.com:34254", "stratum2+tcp:/é:1"] {
            assert_eq!(parse(text), UrlError::Scheme, "{text}");
        }
        for host in ["", ":1", "a b:1", "user@host:1", "[::1:1", "[nonsense]:1", "[]:1", "é:1"] {
            assert_eq!(parse(&format!("stratum2+tcp://{host}")), UrlError::Host, "{host}");
        }
        for host in ["h", "h:", "h:0", "h:65536", "h:+1", "h:1:2", "[::1]", "[::1]1", "::1"] {
            let expected = if host == "::1" { UrlError::Host } else { UrlError::Port };
            assert_eq!(parse(&format!("stratum2+tcp://{host}")), expected, "{host}");
        }
        assert_eq!(parse("stratum2+tcp://h:1/x"), UrlError::Key(KeyError::NotBase58Check));
        assert_eq!(parse(&"x".repeat(513)), UrlError::TooLong { got: 513 });
    }

    #[test]
    fn parts_make_the_same_as_text() {
        let key = KEY.parse().ok();
        for (host, text) in
            [("thepool.com", "thepool.com"), ("10.0.0.1", "10.0.0.1"), ("::1", "[::1]"), ("[::1]", "[::1]")]
        {
            let parsed = format!("stratum2+tcp://{text}:7/{KEY}").parse();
            assert_eq!(EndpointUrl::new(host, 7, key), parsed);
        }
        assert_eq!(EndpointUrl::new("h", 0, None), Err(UrlError::Port));
        for host in ["", "a b", "h:1", "[h]", "h/x"] {
            assert_eq!(EndpointUrl::new(host, 1, None), Err(UrlError::Host), "{host}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn never_panics(text in "(stratum2\\+tcp://)?[\\[\\]:/a-zé0-9@.]{0,40}") {
            if let Ok(url) = text.parse::<EndpointUrl>() {
                prop_assert_eq!(url.to_string().parse(), Ok(url));
            }
        }
    }
}
