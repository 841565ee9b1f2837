//! Converts between a message and its MessagePack: `rmp-serde` encodes, and [`Unpack`] decodes.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::WireError;
use super::unpack::{Refused, Unpack, Why};

pub(super) fn encode_into<T: Serialize>(out: &mut Vec<u8>, message: &T) {
    let mut serializer = rmp_serde::Serializer::new(out).with_struct_map();
    message.serialize(&mut serializer).expect("every message can be encoded, and writing to a Vec cannot fail");
}

/// Decodes the first message. Returns it and its length in bytes. If its kind is unknown, returns
/// only the name of the kind.
pub(super) fn decode_one<T: DeserializeOwned>(bytes: &[u8], unknown: fn(String) -> T) -> Result<(T, usize), WireError> {
    let mut unpack = Unpack::new(bytes);
    match T::deserialize(&mut unpack) {
        Ok(message) => Ok((message, bytes.len() - unpack.rest().len())),
        Err(refused) => not_decoded(refused, bytes, unknown),
    }
}

/// The same for bytes that must have nothing after the message. A message is large: this moves it
/// less often.
#[inline]
pub(super) fn decode_only<T: DeserializeOwned>(bytes: &[u8], unknown: fn(String) -> T) -> Result<T, WireError> {
    let mut unpack = Unpack::new(bytes);
    let trailing = match T::deserialize(&mut unpack) {
        Ok(message) if unpack.rest().is_empty() => return Ok(message),
        Ok(_) => unpack.rest().len(),
        Err(refused) => {
            let (message, used) = not_decoded(refused, bytes, unknown)?;
            if used == bytes.len() {
                return Ok(message);
            }
            bytes.len() - used
        }
    };
    Err(WireError::Trailing { bytes: trailing })
}

#[cold]
fn not_decoded<T>(refused: Refused, bytes: &[u8], unknown: fn(String) -> T) -> Result<(T, usize), WireError> {
    match refused.why() {
        Why::TooDeep => Err(WireError::TooDeep),
        Why::UnknownKind => skip_unknown(bytes, unknown),
        Why::Wrong(why) => Err(WireError::Malformed(why)),
    }
}

fn skip_unknown<T>(bytes: &[u8], unknown: fn(String) -> T) -> Result<(T, usize), WireError> {
    /// How many characters of the name are kept.
    const NAME_CHARS_MAX: usize = 32;
    let mut unpack = Unpack::new(bytes);
    let Some(_) = unpack.open_map() else {
        return Err(WireError::Malformed("a text where a map was expected".to_owned()));
    };
    let kind = unpack.text().unwrap_or_default().chars().take(NAME_CHARS_MAX).collect();
    match unpack.skip() {
        Ok(()) => Ok((unknown(kind), bytes.len() - unpack.rest().len())),
        Err(refused) => match refused.why() {
            Why::TooDeep => Err(WireError::TooDeep),
            Why::UnknownKind => Err(WireError::Malformed("an unknown kind".to_owned())),
            Why::Wrong(why) => Err(WireError::Malformed(why)),
        },
    }
}

/// The major version in a HELLO or WELCOME. No other field is read, because other versions may have
/// other fields.
pub(super) fn greeted_version(bytes: &[u8]) -> Option<u64> {
    let mut unpack = Unpack::new(bytes);
    if unpack.open_map()? != 1 || !matches!(unpack.text()?, "HELLO" | "WELCOME") {
        return None;
    }
    for _ in 0..unpack.open_map()? {
        if unpack.text()? == "v" {
            return unpack.first_number();
        }
        unpack.skip().ok()?;
    }
    None
}
