//! Headers of a captured packet down to TCP.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

const LINK_NULL: u32 = 0;
const LINK_ETHERNET: u32 = 1;
const LINK_LOOP: u32 = 108;
const LINK_LINUX_SLL: u32 = 113;
const LINK_LINUX_SLL2: u32 = 276;
/// Raw IP: as registered, and as two families of systems number it.
const LINK_RAW: [u32; 5] = [101, 12, 14, 228, 229];

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;
/// VLAN tags, each of four bytes.
const ETHERTYPE_VLAN: [u16; 3] = [0x8100, 0x88a8, 0x9100];

const PROTOCOL_TCP: u8 = 6;
/// IPv6 extension headers that are skipped: hop-by-hop options, routing, destination options.
const IPV6_SKIPPED: [u8; 3] = [0, 43, 60];

/// A TCP segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment<'a> {
    pub from: SocketAddr,
    pub to: SocketAddr,
    pub sequence: u32,
    pub syn: bool,
    pub ack: bool,
    pub fin: bool,
    pub reset: bool,
    pub payload: &'a [u8],
}

/// The TCP segment of a packet; `None` for other packets, fragments, and packets cut inside a header.
pub(crate) fn segment(link: u32, data: &[u8]) -> Option<Segment<'_>> {
    let ip = match link {
        LINK_NULL | LINK_LOOP => data.get(4..)?,
        LINK_ETHERNET => ethernet(data)?,
        LINK_LINUX_SLL => data.get(16..)?,
        LINK_LINUX_SLL2 => data.get(20..)?,
        raw if LINK_RAW.contains(&raw) => data,
        _ => return None,
    };
    match ip.first()? >> 4 {
        4 => ipv4(ip),
        6 => ipv6(ip),
        _ => None,
    }
}

fn ethernet(data: &[u8]) -> Option<&[u8]> {
    let mut rest = data.get(12..)?;
    loop {
        let (kind, body) = rest.split_first_chunk::<2>()?;
        match u16::from_be_bytes(*kind) {
            ETHERTYPE_IPV4 | ETHERTYPE_IPV6 => return Some(body),
            vlan if ETHERTYPE_VLAN.contains(&vlan) => rest = body.get(2..)?,
            _ => return None,
        }
    }
}

fn ipv4(ip: &[u8]) -> Option<Segment<'_>> {
    let header = ip.first_chunk::<20>()?;
    let header_len = usize::from(header[0] & 0x0f) * 4;
    let total_len = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let fragment = u16::from_be_bytes([header[6], header[7]]) & 0x3fff;
    if header[9] != PROTOCOL_TCP || fragment != 0 || header_len < 20 {
        return None;
    }
    // Packets that the network card is to cut have no length yet; others may be padded.
    let end = if total_len == 0 { ip.len() } else { total_len.min(ip.len()) };
    let [from, to] =
        [[header[12], header[13], header[14], header[15]], [header[16], header[17], header[18], header[19]]]
            .map(|address| IpAddr::from(Ipv4Addr::from(address)));
    tcp(from, to, ip.get(header_len..end)?)
}

fn ipv6(ip: &[u8]) -> Option<Segment<'_>> {
    let (header, mut rest) = ip.split_first_chunk::<40>()?;
    let payload_len = usize::from(u16::from_be_bytes([header[4], header[5]]));
    if payload_len != 0 {
        rest = rest.get(..payload_len).unwrap_or(rest);
    }
    let address = |at: usize| header.get(at..)?.first_chunk::<16>().map(|bytes| IpAddr::from(Ipv6Addr::from(*bytes)));
    let mut next = header[6];
    while IPV6_SKIPPED.contains(&next) {
        let (&[following, length], _) = rest.split_first_chunk::<2>()?;
        rest = rest.get((usize::from(length) + 1) * 8..)?;
        next = following;
    }
    if next != PROTOCOL_TCP {
        return None;
    }
    tcp(address(8)?, address(24)?, rest)
}

fn tcp(from: IpAddr, to: IpAddr, data: &[u8]) -> Option<Segment<'_>> {
    let header = data.first_chunk::<20>()?;
    let header_len = usize::from(header[12] >> 4) * 4;
    let flags = header[13];
    if header_len < 20 {
        return None;
    }
    Some(Segment {
        from: SocketAddr::new(from, u16::from_be_bytes([header[0], header[1]])),
        to: SocketAddr::new(to, u16::from_be_bytes([header[2], header[3]])),
        sequence: u32::from_be_bytes([header[4], header[5], header[6], header[7]]),
        fin: flags & 0x01 != 0,
        syn: flags & 0x02 != 0,
        reset: flags & 0x04 != 0,
        ack: flags & 0x10 != 0,
        payload: data.get(header_len..)?,
    })
}

/// Packets for tests of this crate.
#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) const SYN: u8 = 0x02;
    pub(crate) const ACK: u8 = 0x10;
    pub(crate) const FIN: u8 = 0x11;

    /// A raw IP packet.
    pub(crate) fn packet(from: SocketAddr, to: SocketAddr, sequence: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
        let mut tcp = [from.port().to_be_bytes(), to.port().to_be_bytes()].concat();
        tcp.extend(sequence.to_be_bytes());
        tcp.extend([0, 0, 0, 0, 0x60, flags, 0xff, 0xff, 0, 0, 0, 0]);
        tcp.extend([1; 4]); // options
        tcp.extend(payload);
        match (from.ip(), to.ip()) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                let [high, low] = (20 + tcp.len() as u16).to_be_bytes();
                let head = [0x45, 0, high, low, 0, 0, 0x40, 0, 64, 6, 0, 0];
                [&head[..], &a.octets(), &b.octets(), &tcp].concat()
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => {
                let [high, low] = (8 + tcp.len() as u16).to_be_bytes();
                let head = [0x60, 0, 0, 0, high, low, 60, 64];
                [&head[..], &a.octets(), &b.octets(), &[6, 0, 1, 4, 0, 0, 0, 0], &tcp].concat()
            }
            _ => panic!("mixed address families"),
        }
    }

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn all_link_types_and_both_ip_versions() {
        for (a, b, kind) in [("10.0.0.1:5", "10.0.0.2:3333", 0x0800u16), ("[fe80::1]:5", "[fe80::2]:3333", 0x86dd)] {
            let (a, b) = (address(a), address(b));
            let ip = packet(a, b, 7, SYN, b"data");
            let kind = kind.to_be_bytes();
            let ethernet = [&[0; 12][..], &kind, &ip, &[0; 6]].concat();
            let vlan = [&[0; 12][..], &[0x81, 0, 0, 9], &kind, &ip].concat();
            let sll = [&[0; 14][..], &kind, &ip].concat();
            let sll2 = [&kind[..], &[0; 18], &ip].concat();
            let null = [&[2, 0, 0, 0][..], &ip].concat();
            let expected = Segment {
                from: a,
                to: b,
                sequence: 7,
                syn: true,
                ack: false,
                fin: false,
                reset: false,
                payload: b"data",
            };
            for (link, data) in [(101, &ip), (1, &ethernet), (1, &vlan), (113, &sll), (276, &sll2), (0, &null)] {
                assert_eq!(segment(link, data), Some(expected), "link {link}");
            }
            assert_eq!(segment(9999, &ip), None);
        }
    }

    #[test]
    fn other_packets_are_none() {
        let ip = packet(address("10.0.0.1:5"), address("10.0.0.2:6"), 0, ACK, b"");
        let changed = |at: usize, byte: u8| {
            let mut ip = ip.clone();
            ip[at] = byte;
            segment(101, &ip).is_some()
        };
        assert!(changed(8, 1), "the time to live does not matter");
        assert!(!changed(9, 17), "UDP");
        assert!(!changed(6, 0x20) && !changed(7, 1), "fragments");
        assert!(!changed(0, 0x44) && !changed(0, 0x55) && !changed(32, 0x40));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(link in prop_oneof![Just(0u32), Just(1), Just(101), Just(113), Just(276)], mut data in proptest::collection::vec(any::<u8>(), 0..100), version in 4u8..7) {
            if let Some(first) = data.first_mut() {
                *first = version << 4 | *first & 0x0f;
            }
            let _ = segment(link, &data);
        }

        #[test]
        fn a_cut_packet_gives_less_data_or_none(end in 0usize..48) {
            let ip = packet(address("10.0.0.1:5"), address("10.0.0.2:6"), 0, ACK, b"data");
            let got = segment(101, &ip[..end]).map(|segment| segment.payload.len());
            prop_assert_eq!(got, end.checked_sub(44));
        }
    }
}
