//! Packets out of a pcap or pcapng file.

use std::io::{self, Read};

/// Longest packet or block, in bytes. Captures hold at most 256 KiB of a packet; blocks of other kinds are skipped.
const MAX_BLOCK: usize = 1 << 20;
/// Most interfaces of one pcapng section; a capture on all of a host's has dozens.
const MAX_INTERFACES: usize = 1024;

const PCAP_MICROS: u32 = 0xa1b2_c3d4;
const PCAP_NANOS: u32 = 0xa1b2_3c4d;
const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const SECTION_ORDER: u32 = 0x1a2b_3c4d;
const INTERFACE: u32 = 1;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;
const OPTION_TIME_RESOLUTION: u16 = 9;

/// Why a capture can not be read to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaptureError {
    /// Reading the input or writing the text failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The file is no capture, or damaged.
    #[error("capture file, offset {offset}: {what}")]
    Malformed {
        /// Where in the file.
        offset: u64,
        /// What was expected and what came.
        what: String,
    },
}

/// Whether a file that begins with these bytes is a pcap or pcapng file.
#[must_use]
pub fn is_capture(start: &[u8]) -> bool {
    start.first_chunk::<4>().is_some_and(|magic| {
        let either = [u32::from_le_bytes(*magic), u32::from_be_bytes(*magic)];
        either.iter().any(|magic| matches!(*magic, PCAP_MICROS | PCAP_NANOS | SECTION_HEADER))
    })
}

/// A captured packet, as much of it as was kept.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Packet<'a> {
    /// The link-layer type, from the registry of capture file formats.
    pub link: u32,
    /// Nanoseconds since 1970; 0 where the file does not tell.
    pub nanos: u64,
    pub data: &'a [u8],
}

/// Reads packets one at a time.
pub(crate) struct Packets<R> {
    input: R,
    offset: u64,
    block: Vec<u8>,
    big_endian: bool,
    format: Format,
}

enum Format {
    Pcap { link: u32, nanos_per_tick: u64 },
    Ng { interfaces: Vec<Interface> },
}

#[derive(Clone, Copy)]
struct Interface {
    link: u32,
    ticks_per_second: u64,
}

impl<R: Read> Packets<R> {
    /// Reads the file's header.
    pub(crate) fn open(input: R) -> Result<Self, CaptureError> {
        let format = Format::Ng { interfaces: vec![] };
        let mut packets = Self { input, offset: 0, block: vec![], big_endian: false, format };
        let magic = packets.take::<4>()?;
        packets.big_endian = matches!(u32::from_be_bytes(magic), PCAP_MICROS | PCAP_NANOS);
        match packets.u32(magic) {
            SECTION_HEADER => packets.section()?,
            kind @ (PCAP_MICROS | PCAP_NANOS) => {
                let rest = packets.take::<20>()?;
                let link = packets.u32_at(&rest, 16)? & 0xffff;
                packets.format = Format::Pcap { link, nanos_per_tick: if kind == PCAP_NANOS { 1 } else { 1000 } };
            }
            other => return Err(packets.malformed(format!("expected a pcap or pcapng header, got {other:#010x}"))),
        }
        Ok(packets)
    }

    /// The next packet, or `None` at the end of the file.
    pub(crate) fn next(&mut self) -> Result<Option<Packet<'_>>, CaptureError> {
        match &self.format {
            Format::Pcap { link, nanos_per_tick } => {
                let (link, nanos_per_tick) = (*link, *nanos_per_tick);
                self.next_record(link, nanos_per_tick)
            }
            Format::Ng { .. } => self.next_block(),
        }
    }

    fn next_record(&mut self, link: u32, nanos_per_tick: u64) -> Result<Option<Packet<'_>>, CaptureError> {
        let Some(header) = self.take_or_end::<16>()? else { return Ok(None) };
        let seconds = self.u32_at(&header, 0)?;
        let ticks = self.u32_at(&header, 4)?;
        let length = self.u32_at(&header, 8)?;
        self.read_block(length)?;
        let nanos = u64::from(seconds) * 1_000_000_000 + u64::from(ticks) * nanos_per_tick;
        Ok(Some(Packet { link, nanos, data: &self.block }))
    }

    /// Skips blocks up to one with a packet.
    fn next_block(&mut self) -> Result<Option<Packet<'_>>, CaptureError> {
        loop {
            let Some(kind) = self.take_or_end::<4>()? else { return Ok(None) };
            let kind = self.u32(kind);
            if kind == SECTION_HEADER {
                self.section()?;
                continue;
            }
            let length = self.take::<4>()?;
            let length = self.u32(length);
            self.body(length)?;
            match kind {
                INTERFACE => self.interface()?,
                ENHANCED_PACKET => {
                    let interface = self.interface_at(self.u32_at(&self.block, 0)?)?;
                    let high = u64::from(self.u32_at(&self.block, 4)?);
                    let ticks = high << 32 | u64::from(self.u32_at(&self.block, 8)?);
                    let length = self.u32_at(&self.block, 12)? as usize;
                    let nanos = u128::from(ticks) * 1_000_000_000 / u128::from(interface.ticks_per_second);
                    let nanos = u64::try_from(nanos).unwrap_or(u64::MAX);
                    return self.packet(interface.link, nanos, 20, length).map(Some);
                }
                SIMPLE_PACKET => {
                    let interface = self.interface_at(0)?;
                    let length = (self.u32_at(&self.block, 0)? as usize).min(self.block.len().saturating_sub(4));
                    return self.packet(interface.link, 0, 4, length).map(Some);
                }
                _ => {}
            }
        }
    }

    fn packet(&self, link: u32, nanos: u64, start: usize, length: usize) -> Result<Packet<'_>, CaptureError> {
        let data = start.checked_add(length).and_then(|end| self.block.get(start..end));
        let data = data.ok_or_else(|| self.malformed(format!("a packet of {length} bytes exceeds its block")))?;
        Ok(Packet { link, nanos, data })
    }

    /// A section header behind its type: settles the byte order and forgets the interfaces.
    fn section(&mut self) -> Result<(), CaptureError> {
        let length = self.take::<4>()?;
        let order = self.take::<4>()?;
        self.big_endian = u32::from_be_bytes(order) == SECTION_ORDER;
        if self.u32(order) != SECTION_ORDER {
            return Err(self.malformed("expected the byte-order magic of a pcapng section".to_owned()));
        }
        // The magic is part of the body, and read already.
        self.body(self.u32(length).wrapping_sub(4))?;
        self.format = Format::Ng { interfaces: vec![] };
        Ok(())
    }

    /// Reads the body of a block of `length` bytes in all, and its length at the end.
    fn body(&mut self, length: u32) -> Result<(), CaptureError> {
        let body = length.checked_sub(12).ok_or_else(|| self.malformed(format!("a block of {length} bytes")))?;
        self.read_block(body)?;
        self.take::<4>().map(|_| ())
    }

    fn interface(&mut self) -> Result<(), CaptureError> {
        let link = self.u32_at(&self.block, 0)? & 0xffff;
        let link = if self.big_endian { self.u32_at(&self.block, 0)? >> 16 } else { link };
        let ticks_per_second = self.time_resolution()?;
        let full = self.malformed(format!("over {MAX_INTERFACES} interfaces"));
        match &mut self.format {
            Format::Ng { interfaces } if interfaces.len() < MAX_INTERFACES => {
                interfaces.push(Interface { link, ticks_per_second });
                Ok(())
            }
            _ => Err(full),
        }
    }

    /// The resolution of times among the options of an interface block; microseconds without.
    fn time_resolution(&self) -> Result<u64, CaptureError> {
        let mut options = self.block.get(8..).unwrap_or_default();
        while let Some((header, rest)) = options.split_first_chunk::<4>() {
            let [code, length] = [[header[0], header[1]], [header[2], header[3]]]
                .map(|two| if self.big_endian { u16::from_be_bytes(two) } else { u16::from_le_bytes(two) });
            if code == OPTION_TIME_RESOLUTION
                && let Some(resolution) = rest.first()
            {
                let exponent = u32::from(resolution & 0x7f);
                let base: u64 = if resolution & 0x80 != 0 { 2 } else { 10 };
                let ticks = base.checked_pow(exponent);
                return ticks.ok_or_else(|| self.malformed(format!("a time resolution of {base}^-{exponent} seconds")));
            }
            options = rest.get(usize::from(length).next_multiple_of(4)..).unwrap_or_default();
        }
        Ok(1_000_000)
    }

    fn interface_at(&self, index: u32) -> Result<Interface, CaptureError> {
        let Format::Ng { interfaces } = &self.format else { return Err(self.malformed("no interface".to_owned())) };
        let found = interfaces.get(index as usize).copied();
        found.ok_or_else(|| self.malformed(format!("a packet of interface {index}, which was not described")))
    }

    fn read_block(&mut self, length: u32) -> Result<(), CaptureError> {
        let length = length as usize;
        if length > MAX_BLOCK {
            return Err(self.malformed(format!("expected a block of at most {MAX_BLOCK} bytes, got {length}")));
        }
        self.block.clear();
        let got = Read::by_ref(&mut self.input).take(length as u64).read_to_end(&mut self.block)?;
        self.offset += got as u64;
        if got < length {
            return Err(self.malformed(format!("expected {length} bytes of a block, got the end after {got}")));
        }
        Ok(())
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], CaptureError> {
        let taken = self.take_or_end()?;
        taken.ok_or_else(|| self.malformed(format!("expected {N} bytes, got the end")))
    }

    /// `None` when the file ends exactly here.
    fn take_or_end<const N: usize>(&mut self) -> Result<Option<[u8; N]>, CaptureError> {
        let mut bytes = [0; N];
        let mut got = 0;
        while let Some(room) = bytes.get_mut(got..).filter(|room| !room.is_empty()) {
            match self.input.read(room) {
                Ok(0) if got == 0 => return Ok(None),
                Ok(0) => return Err(self.malformed(format!("expected {N} bytes, got the end after {got}"))),
                Ok(count) => got += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.offset += N as u64;
        Ok(Some(bytes))
    }

    fn u32(&self, bytes: [u8; 4]) -> u32 {
        if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    }

    fn u32_at(&self, bytes: &[u8], at: usize) -> Result<u32, CaptureError> {
        let four = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>());
        let four = four.ok_or_else(|| self.malformed(format!("a block of {} bytes is too short", bytes.len())))?;
        Ok(self.u32(*four))
    }

    fn malformed(&self, what: String) -> CaptureError {
        CaptureError::Malformed { offset: self.offset, what }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All packets as (link, nanos, data).
    fn read(file: &[u8]) -> Result<Vec<(u32, u64, Vec<u8>)>, CaptureError> {
        let mut packets = Packets::open(file)?;
        let mut all = vec![];
        while let Some(Packet { link, nanos, data }) = packets.next()? {
            all.push((link, nanos, data.to_vec()));
        }
        Ok(all)
    }

    fn pcap(magic: u32, order: fn(u32) -> [u8; 4]) -> Vec<u8> {
        let header = [magic, 0x0004_0002, 0, 0, 65_535, 101];
        let record = [3, 5, 2, 2];
        let mut file: Vec<u8> = header.into_iter().chain(record).flat_map(order).collect();
        file.extend([0xaa, 0xbb]);
        file
    }

    fn block(kind: u32, body: &[u8], order: fn(u32) -> [u8; 4]) -> Vec<u8> {
        let length = order(12 + body.len() as u32);
        [&order(kind), &length[..], body, &length].concat()
    }

    /// An interface with resolution 10^-9, an unknown block, an enhanced packet.
    fn pcapng(order: fn(u32) -> [u8; 4], big: bool) -> Vec<u8> {
        let words = |words: &[u32]| words.iter().flat_map(|word| order(*word)).collect::<Vec<u8>>();
        let two = |n: u16| if big { n.to_be_bytes() } else { n.to_le_bytes() };
        let section = [&words(&[SECTION_ORDER])[..], &two(1), &two(0), &[0xff; 8]].concat();
        let option = [&two(9)[..], &two(1), &[9, 0, 0, 0], &[0; 4]].concat();
        let interface = [&two(101)[..], &two(0), &words(&[65_535]), &option].concat();
        let packet = [&words(&[0, 0, 3_000_000_007, 2, 2])[..], &[0xaa, 0xbb, 0, 0]].concat();
        [
            block(SECTION_HEADER, &section, order),
            block(INTERFACE, &interface, order),
            block(0x0bad, &[1, 2, 3, 4], order),
            block(ENHANCED_PACKET, &packet, order),
        ]
        .concat()
    }

    #[test]
    fn both_formats_in_both_byte_orders() {
        let data = vec![0xaa, 0xbb];
        let micros = vec![(101, 3_000_005_000, data.clone())];
        let nanos = vec![(101, 3_000_000_005, data.clone())];
        assert_eq!(read(&pcap(PCAP_MICROS, u32::to_le_bytes)).unwrap(), micros);
        assert_eq!(read(&pcap(PCAP_MICROS, u32::to_be_bytes)).unwrap(), micros);
        assert_eq!(read(&pcap(PCAP_NANOS, u32::to_le_bytes)).unwrap(), nanos);
        assert_eq!(read(&pcap(PCAP_NANOS, u32::to_be_bytes)).unwrap(), nanos);
        let ng = vec![(101, 3_000_000_007, data)];
        assert_eq!(read(&pcapng(u32::to_le_bytes, false)).unwrap(), ng);
        assert_eq!(read(&pcapng(u32::to_be_bytes, true)).unwrap(), ng);
        for file in [pcap(PCAP_NANOS, u32::to_be_bytes), pcapng(u32::to_be_bytes, true)] {
            assert!(is_capture(&file) && !is_capture(&file[..3]) && !is_capture(&[0, 0, 0, 9]));
        }
    }

    #[test]
    fn a_cut_file_is_an_error_with_its_offset() {
        let file = pcap(PCAP_MICROS, u32::to_le_bytes);
        assert!(read(&file[..24]).unwrap().is_empty());
        assert!(matches!(read(&file[..30]), Err(CaptureError::Malformed { offset: 24, .. })));
        assert!(matches!(read(&file[..41]), Err(CaptureError::Malformed { offset: 41, .. })));
        let whole = pcapng(u32::to_le_bytes, false);
        let errors = (0..whole.len()).filter(|end| read(&whole[..*end]).is_err()).count();
        assert_eq!(errors, whole.len() - 3, "it may end after each of three blocks");
    }

    #[test]
    fn a_huge_block_is_refused_before_it_is_read() {
        let mut file = pcap(PCAP_MICROS, u32::to_le_bytes);
        file[32..36].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(read(&file).unwrap_err().to_string().contains("at most 1048576"));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn damage_never_panics(at: proptest::sample::Index, byte: u8, ng: bool) {
            let mut file = if ng { pcapng(u32::to_le_bytes, false) } else { pcap(PCAP_MICROS, u32::to_le_bytes) };
            let at = at.index(file.len());
            file[at] = byte;
            let _ = read(&file);
        }

        #[test]
        fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), magic in 0usize..3) {
            let start = [PCAP_MICROS, PCAP_NANOS, SECTION_HEADER][magic].to_le_bytes();
            let _ = read(&[&start[..], &bytes].concat());
        }
    }
}
