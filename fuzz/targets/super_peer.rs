//! A complete super peer; the input chooses what it receives.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| sprat_fuzz::super_world::run(data));
