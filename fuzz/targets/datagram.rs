//! One datagram: decoded, encoded into as many datagrams as needed, and decoded again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sprat::wire::link::{self, PACKED_BYTES_MAX, Packer};
use sprat_fuzz::{check_link_message, fits_a_datagram};

fuzz_target!(|data: &[u8]| {
    let Ok((boot, mut messages)) = link::decode(data) else { return };
    messages.retain(fits_a_datagram);
    messages.iter().for_each(check_link_message);
    let mut packer = Packer::new(boot);
    let mut datagrams: Vec<_> = messages.iter().filter_map(|message| packer.push(message)).collect();
    datagrams.extend(packer.finish());
    let mut again = Vec::new();
    for datagram in datagrams {
        assert!(datagram.len() <= PACKED_BYTES_MAX);
        let (same, some) = link::decode(&datagram).expect("what was encoded can be decoded");
        assert_eq!(same, boot);
        again.extend(some);
    }
    assert_eq!(messages, again);
});
