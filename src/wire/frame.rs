//! Frames on TCP: a big-endian u32 length, then one MessagePack value of that many bytes.

use super::codec::{decode_only, encode_into, greeted_version};
use super::error::WireError;
use super::message::Message;
use super::pack;
use crate::config::PROTOCOL_VERSION;

/// Bytes of the length that precedes every frame body.
pub const LENGTH_BYTES: usize = 4;

/// Appends the message as a frame.
pub fn encode(message: &Message, out: &mut Vec<u8>) {
    let start = out.len();
    if !pack::pack(message, out) {
        out.extend_from_slice(&[0; LENGTH_BYTES]);
        encode_into(out, message);
    }
    let length = u32::try_from(out.len() - start - LENGTH_BYTES).unwrap_or(u32::MAX);
    debug_assert!(
        length as usize <= crate::config::FRAME_BYTES_OPEN,
        "{} of {length} bytes was not paged",
        message.kind()
    );
    out[start..start + LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
}

/// The body's length, once the four bytes are there.
///
/// # Errors
/// If it is zero or above the cap of the connection's state. Nothing was allocated for it.
pub fn length(bytes: &[u8], cap: usize) -> Result<Option<usize>, WireError> {
    let Some(head) = bytes.first_chunk::<LENGTH_BYTES>() else {
        return Ok(None);
    };
    let announced = usize::try_from(u32::from_be_bytes(*head)).unwrap_or(usize::MAX);
    match announced {
        0 => Err(WireError::Truncated),
        _ if announced > cap => Err(WireError::TooLong { announced, cap }),
        _ => Ok(Some(announced)),
    }
}

/// Takes the first frame off `bytes`: the message and how many bytes it used, or `None` until it is
/// complete.
///
/// # Errors
/// If what stands there is no frame of at most `cap` bytes with exactly one message. The stream
/// cannot be read on.
pub fn decode(bytes: &[u8], cap: usize) -> Result<Option<(Message, usize)>, WireError> {
    let Some(body) = body(bytes, cap)? else {
        return Ok(None);
    };
    Ok(Some((message(body)?, LENGTH_BYTES + body.len())))
}

/// The body of the first frame, or `None` until it is complete.
///
/// # Errors
/// As [`length`].
#[inline]
pub fn body(bytes: &[u8], cap: usize) -> Result<Option<&[u8]>, WireError> {
    let Some(length) = length(bytes, cap)? else {
        return Ok(None);
    };
    Ok(bytes.get(LENGTH_BYTES..LENGTH_BYTES + length))
}

/// The message in a body. With [`body`], it moves the message less often than [`decode`].
///
/// # Errors
/// If the body is not exactly one message.
#[inline]
pub fn message(body: &[u8]) -> Result<Message, WireError> {
    decode_only(body, Message::Unknown).map_err(|error| malformed(body, error))
}

#[cold]
fn malformed(body: &[u8], error: WireError) -> WireError {
    match (greeted_version(body), &error) {
        // The message itself can be read.
        (_, WireError::Trailing { .. }) => error,
        (Some(major), _) if major != u64::from(PROTOCOL_VERSION[0]) => WireError::Version,
        (Some(_) | None, _) => error,
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::{Ping, Ready};
    use super::*;

    #[test]
    fn a_frame_is_taken_only_once_it_is_whole() {
        let mut bytes = Vec::new();
        encode(&Message::Ping(Ping { n: 7 }), &mut bytes);
        let whole = bytes.len();
        encode(&Message::Ready(Ready::default()), &mut bytes);
        for cut in 0..whole {
            assert_eq!(decode(&bytes[..cut], 256), Ok(None));
        }
        assert_eq!(decode(&bytes, 256), Ok(Some((Message::Ping(Ping { n: 7 }), whole))));
    }

    #[test]
    fn a_length_above_the_cap_is_refused_before_its_body_is_there() {
        assert_eq!(decode(&[0, 0, 1, 1], 256), Err(WireError::TooLong { announced: 257, cap: 256 }));
        assert_eq!(decode(&[0; 4], 256), Err(WireError::Truncated));
    }

    fn framed(body: &[u8]) -> Vec<u8> {
        [&u32::try_from(body.len()).unwrap().to_be_bytes(), body].concat()
    }

    #[test]
    fn trailing_bytes_are_refused() {
        let mut bytes = Vec::new();
        encode(&Message::Ping(Ping { n: 7 }), &mut bytes);
        let body = [&bytes[4..], &[0xc0]].concat();
        assert_eq!(decode(&framed(&body), 256), Err(WireError::Trailing { bytes: 1 }));
    }

    #[test]
    fn an_unknown_kind_is_named_and_skipped() {
        let body = [&[0x81, 0xa4], &b"NOPE"[..], &[0x81, 0xa1, b'x', 0x01]].concat();
        let framed = framed(&body);
        assert_eq!(decode(&framed, 256), Ok(Some((Message::Unknown("NOPE".into()), framed.len()))));
    }

    #[test]
    fn an_unknown_kind_of_search_leaves_the_query_its_number() {
        let fields = [&[0x82, 0xa3][..], b"req", &[7, 0xa4], b"find", &[0x82, 0xa1, b'q', 0xa1, b'x', 0xa1, b'k']];
        let with_kind = |kind: &[u8]| framed(&[&[0x81, 0xa5][..], b"QUERY", &fields.concat(), kind].concat());
        let decoded = decode(&with_kind(b"\xa4near"), 256).unwrap().unwrap().0;
        let Message::Query(query) = decoded else { panic!("it is a QUERY") };
        assert_eq!((query.req, query.find.kind), (7, crate::wire::QueryKind::Unknown));
        assert!(matches!(decode(&with_kind(&[0]), 256), Err(WireError::Malformed(_))), "a number is no kind");
    }

    #[test]
    fn an_unknown_field_is_ignored() {
        let body = [&[0x81, 0xa4], &b"PING"[..], &[0x82, 0xa1, b'n', 0x07, 0xa1, b'z', 0x91, 0xc0]].concat();
        assert_eq!(decode(&framed(&body), 256).unwrap().unwrap().0, Message::Ping(Ping { n: 7 }));
    }

    #[test]
    fn a_name_is_a_text_even_of_a_field_that_is_ignored() {
        let known: &[u8] = &[0xa1, b'n', 0x07];
        for length in 1..=31_u8 {
            let name = vec![b'z'; length.into()];
            let ping = |name: &[u8]| {
                let other = [&[0xa0 | length][..], name, &[0x07]].concat();
                let head = [&[0x81, 0xa4][..], b"PING", &[0x82]].concat();
                [[&head, known, &other].concat(), [&head, &other[..], known].concat()]
            };
            assert!(ping(&name).iter().all(|body| !malformed(body)), "{length}");
            for at in 0..usize::from(length) {
                let mut name = name.clone();
                name[at] = 0xff;
                assert!(ping(&name).iter().all(|body| malformed(body)), "{length}, {at}");
            }
        }
    }

    #[test]
    fn a_pattern_is_a_text_whatever_its_length() {
        let query = |pattern: &[u8]| {
            let head = [&[0x81, 0xa5][..], b"QUERY", &[0x82, 0xa3], b"req", &[7, 0xa4], b"find", &[0x82, 0xa1, b'q']];
            let length = [0xd9, u8::try_from(pattern.len()).unwrap()];
            [&head.concat()[..], &length, pattern, &[0xa1, b'k', 0xa5], b"exact"].concat()
        };
        let decoded = |text: &str| match decode(&framed(&query(text.as_bytes())), 512) {
            Ok(Some((Message::Query(query), _))) => query.find.pattern,
            other => panic!("{other:?}"),
        };
        for length in 1..=80 {
            let text = "x".repeat(length);
            assert_eq!(decoded(&text), text);
            let accented = "x".repeat(length - 1) + "é";
            assert_eq!(decoded(&accented), accented);
            for at in 0..length {
                // A byte of no text, and the first byte of a character without its second one.
                for byte in [0xff, 0xc3] {
                    let mut bytes = text.clone().into_bytes();
                    bytes[at] = byte;
                    assert!(malformed(&query(&bytes)), "{byte:x} at {at} of {length}");
                }
            }
        }
    }

    #[test]
    fn depth_is_bounded_even_in_fields_that_are_ignored() {
        let mut body = [&[0x81, 0xa4], &b"PING"[..], &[0x82, 0xa1, b'n', 0x07, 0xa1, b'z']].concat();
        body.extend([0x91; 100]);
        body.push(0xc0);
        assert_eq!(decode(&framed(&body), 256), Err(WireError::TooDeep));
        let unknown = [&[0x81, 0xa4][..], b"NOPE", &[0x91; 100], &[0xc0]].concat();
        assert_eq!(decode(&framed(&unknown), 256), Err(WireError::TooDeep));
    }

    #[test]
    fn a_huge_announced_list_is_refused_without_its_memory() {
        let body =
            [&[0x81, 0xa3], &b"HIT"[..], &[0x82, 0xa3], b"req", &[1, 0xa4], b"hits", &[0xdd, 255, 255, 255, 255]]
                .concat();
        assert!(matches!(decode(&framed(&body), 256), Err(WireError::Malformed(_))));
    }

    fn malformed(body: &[u8]) -> bool {
        matches!(decode(&framed(body), 256), Err(WireError::Malformed(_)))
    }

    #[test]
    fn a_struct_is_a_map_and_a_kind_a_text() {
        assert!(malformed(&[&[0x81, 0xa4], &b"PING"[..], &[0x91, 7]].concat()), "fields in an array");
        assert!(malformed(&[0x81, 0x0e, 0x81, 0xa1, b'n', 7]), "a kind by its number");
        assert!(malformed(&[&[0x81, 0xa4], &b"PING"[..], &[0x81, 0, 7]].concat()), "a field by its number");
        assert!(malformed(&[&[0xa5][..], b"READY"].concat()), "a kind without its map");
        assert!(malformed(&[&[0x81, 0xa5][..], b"READY", &[0x90]].concat()), "no fields in an array");
        let login = [&[0x81, 0xa5][..], b"LOGIN", &[0x82, 0xa4], b"mode", &[0xa1, b'x', 0xa4], b"cred"].concat();
        assert!(malformed(&[&login[..], &[0x91, 1]].concat()), "bytes as a list of numbers");
        assert!(malformed(&[&login[..], &[0xa1, b'x']].concat()), "bytes as a text");
        assert!(!malformed(&[&login[..], &[0xc4, 1, b'x']].concat()));
    }

    #[test]
    fn a_field_that_is_nil_is_not_there() {
        let list = [&[0x81, 0xa4][..], b"LIST"].concat();
        let no_after = [&list[..], &[0x82, 0xa5], b"after", &[0xc0, 0xa3], b"req", &[5]].concat();
        let expected = Message::List(super::super::message::List { req: 5, after: None, partial: false });
        assert_eq!(decode(&framed(&no_after), 256).unwrap().unwrap().0, expected);
        let long_name = [&list[..], &[0x82, 0xd9, 5], b"after", &[0xc0, 0xa3], b"req", &[5]].concat();
        assert_eq!(decode(&framed(&long_name), 256).unwrap().unwrap().0, expected);
        assert!(malformed(&[&list[..], &[0x81, 0xa3], b"req", &[0xc0]].concat()), "it must be there");
        let done =
            [&[0x81, 0xa4][..], b"DONE", &[0x86, 0xa3], b"req", &[1, 0xa4], b"hits", &[0, 0xa7], b"reached", &[1]];
        let done = [&done.concat()[..], &[0xa8], b"complete", &[0xc3, 0xa2], b"ms", &[0, 0xa3], b"cut"].concat();
        assert!(!malformed(&[&done[..], &[0xc0]].concat()), "no cuts");
        assert!(!malformed(&[&done[..], &[0x81, 0xa3], b"ttl", &[0xc0]].concat()), "a cut that is not there");
        assert!(malformed(&[&done[..], &[0x91, 1]].concat()), "cuts in an array");
    }

    #[test]
    fn a_hello_of_another_major_version_is_reported_as_such_whatever_else_is_in_it() {
        let hello = |kind: &str, fields: &[u8]| {
            decode(&framed(&[&[0x81, 0xa0 | u8::try_from(kind.len()).unwrap()], kind.as_bytes(), fields].concat()), 256)
        };
        let later = [&[0x82, 0xa1, b'k'][..], &[0x92, 1, 0xc0, 0xa1, b'v', 0x93, 2, 0, 7]].concat();
        assert_eq!(hello("HELLO", &later), Err(WireError::Version));
        assert_eq!(hello("WELCOME", &later), Err(WireError::Version));
        assert!(matches!(hello("LOGIN", &later), Err(WireError::Malformed(_))));
        let ours = [&[0x81, 0xa1, b'v'][..], &[0x92, 1, 0]].concat();
        assert!(matches!(hello("HELLO", &ours), Err(WireError::Malformed(_))));
        assert!(matches!(hello("HELLO", &[0x81, 0xa1, b'v', 2]), Err(WireError::Malformed(_))));
    }

    #[test]
    fn numbers_may_be_written_signed_but_not_be_negative() {
        let ping = |n: &[u8]| decode(&framed(&[&[0x81, 0xa4], &b"PING"[..], &[0x81, 0xa1, b'n'], n].concat()), 256);
        for n in [
            &[0x07][..],
            &[0xcc, 7],
            &[0xcd, 0, 7],
            &[0xce, 0, 0, 0, 7],
            &[0xd0, 7],
            &[0xd3, 0, 0, 0, 0, 0, 0, 0, 7],
            &[0xcf, 0, 0, 0, 0, 0, 0, 0, 7],
        ] {
            assert_eq!(ping(n).unwrap().unwrap().0, Message::Ping(Ping { n: 7 }));
        }
        for n in
            [&[0xff][..], &[0xd0, 0x80], &[0xcf, 0, 0, 0, 1, 0, 0, 0, 0], &[0xca, 0x40, 0xe0, 0, 0], &[0xc3], &[0xc1]]
        {
            assert!(matches!(ping(n), Err(WireError::Malformed(_))), "{n:x?}");
        }
    }

    #[test]
    fn a_list_of_fixed_length_has_that_length() {
        let node = [&[0xc4, 16][..], &[0; 16]].concat();
        let hello = |v: &[u8]| {
            let fields = [&[0x83, 0xa1, b'v'][..], v, &[0xa4], b"node", &node, &[0xa4], b"boot", &[1]].concat();
            decode(&framed(&[&[0x81, 0xa5][..], b"HELLO", &fields].concat()), 256)
        };
        assert!(hello(&[0x92, 1, 0]).is_ok());
        for v in [&[0x93, 1, 0, 0][..], &[0x91, 1], &[0x90]] {
            assert!(matches!(hello(v), Err(WireError::Malformed(_))), "{v:x?}");
        }
    }
}
