//! A whole super peer, fed whatever the bytes say.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| sprat_fuzz::super_world::run(data));
