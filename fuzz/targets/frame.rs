//! A stream of frames yields the same messages and the same final error, however it is cut.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sprat::config::{FRAME_BYTES_HELLO, FRAME_BYTES_LOGIN, FRAME_BYTES_OPEN};
use sprat::wire::{Message, WireError, frame};

/// The messages at the front of the bytes, up to the first incomplete or malformed one.
fn read(mut bytes: &[u8], cap: usize, messages: &mut Vec<Message>) -> Result<usize, WireError> {
    let whole = bytes.len();
    while let Some((message, used)) = frame::decode(bytes, cap)? {
        assert!(used > frame::LENGTH_BYTES && used <= frame::LENGTH_BYTES + cap && used <= bytes.len());
        messages.push(message);
        bytes = &bytes[used..];
    }
    assert!(bytes.len() < frame::LENGTH_BYTES + cap, "a complete frame is decoded");
    Ok(whole - bytes.len())
}

fuzz_target!(|data: &[u8]| {
    let [which, step, stream @ ..] = data else { return };
    let cap = [FRAME_BYTES_HELLO, FRAME_BYTES_LOGIN, FRAME_BYTES_OPEN][usize::from(which % 3)];
    let mut whole = Vec::new();
    let end = read(stream, cap, &mut whole).map(|used| stream.len() - used);

    let (mut cut, mut kept, mut ended) = (Vec::new(), Vec::new(), None);
    for part in stream.chunks(usize::from(step % 64) + 1) {
        kept.extend_from_slice(part);
        match read(&kept, cap, &mut cut) {
            Ok(used) => drop(kept.drain(..used)),
            Err(error) => {
                ended = Some(error);
                break;
            }
        }
    }
    assert_eq!(whole, cut, "the cuts do not change the result");
    assert_eq!(end, ended.map_or(Ok(kept.len()), Err));
});
