//! Credentials, rotations and revocations as a stranger may send them: what is read is written
//! again as the same bytes, and nothing that was not signed is accepted.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sprat::trust::credential::Grant;
use sprat::trust::{Credential, Network, Rotation, SecretKey};

fuzz_target!(|data: &[u8]| {
    if let Ok(credential) = Credential::decode(data) {
        assert_eq!(credential.encode(), data, "one encoding");
        let network = Network::new([credential.operator]);
        let checked = network.check(data, credential.key, credential.issued.max(credential.not_before));
        assert!(checked.is_err() || credential.is_signed());
        let other = SecretKey::from_seed([7; 32]).public();
        assert!(network.check(data, other, credential.issued).is_err() || other == credential.key);
    }
    if let Ok(rotation) = Rotation::decode(data) {
        assert_eq!(rotation.encode(), data);
    }
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(grant) = text.parse::<Grant>()
    {
        assert_eq!(grant.to_string().parse::<Grant>(), Ok(grant));
    }
});
