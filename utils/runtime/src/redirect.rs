//! Where a server may send its clients (sv2-spec §3.6.5).

use noise_sv2::url::EndpointUrl;

/// Why a redirection is not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Another host can not prove that it belongs to the same pool.
    #[error("another host is followed only over noise with an authority key in the URL, which it must share")]
    NoAuthority,
    /// Not a host name or address.
    #[error("expected a host name or an address")]
    Host,
}

/// The URL that a Reconnect of the server at `present` asks for, of a client that was told to use `configured`; an empty `host` or a zero `port` mean the present one.
///
/// The authority key stays: the specification gives the message none, so that no one who gets hold of a server can send
/// its hashrate to another pool.
///
/// # Errors
/// The redirection must not be followed.
pub fn follow(
    configured: &EndpointUrl,
    plain: bool,
    present: &EndpointUrl,
    host: &str,
    port: u16,
) -> Result<EndpointUrl, Refusal> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let host = if bare.is_empty() { present.host() } else { bare };
    let is_known = [present.host(), configured.host()].iter().any(|known| known.eq_ignore_ascii_case(host));
    if !is_known && (plain || configured.authority().is_none()) {
        return Err(Refusal::NoAuthority);
    }
    let port = if port == 0 { present.port() } else { port };
    let bracketed = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let key = configured.authority().map(|key| format!("/{key}")).unwrap_or_default();
    let url: EndpointUrl = format!("stratum2+tcp://{bracketed}:{port}{key}").parse().map_err(|_| Refusal::Host)?;
    // A host with a slash in it would put a key of its own into the URL.
    let same_key = url.authority() == configured.authority();
    if same_key && url.port() == port { Ok(url) } else { Err(Refusal::Host) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "9auqWEzQDVyd2oe1JVGFLMLHZtCo2FFqZwtKA5gd9xbuEu7PH72";
    const OTHER_KEY: &str = "9bXiEd8boQVhq7WddEcERUL5tyyJVFYdU8th3HfbNXK3Yw6GRXh";

    fn redirect(url: &str, plain: bool, host: &str, port: u16) -> Result<String, Refusal> {
        let url: EndpointUrl = url.parse().unwrap();
        follow(&url, plain, &url, host, port).map(|url| url.to_string())
    }

    #[test]
    fn the_same_host_is_always_followed() {
        for plain in [false, true] {
            let url = |host, port| redirect("stratum2+tcp://pool.example:1000", plain, host, port);
            assert_eq!(url("", 0), Ok("stratum2+tcp://pool.example:1000".into()));
            assert_eq!(url("", 2000), Ok("stratum2+tcp://pool.example:2000".into()));
            assert_eq!(url("POOL.example", 0), Ok("stratum2+tcp://POOL.example:1000".into()));
        }
    }

    #[test]
    fn another_host_must_share_the_authority() {
        let with_key = format!("stratum2+tcp://pool.example:1000/{KEY}");
        let expected = format!("stratum2+tcp://b.example:2000/{KEY}");
        assert_eq!(redirect(&with_key, false, "b.example", 2000), Ok(expected));
        assert_eq!(
            redirect(&with_key, false, "[2001:db8::1]", 0),
            Ok(format!("stratum2+tcp://[2001:db8::1]:1000/{KEY}"))
        );
        assert_eq!(
            redirect(&with_key, false, "2001:db8::1", 0),
            Ok(format!("stratum2+tcp://[2001:db8::1]:1000/{KEY}"))
        );
        assert_eq!(redirect(&with_key, true, "b.example", 2000), Err(Refusal::NoAuthority));
        assert_eq!(redirect("stratum2+tcp://pool.example:1000", false, "b.example", 2000), Err(Refusal::NoAuthority));
    }

    #[test]
    fn a_host_can_not_smuggle_a_key_or_a_port() {
        let with_key = format!("stratum2+tcp://pool.example:1000/{KEY}");
        let hosts = [
            &format!("b.example:1/{OTHER_KEY}?"),
            &format!("b.example:2000/{OTHER_KEY}#"),
            "b.example:2",
            "a b",
            "\u{0}",
        ];
        for host in hosts {
            assert_eq!(redirect(&with_key, false, host, 2000), Err(Refusal::Host), "{host}");
        }
    }
}
