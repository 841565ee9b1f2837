use std::io;

use super::streams::STRIP_BYTES;
use super::{Width, md5_each_stream, portable};
use crate::disk::hash::md5_of;
use crate::wire::ids::Md5;

/// Most lanes of any width.
const LANES_MAX: usize = 16;

fn messages(lengths: impl Iterator<Item = usize>) -> Vec<Vec<u8>> {
    lengths.enumerate().map(|(n, length)| (0..length).map(|i| (i * 31 + n * 7 + i / 251) as u8).collect()).collect()
}

/// At every width that this processor has.
fn assert_each(messages: &[Vec<u8>]) {
    let slices: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
    let singly: Vec<Md5> = slices.iter().map(|message| md5_of(message)).collect();
    for width in Width::all() {
        assert_eq!(width.md5_each(&slices), singly, "{width:?}");
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

#[test]
fn streams_hash_to_what_their_bytes_hash_to() {
    for length in [1, 63, 64, STRIP_BYTES - 1, STRIP_BYTES, STRIP_BYTES + 1, 2 * STRIP_BYTES, 3 * STRIP_BYTES + 100] {
        for count in [1, 2, LANES_MAX, LANES_MAX + 3] {
            let messages = messages(std::iter::repeat_n(length, count));
            let read = |n: usize, at: usize, into: &mut [u8]| {
                into.copy_from_slice(&messages[n][at..at + into.len()]);
                Ok(())
            };
            let digests = md5_each_stream(count, length, &mut Vec::new(), read);
            for (message, digest) in messages.iter().zip(digests) {
                assert_eq!(digest.unwrap(), md5_of(message), "{count} of {length} bytes");
            }
        }
    }
}

#[test]
fn a_stream_that_cannot_be_read_spoils_no_other() {
    let messages = messages(std::iter::repeat_n(STRIP_BYTES + 5, 5));
    let read = |n: usize, at: usize, into: &mut [u8]| {
        into.copy_from_slice(&messages[n][at..at + into.len()]);
        if n == 2 && at > 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    };
    let digests = md5_each_stream(5, STRIP_BYTES + 5, &mut Vec::new(), read);
    for (n, (message, digest)) in messages.iter().zip(digests).enumerate() {
        assert_eq!(digest.ok(), (n != 2).then(|| md5_of(message)), "stream {n}");
    }
}

#[test]
fn messages_of_several_lengths_keep_their_order() {
    assert_each(&messages([5, 5, 5, 64, 64, 64, 64, 1, 70, 70, 70].into_iter()));
}

#[test]
fn the_widest_comes_first_and_the_portable_one_is_always_there() {
    let lanes: Vec<usize> = Width::all().into_iter().map(Width::lanes).collect();
    assert!(lanes.is_sorted_by(|a, b| a > b) && lanes.last() == Some(&portable::LANES));
    assert!(lanes.iter().all(|lanes| *lanes <= LANES_MAX) && Width::widest().lanes() == lanes[0]);
}
