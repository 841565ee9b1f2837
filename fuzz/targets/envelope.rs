//! Handshakes and sealed datagrams between two neighbors, lost, late, damaged, repeated and forged.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| sprat_fuzz::envelope_world::run(data));
