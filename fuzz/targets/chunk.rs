//! A source that was asked for chunks: headers of chunks, and whatever else it says, while payloads
//! come.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| sprat_fuzz::weak_world::run_source(data));
