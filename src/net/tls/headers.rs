//! The headers of received records (RFC 8446 §5). Each contains the version of TLS 1.2 and, once
//! records are sealed, the type of application data. rustls does not check these fields of sealed
//! records. Without this module a changed bit in them would not be noticed.

const LENGTH: usize = 5;
const APPLICATION_DATA: u8 = 23;
const VERSION: [u8; 2] = [3, 3];
const FIRST: [u8; 2] = [3, 1];

/// Follows the records in a stream of bytes.
#[derive(Debug, Default)]
pub(super) struct Headers {
    /// The header that is being read, and how many of its bytes have come.
    header: [u8; LENGTH],
    have: u8,
    /// Bytes that are left of the record.
    left: u16,
    /// Whether a record has come. Only the first record may have an older version (RFC 8446 §5.1).
    begun: bool,
    /// Whether a sealed record has come. Then all later records must be sealed.
    sealed: bool,
}

impl Headers {
    /// Reads the next bytes. Returns `false` if they contain a wrong header.
    pub(super) fn take(&mut self, mut bytes: &[u8]) -> bool {
        while let Some((first, rest)) = bytes.split_first() {
            if self.left > 0 {
                let skipped = bytes.len().min(usize::from(self.left));
                self.left -= u16::try_from(skipped).unwrap_or(self.left);
                bytes = &bytes[skipped..];
                continue;
            }
            self.header[usize::from(self.have)] = *first;
            self.have += 1;
            bytes = rest;
            if usize::from(self.have) == LENGTH {
                self.have = 0;
                let [kind, version @ .., high, low] = self.header;
                self.left = u16::from_be_bytes([high, low]);
                self.sealed |= kind == APPLICATION_DATA;
                let is_first = !std::mem::replace(&mut self.begun, true);
                if self.sealed && kind != APPLICATION_DATA || version != VERSION && !(is_first && version == FIRST) {
                    return false;
                }
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &[u8] = &[22, 3, 1, 0, 2, 9, 9, 20, 3, 3, 0, 1, 1, 23, 3, 3, 0, 3, 0, 0, 0, 23, 3, 3, 0, 0, 23, 3];

    #[test]
    fn records_are_followed_however_they_are_cut() {
        for cut in 0..STREAM.len() {
            let mut headers = Headers::default();
            assert!(headers.take(&STREAM[..cut]) && headers.take(&STREAM[cut..]), "cut at {cut}");
        }
    }

    #[test]
    fn after_a_sealed_record_all_are_sealed() {
        for (at, byte) in [(13, 22), (14, 2), (15, 1), (21, 22), (22, 1)] {
            let mut stream = STREAM.to_vec();
            stream[at] = byte;
            // The first record may still be a plain one of another type.
            assert_eq!(Headers::default().take(&stream), at == 13, "byte {at}");
        }
    }
}
