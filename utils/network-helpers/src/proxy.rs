//! The PROXY protocol, versions 1 and 2, as a load balancer puts it before the bytes of a connection.
//!
//! Who may send such a header is the caller's to know: anybody can claim any address in it.

use std::{net::SocketAddr, time::Duration};

use proxy_header::{ParseConfig, ProxyHeader};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    time::timeout,
};

/// Longest header of version 1, in bytes, its line end included (PROXY protocol §2.1).
const MAX_V1: usize = 107;
/// Longest header of version 2 that is taken, in bytes; addresses need 52, and 64 KiB are possible with extras that nobody reads here.
const MAX_V2: usize = 2048;
/// What a header of version 2 begins with.
const V2_SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version, family and length of a header of version 2.
const V2_FIXED: usize = 16;

/// Why there is no PROXY header.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// It did not come in time.
    #[error("expected a PROXY header within {0:?}")]
    Timeout(Duration),
    /// The connection failed or ended.
    #[error("the connection ended before its PROXY header: {0}")]
    Io(#[from] std::io::Error),
    /// Something else came.
    #[error("expected a PROXY header: {0}")]
    Malformed(&'static str),
}

/// Takes the header off the front of `stream`, and not a byte more. The address that it says connected; `None` when the
/// connection is the load balancer's own, for example to see whether this server is well.
///
/// # Errors
/// See [`ProxyError`]; what was read is lost then.
pub async fn read_proxy_header<S: AsyncRead + Unpin>(
    stream: &mut S,
    deadline: Duration,
) -> Result<Option<SocketAddr>, ProxyError> {
    timeout(deadline, read_header(stream)).await.unwrap_or(Err(ProxyError::Timeout(deadline)))
}

async fn read_header<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Option<SocketAddr>, ProxyError> {
    let mut header = vec![0; V2_SIGNATURE.len()];
    stream.read_exact(&mut header).await?;
    if header == V2_SIGNATURE {
        header.resize(V2_FIXED, 0);
        stream.read_exact(&mut header[V2_SIGNATURE.len()..]).await?;
        let length = V2_FIXED + usize::from(u16::from_be_bytes([header[14], header[15]]));
        if length > MAX_V2 {
            return Err(ProxyError::Malformed("it is too long"));
        }
        header.resize(length, 0);
        stream.read_exact(&mut header[V2_FIXED..]).await?;
    } else if header.starts_with(b"PROXY ") {
        while !header.ends_with(b"\r\n") {
            if header.len() == MAX_V1 {
                return Err(ProxyError::Malformed("its line does not end"));
            }
            header.push(stream.read_u8().await?);
        }
    } else {
        return Err(ProxyError::Malformed("the bytes are none"));
    }
    let (parsed, _) = ProxyHeader::parse(&header, ParseConfig::default())
        .map_err(|_| ProxyError::Malformed("its fields make no sense"))?;
    Ok(parsed.proxied_address().map(|address| address.source))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(mut bytes: &[u8]) -> (Result<Option<SocketAddr>, ProxyError>, usize) {
        let result = read_proxy_header(&mut bytes, Duration::from_secs(60)).await;
        (result, bytes.len())
    }

    fn v2(command: u8, family: u8, address: &[u8]) -> Vec<u8> {
        let length = (address.len() as u16).to_be_bytes();
        [&V2_SIGNATURE[..], &[command, family], &length, address].concat()
    }

    #[tokio::test]
    async fn both_versions_leave_what_follows() {
        let text = b"PROXY TCP4 192.0.2.1 192.0.2.2 5000 34254\r\nrest";
        let (result, left) = read(text).await;
        assert_eq!((result.unwrap(), left), (Some("192.0.2.1:5000".parse().unwrap()), 4));
        let text = b"PROXY TCP6 2001:db8::1 2001:db8::2 5000 34254\r\n";
        assert_eq!(read(text).await.0.unwrap(), Some("[2001:db8::1]:5000".parse().unwrap()));
        let binary = v2(0x21, 0x11, &[192, 0, 2, 1, 192, 0, 2, 2, 0x13, 0x88, 0x85, 0xce]);
        let (result, left) = read(&[binary, b"rest".to_vec()].concat()).await;
        assert_eq!((result.unwrap(), left), (Some("192.0.2.1:5000".parse().unwrap()), 4));
    }

    #[tokio::test]
    async fn a_balancer_speaks_for_itself() {
        assert_eq!(read(b"PROXY UNKNOWN\r\n").await.0.unwrap(), None);
        assert_eq!(read(&v2(0x20, 0, &[])).await.0.unwrap(), None);
    }

    #[tokio::test]
    async fn what_is_no_header_is_refused() {
        let long = [b"PROXY TCP4 ".to_vec(), vec![b'1'; 200]].concat();
        let mut huge = v2(0x21, 0x11, &[]);
        huge[14..16].copy_from_slice(&2_033u16.to_be_bytes());
        for bytes in [&b"GET / HTTP/1.1\r\n"[..], b"PROXY TCP4 1 2 3 4\r\n", &long, &v2(0x31, 0x11, &[0; 12]), &huge] {
            let (result, _) = read(bytes).await;
            assert!(matches!(result, Err(ProxyError::Malformed(_))), "{result:?}");
        }
        assert!(matches!(read(b"PROXY TCP4 19").await.0, Err(ProxyError::Io(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_header_that_does_not_come_is_not_waited_for() {
        let (mut stream, _other) = tokio::io::duplex(10);
        let result = read_proxy_header(&mut stream, Duration::from_secs(10)).await;
        assert!(matches!(result, Err(ProxyError::Timeout(_))), "{result:?}");
    }
}
