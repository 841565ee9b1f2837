//! The body of one frame: decoded, encoded, and decoded again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sprat::config::FRAME_BYTES_OPEN;
use sprat::wire::frame;
use sprat_fuzz::{check_message, fits_a_frame};

fuzz_target!(|body: &[u8]| {
    let Ok(length) = u32::try_from(body.len()) else { return };
    let framed = [&length.to_be_bytes(), body].concat();
    match frame::decode(&framed, FRAME_BYTES_OPEN) {
        Ok(Some((message, used))) => {
            assert_eq!(used, framed.len());
            if fits_a_frame(&message) {
                check_message(&message);
            }
        }
        Ok(None) => panic!("the frame is complete"),
        Err(error) => assert!(!error.reason().is_empty() && error.to_string().len() < 4 * body.len() + 400),
    }
});
