//! Collections as a source may send them, in parts of any length: what is accepted is written again
//! to the same bytes, and the reader holds no more than a record.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sprat::wire::collection::{HEAD, Item, RECORD_BYTES_MAX, Reader, Writer};

fn check(bytes: &[u8], step: usize) {
    let (mut reader, mut writer, mut again) = (Reader::default(), Writer::default(), Vec::new());
    let mut last: Option<Item> = None;
    for part in bytes.chunks(step) {
        reader.feed(part);
        loop {
            match reader.item() {
                Ok(Some(item)) => {
                    writer.add(&item, &mut again).expect("what is read can be written");
                    assert!(item.path.as_str().split('/').all(|part| !matches!(part, "" | "." | "..")));
                    assert!(last.is_none_or(|last| last.path.as_str() < item.path.as_str()));
                    last = Some(item);
                }
                Ok(None) => break,
                Err(_) => return,
            }
        }
    }
    if reader.finish().is_ok() {
        writer.begin(&mut again);
        assert_eq!(again, bytes, "one list has one form");
    } else {
        let taken = if again.is_empty() && bytes.len() >= HEAD.len() { HEAD.len() } else { again.len() };
        assert!(bytes.len() - taken <= RECORD_BYTES_MAX, "the reader waits for more than a record");
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((step, bytes)) = data.split_first() else { return };
    let step = usize::from(*step).max(1);
    check(bytes, step);
    check(&[HEAD, bytes].concat(), step);
});
