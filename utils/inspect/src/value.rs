//! Values in the form that people know them in.
//!
//! The type gives the form; where it leaves room, the field's name decides: a U256 is a target or a hash, a U32 a time, a
//! compact target, a bit field or a number.

use std::{
    fmt::{self, Display},
    io::{self, Write},
};

use binary_sv2::{B0_32, Bytes, Element, LenPrefix, Seq, Str0_255, U256};
use roles_logic_sv2::target::Target;

/// Bytes of a field and elements of a list that are shown, unless all are asked for.
const SHOWN_BYTES: usize = 64;
const SHOWN_ELEMENTS: usize = 16;

/// A field's value. A list takes lines of its own, behind `indent`.
pub(crate) trait Value {
    fn write(&self, name: &str, style: Style, out: &mut dyn Write) -> io::Result<()>;
}

/// How values are written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    /// Long values whole, instead of their beginning.
    pub whole: bool,
    /// Spaces in front of a list's elements.
    pub indent: usize,
}

impl Value for bool {
    fn write(&self, _: &str, _: Style, out: &mut dyn Write) -> io::Result<()> {
        write!(out, "{self}")
    }
}

impl Value for u8 {
    fn write(&self, name: &str, _: Style, out: &mut dyn Write) -> io::Result<()> {
        match const_sv2::protocol::name(*self).filter(|_| name == "protocol") {
            Some(protocol) => write!(out, "{self} ({protocol})"),
            None => write!(out, "{self}"),
        }
    }
}

impl Value for u16 {
    fn write(&self, name: &str, _: Style, out: &mut dyn Write) -> io::Result<()> {
        match name.ends_with("_extensions") {
            true => write!(out, "{self:#06x}"),
            false => write!(out, "{self}"),
        }
    }
}

impl Value for u32 {
    fn write(&self, name: &str, _: Style, out: &mut dyn Write) -> io::Result<()> {
        match name {
            "ntime" | "min_ntime" | "header_timestamp" => write!(out, "{self} ({})", Utc(*self)),
            "nbits" | "nBits" => {
                write!(out, "{self:#010x}")?;
                match Target::from_compact(*self) {
                    Ok(target) => write!(out, " (difficulty {})", Rounded(target.difficulty())),
                    Err(error) => write!(out, " ({error})"),
                }
            }
            "flags" => {
                write!(out, "{self:#010x}")?;
                let bits: Vec<_> = (0..32).filter(|bit| self >> bit & 1 == 1).map(|bit| bit.to_string()).collect();
                match bits.len() {
                    0 => Ok(()),
                    1 => write!(out, " (bit {})", bits.join(", ")),
                    _ => write!(out, " (bits {})", bits.join(", ")),
                }
            }
            "version" | "nonce" | "header_nonce" | "coinbase_tx_input_nSequence" | "coinbase_tx_input_sequence" => {
                write!(out, "{self:#010x}")
            }
            _ => write!(out, "{self}"),
        }
    }
}

impl Value for u64 {
    fn write(&self, name: &str, _: Style, out: &mut dyn Write) -> io::Result<()> {
        const COIN: u64 = 100_000_000;
        match name {
            "coinbase_tx_value_remaining" => write!(out, "{self} ({}.{:08} BTC)", self / COIN, self % COIN),
            _ => write!(out, "{self}"),
        }
    }
}

impl Value for f32 {
    fn write(&self, _: &str, _: Style, out: &mut dyn Write) -> io::Result<()> {
        write!(out, "{self} h/s")
    }
}

impl Value for U256 {
    fn write(&self, name: &str, _: Style, out: &mut dyn Write) -> io::Result<()> {
        write!(out, "{self}")?;
        if name.ends_with("target") {
            let target = Target::from_le_bytes(self.to_le_bytes());
            write!(out, " (difficulty {})", Rounded(target.difficulty()))?;
        }
        Ok(())
    }
}

impl Value for Str0_255<'_> {
    fn write(&self, _: &str, _: Style, out: &mut dyn Write) -> io::Result<()> {
        match self.as_utf8() {
            Ok(text) => write!(out, "{text:?}"),
            Err(_) => write!(out, "{self:?} (not UTF-8)"),
        }
    }
}

impl Value for B0_32 {
    fn write(&self, _: &str, style: Style, out: &mut dyn Write) -> io::Result<()> {
        bytes(self, style, out)
    }
}

impl<L: LenPrefix> Value for Bytes<'_, L> {
    fn write(&self, _: &str, style: Style, out: &mut dyn Write) -> io::Result<()> {
        bytes(self, style, out)
    }
}

impl<T: Value> Value for Option<T> {
    fn write(&self, name: &str, style: Style, out: &mut dyn Write) -> io::Result<()> {
        match self {
            Some(value) => value.write(name, style, out),
            None => write!(out, "none"),
        }
    }
}

impl<L: LenPrefix, T: for<'b> Element<At<'b>: Value>> Value for Seq<'_, L, T> {
    fn write(&self, name: &str, style: Style, out: &mut dyn Write) -> io::Result<()> {
        write!(out, "{}", Count(self.len(), "element"))?;
        let shown = if style.whole { self.len() } else { SHOWN_ELEMENTS };
        let indent = style.indent;
        for (index, element) in self.iter().take(shown).enumerate() {
            write!(out, "\n{:indent$}[{index}] ", "")?;
            element.write(name, style, out)?;
        }
        if self.len() > shown {
            write!(out, "\n{:indent$}… {} more", "", self.len() - shown)?;
        }
        Ok(())
    }
}

/// Bytes in hexadecimal, with the text that they spell if they spell one.
pub(crate) fn bytes(bytes: &[u8], style: Style, out: &mut dyn Write) -> io::Result<()> {
    let shown = bytes.get(..SHOWN_BYTES).filter(|_| !style.whole).unwrap_or(bytes);
    if bytes.is_empty() {
        return write!(out, "(empty)");
    }
    for byte in shown {
        write!(out, "{byte:02x}")?;
    }
    if shown.len() < bytes.len() {
        write!(out, "…")?;
    }
    write!(out, " ({})", Count(bytes.len(), "byte"))?;
    match std::str::from_utf8(shown) {
        Ok(text) if text.len() > 3 && text.bytes().all(|b| (0x20..0x7f).contains(&b)) => write!(out, " {text:?}"),
        _ => Ok(()),
    }
}

/// So many of something that takes an "s" in the plural.
pub(crate) struct Count(pub usize, pub &'static str);

impl Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}{}", self.0, self.1, if self.0 == 1 { "" } else { "s" })
    }
}

/// A number with as many digits as say something.
struct Rounded(f64);

impl Display for Rounded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            n if n >= 1000.0 => write!(f, "{n:.0}"),
            n if n >= 0.001 => write!(f, "{n:.3}"),
            n => write!(f, "{n:.3e}"),
        }
    }
}

/// Unix seconds as date and time.
pub(crate) struct Utc(pub u32);

impl Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, seconds) = (self.0 / 86_400, self.0 % 86_400);
        let (year, month, day) = date(days);
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        write!(f, "{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
    }
}

/// Year, month and day from days since 1970-01-01, in the Gregorian calendar.
///
/// Counts from 0000-03-01, so that a leap day is the last day of its year: 146,097 days make 400 years.
fn date(days: u32) -> (u32, u32, u32) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year_of_era + u32::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use binary_sv2::{B0_16M, B0_64K, Seq0_64K, Seq0_255};

    use super::*;

    const STYLE: Style = Style { whole: false, indent: 2 };

    fn text(name: &str, value: &dyn Value, style: Style) -> String {
        let mut out = vec![];
        value.write(name, style, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_look_like_what_they_are() {
        assert_eq!(text("protocol", &2u8, STYLE), "2 (template distribution)");
        assert_eq!(text("protocol", &9u8, STYLE), "9");
        assert_eq!(text("min_ntime", &Some(1_231_006_505u32), STYLE), "1231006505 (2009-01-03 18:15:05 UTC)");
        assert_eq!(text("min_ntime", &None::<u32>, STYLE), "none");
        assert_eq!(text("nbits", &0x1d00_ffffu32, STYLE), "0x1d00ffff (difficulty 1.000)");
        assert!(text("nbits", &0xffff_ffffu32, STYLE).starts_with("0xffffffff ("));
        assert_eq!(text("version", &0x2000_0000u32, STYLE), "0x20000000");
        assert_eq!(text("flags", &5u32, STYLE), "0x00000005 (bits 0, 2)");
        assert_eq!(text("channel_id", &5u32, STYLE), "5");
        assert_eq!(text("coinbase_tx_value_remaining", &312_500_001u64, STYLE), "312500001 (3.12500001 BTC)");
        assert_eq!(text("nominal_hash_rate", &1e12f32, STYLE), "1000000000000 h/s");
    }

    #[test]
    fn days_are_counted_as_the_calendar_does() {
        assert_eq!(Utc(0).to_string(), "1970-01-01 00:00:00 UTC");
        assert_eq!(Utc(951_782_399).to_string(), "2000-02-28 23:59:59 UTC");
        assert_eq!(Utc(951_782_400).to_string(), "2000-02-29 00:00:00 UTC");
        assert_eq!(Utc(951_868_800).to_string(), "2000-03-01 00:00:00 UTC");
        assert_eq!(Utc(u32::MAX).to_string(), "2106-02-07 06:28:15 UTC");
    }

    #[test]
    fn hashes_stand_as_explorers_show_them_and_targets_have_a_difficulty() {
        let mut wire = [0; 32];
        wire[0] = 1;
        let number = U256::from_le_bytes(wire);
        assert_eq!(text("prev_hash", &number, STYLE), format!("{:064x}", 1));
        let mut wire = [0; 32];
        wire[26..28].fill(0xff);
        assert!(text("max_target", &U256::from_le_bytes(wire), STYLE).ends_with("(difficulty 1.000)"));
        assert!(text("target", &U256::MAX, STYLE).contains("e-10)"));
    }

    #[test]
    fn bytes_show_their_beginning_and_their_text() {
        assert_eq!(text("", &B0_64K::EMPTY, STYLE), "(empty)");
        assert_eq!(text("", &B0_64K::try_from(&[1, 0xab]).unwrap(), STYLE), "01ab (2 bytes)");
        assert_eq!(text("", &B0_64K::try_from(b"a\"bc").unwrap(), STYLE), "61226263 (4 bytes) \"a\\\"bc\"");
        let long = B0_64K::try_from(vec![7; 70]).unwrap();
        assert_eq!(text("", &long, STYLE), format!("{}… (70 bytes)", "07".repeat(64)));
        assert_eq!(text("", &long, Style { whole: true, ..STYLE }), format!("{} (70 bytes)", "07".repeat(70)));
    }

    #[test]
    fn strings_are_escaped() {
        let string = |bytes: &[u8]| {
            let wire = [&[bytes.len() as u8], bytes].concat();
            text("error_code", &binary_sv2::from_bytes::<Str0_255<'_>>(&wire).unwrap(), STYLE)
        };
        assert_eq!(string("a\"\\\n\u{1b}[2J\u{202e}é".as_bytes()), r#""a\"\\\n\u{1b}[2J\u{202e}é""#);
        assert_eq!(string(b"a\xff\n"), r#""a\xff\n" (not UTF-8)"#);
    }

    #[test]
    fn lists_take_a_line_per_element() {
        let list = Seq0_64K::<u16>::try_from_iter([1, 2]).unwrap();
        assert_eq!(text("requested_extensions", &list, STYLE), "2 elements\n  [0] 0x0001\n  [1] 0x0002");
        let list = Seq0_255::<U256>::try_from_iter(vec![U256::ZERO; 20]).unwrap();
        assert!(text("merkle_path", &list, STYLE).ends_with("\n  … 4 more"));
        assert_eq!(text("merkle_path", &list, Style { whole: true, ..STYLE }).lines().count(), 21);
        let list = Seq0_64K::<B0_16M<'_>>::try_from_iter([B0_16M::try_from(&[9]).unwrap()]).unwrap();
        assert_eq!(text("transaction_list", &list, STYLE), "1 element\n  [0] 09 (1 byte)");
    }
}
