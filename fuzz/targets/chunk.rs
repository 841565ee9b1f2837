//! A downloader whose source sends any chunk headers and messages while payloads arrive.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| sprat_fuzz::weak_world::run_source(data));
