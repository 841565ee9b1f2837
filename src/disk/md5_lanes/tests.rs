use std::io::Write;

use super::strips::STRIP_BYTES;
use super::width::Width;
use super::{Source, md5_each_at, md5_of};
use crate::wire::ids::Md5;

/// The most lanes of any width.
const LANES_MAX: usize = 16;

fn messages(lengths: impl Iterator<Item = usize>) -> Vec<Vec<u8>> {
    lengths.enumerate().map(|(n, length)| (0..length).map(|i| (i * 31 + n * 7 + i / 251) as u8).collect()).collect()
}

fn each(width: Width, sources: &[Source<'_>]) -> Vec<Option<Md5>> {
    md5_each_at(width, sources, &mut Vec::new()).into_iter().map(Result::ok).collect()
}

/// Compares the results of every width that this processor has.
fn assert_each(messages: &[Vec<u8>]) {
    let sources: Vec<Source<'_>> = messages.iter().map(|message| Source::Bytes(message)).collect();
    let singly: Vec<Md5> = messages.iter().map(|message| md5_of(message)).collect();
    for width in Width::all() {
        assert_eq!(each(width, &sources), singly.iter().map(|md5| Some(*md5)).collect::<Vec<_>>(), "{width:?}");
    }
}

#[test]
fn every_length_around_a_block_has_its_md5_in_every_lane() {
    for length in (0..200).chain([4095, 4096, 4097]) {
        assert_each(&messages(std::iter::repeat_n(length, LANES_MAX)));
    }
}

#[test]
fn every_number_of_messages_is_served() {
    for count in 0..=2 * LANES_MAX + 3 {
        assert_each(&messages(std::iter::repeat_n(1000, count)));
    }
}

/// Calls `check` with a file that contains these messages one after the other, each as a range.
fn with_ranges(messages: &[Vec<u8>], check: impl Fn(&[Source<'_>])) {
    let mut file = tempfile::tempfile().unwrap();
    messages.iter().for_each(|message| file.write_all(message).unwrap());
    let mut offset = 0;
    let range = |message: &Vec<u8>| {
        offset += message.len() as u64;
        Source::File { file: &file, offset: offset - message.len() as u64, length: message.len() }
    };
    check(&messages.iter().map(range).collect::<Vec<_>>());
}

#[test]
fn ranges_of_files_hash_to_what_their_bytes_hash_to() {
    for length in [0, 1, 63, 64, STRIP_BYTES - 1, STRIP_BYTES, STRIP_BYTES + 1, 2 * STRIP_BYTES, 3 * STRIP_BYTES + 100]
    {
        for count in [1, 2, LANES_MAX, LANES_MAX + 3] {
            let messages = messages(std::iter::repeat_n(length, count));
            with_ranges(&messages, |ranges| {
                for width in Width::all() {
                    for (message, md5) in messages.iter().zip(each(width, ranges)) {
                        assert_eq!(md5, Some(md5_of(message)), "{count} of {length} bytes, {width:?}");
                    }
                }
            });
        }
    }
}

#[test]
fn a_file_that_cannot_be_read_disturbs_no_other() {
    let messages = messages(std::iter::repeat_n(STRIP_BYTES + 5, 5));
    with_ranges(&messages, |ranges| {
        let mut sources = ranges.to_vec();
        sources[1] = Source::Bytes(&messages[1]);
        // The end of this range is beyond the end of the file.
        if let Source::File { offset, .. } = &mut sources[2] {
            *offset = 4 * (STRIP_BYTES as u64 + 5) + 1;
        }
        for width in Width::all() {
            for (n, (message, md5)) in messages.iter().zip(each(width, &sources)).enumerate() {
                assert_eq!(md5, (n != 2).then(|| md5_of(message)), "message {n}, {width:?}");
            }
        }
    });
}

#[test]
fn md5_of_abc_is_that_of_rfc_1321() {
    assert_eq!(md5_of(b"abc").to_string(), "900150983cd24fb0d6963f7d28e17f72");
}

#[test]
fn messages_of_several_lengths_keep_their_order() {
    assert_each(&messages([5, 64, 5, 64, 64, 5, 64, 1, 70, 5, 70, 70].into_iter()));
}

#[test]
fn the_widest_comes_first_and_one_lane_is_always_there() {
    let lanes: Vec<usize> = Width::all().into_iter().map(Width::lanes).collect();
    assert!(lanes.is_sorted_by(|a, b| a > b) && lanes.last() == Some(&1));
    assert!(lanes.iter().all(|lanes| *lanes <= LANES_MAX) && Width::widest().lanes() == lanes[0]);
}
