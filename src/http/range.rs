//! Which bytes a Range means (RFC 9110, 14).

/// The bytes of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// All bytes: there is no range, or it is ignored.
    All,
    /// A part: the first byte and the number of bytes, at least one.
    Part {
        /// Offset of the first.
        first: u64,
        /// How many.
        length: u64,
    },
    /// None of these bytes exists: the status is 416.
    Beyond,
}

/// The bytes that a Range of a content of `size` bytes means. If it has another unit, several
/// ranges or an invalid form, it means all bytes, as RFC 9110 allows.
#[must_use]
pub fn span(range: &str, size: u64) -> Span {
    let Some((unit, set)) = range.split_once('=') else { return Span::All };
    let Some((first, last)) = set.split_once('-') else { return Span::All };
    if !unit.eq_ignore_ascii_case("bytes") {
        return Span::All;
    }
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
        // A number that does not fit in a u64 is past the end of any content.
        digits.then(|| text.parse::<u64>().unwrap_or(u64::MAX))
    };
    match (first, last) {
        ("", last) => match number(last) {
            Some(0) => Span::Beyond,
            // This range can be satisfied, but Content-Range cannot express an empty range.
            Some(_) if size == 0 => Span::All,
            Some(count) => Span::Part { first: size.saturating_sub(count), length: count.min(size) },
            None => Span::All,
        },
        (first, last) => {
            let end = if last.is_empty() { Some(u64::MAX) } else { number(last) };
            match (number(first), end) {
                (Some(first), Some(end)) if first > end => Span::All,
                (Some(first), Some(_)) if first >= size => Span::Beyond,
                (Some(first), Some(end)) => Span::Part { first, length: end.min(size - 1) - first + 1 },
                _ => Span::All,
            }
        }
    }
}
