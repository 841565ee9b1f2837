//! Sizes and times in the form in which options accept them and output shows them. No crate reads
//! this syntax: in bytesize a bare `M` is 10^6 bytes, and humantime accepts no fractions.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A size in bytes: `10M`, `4GiB`, `500kB` or `123`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) u64);

/// Bytes per second, as a [`Size`], or in bits: `100Mbit`, `1Gbit` or `500kbit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate(pub(crate) u64);

/// A span of time: `500ms`, `2s`, `1.5m`, `1h` or `7d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span(pub(crate) Duration);

/// The factor of a unit of [`Size`]. A bare letter and the form `iB` mean powers of 1024. The form
/// `B` means powers of 1000.
fn size_unit(unit: &str) -> Option<u64> {
    let letter = unit.strip_suffix("ib").or_else(|| unit.strip_suffix('b')).unwrap_or(unit);
    let power = ["", "k", "m", "g", "t"].iter().position(|known| *known == letter)?;
    let base: u64 = if unit.ends_with('b') && !unit.ends_with("ib") { 1000 } else { 1024 };
    (unit != "ib").then(|| base.pow(power as u32))
}

/// The factor of a unit of [`Span`], in nanoseconds. A time without a unit is ambiguous and
/// refused.
fn span_unit(unit: &str) -> Option<u64> {
    let units = [
        ("us", 1_000),
        ("ms", 1_000_000),
        ("s", 1_000_000_000),
        ("m", 60_000_000_000),
        ("h", 3_600_000_000_000),
        ("d", 86_400_000_000_000),
    ];
    units.iter().find(|(name, _)| *name == unit).map(|(_, nanos)| *nanos)
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Size, String> {
        scaled(text, size_unit).map(Size).ok_or_else(|| "write a size such as 10M, 4GiB, 500kB or 123".into())
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Rate, String> {
        let bits = |unit: &str| ["bit", "kbit", "mbit", "gbit"].iter().position(|known| *known == unit);
        let bits = scaled(text, |unit| Some(1000_u64.pow(bits(unit)? as u32))).map(|bits| bits / 8);
        let bytes = || text.parse().ok().map(|Size(bytes)| bytes);
        bits.or_else(bytes).map(Rate).ok_or_else(|| "write a rate such as 10M (bytes a second) or 100Mbit".into())
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Span, String> {
        let nanos = scaled(text, span_unit).ok_or("write a time such as 500ms, 2s or 1m")?;
        Ok(Span(Duration::from_nanos(nanos)))
    }
}

/// Reads `digits[.digits]unit`, without rounding. None if the text has another form.
fn scaled(text: &str, factor: impl Fn(&str) -> Option<u64>) -> Option<u64> {
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let unit = unit.trim_start().to_ascii_lowercase();
    let scale = factor(&unit)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole = whole.parse::<u64>().ok()?.checked_mul(scale)?;
    if fraction.is_empty() {
        return (!number.contains('.')).then_some(whole);
    }
    if fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let over = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let part = u128::from(fraction.parse::<u64>().ok()?) * u128::from(scale) / over;
    whole.checked_add(u64::try_from(part).ok()?)
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
        match steps.iter().find(|(_, shift)| self.0 >> shift > 0) {
            Some((unit, shift)) => {
                // Tenths are computed with integers: floats would round 1023.95 KiB up to the next
                // unit.
                let tenths = (u128::from(self.0) * 10) >> shift;
                f.pad(&format!("{}.{} {unit}", tenths / 10, tenths % 10))
            }
            None => f.pad(&format!("{} B", self.0)),
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        match millis {
            0..1_000 => write!(f, "{millis} ms"),
            1_000..60_000 => write!(f, "{}.{} s", millis / 1_000, millis % 1_000 / 100),
            _ => write!(f, "{} min {} s", millis / 60_000, millis % 60_000 / 1_000),
        }
    }
}

/// `on` or `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OnOff(pub(crate) bool);

impl OnOff {
    pub(crate) const ON: OnOff = OnOff(true);
}

impl FromStr for OnOff {
    type Err = String;

    fn from_str(text: &str) -> Result<OnOff, String> {
        match text {
            "on" => Ok(OnOff(true)),
            "off" => Ok(OnOff(false)),
            _ => Err(format!("{text:?} is neither on nor off")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_both_bases() {
        for (text, bytes) in [
            ("0", 0),
            ("123", 123),
            ("10M", 10 << 20),
            ("4GiB", 4 << 30),
            ("500kB", 500_000),
            ("1.5k", 1536),
            ("2 MiB", 2 << 20),
        ] {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        for text in ["", "M", "-1", "1..5", "1.", "99999999T", "1e3", "10Q", "1.5.2"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }

    #[test]
    fn rates_are_read_in_bytes_and_in_bits() {
        for (text, bytes) in [("100Mbit", 12_500_000), ("1gbit", 125_000_000), ("10M", 10 << 20), ("0", 0)] {
            assert_eq!(text.parse(), Ok(Rate(bytes)), "{text}");
        }
        assert!("10Mbits".parse::<Rate>().is_err());
    }

    #[test]
    fn times_need_a_unit() {
        assert_eq!("500ms".parse(), Ok(Span(Duration::from_millis(500))));
        assert_eq!("1.5s".parse(), Ok(Span(Duration::from_millis(1500))));
        assert!("2".parse::<Span>().unwrap_err().contains("2s"));
        assert!("-2s".parse::<Span>().is_err());
    }

    #[test]
    fn sizes_are_printed_in_the_largest_unit_that_they_reach() {
        assert_eq!(Size(1023).to_string(), "1023 B");
        assert_eq!(Size((1 << 20) - 1).to_string(), "1023.9 KiB");
        assert_eq!(Size(3 << 29).to_string(), "1.5 GiB");
        assert_eq!(Size(u64::MAX).to_string(), "16777215.9 TiB");
    }
}
