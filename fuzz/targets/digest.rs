//! Digest messages in any order, forged and repeated, to a super peer whose own index changes.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| sprat_fuzz::super_world::run_digests(data));
