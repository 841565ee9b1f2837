//! Invitations, pins and keys as people may paste them: what is accepted reads back from what is
//! written, and a damaged line is refused.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sprat::trust::{Invitation, Pin, PublicKey};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(invitation) = text.parse::<Invitation>() {
        let written = invitation.text();
        assert_eq!(written.parse::<Invitation>(), Ok(invitation));
        for at in 0..written.len() {
            let mut other = written.clone().into_bytes();
            other[at] ^= 1;
            let other = String::from_utf8_lossy(&other).into_owned();
            assert!(other.parse::<Invitation>().is_err(), "{other}");
        }
    }
    if let Ok(pin) = text.parse::<Pin>() {
        assert_eq!(pin.to_string().parse::<Pin>(), Ok(pin));
    }
    if let Ok(key) = text.parse::<PublicKey>() {
        assert_eq!(key.to_string(), text.to_ascii_lowercase());
    }
});
