//! The URI of a content: one line that people copy and paste. It handles only text; it resolves and
//! dials nothing.
//!
//! ```text
//! sprat:ROOT,size=N,super=KEY@HOST:PORT,name=NAME
//! ```
//!
//! Only the root is required. A shell reads a URI that is written here as one word, without quotes.

use std::fmt;
use std::str::FromStr;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::addr::HostPort;
use super::ids::Root;
use crate::config::{PATH_BYTES_MAX, URI_BYTES_MAX, URI_SUPERS_MAX};

/// The scheme, with its colon.
pub const SCHEME: &str = "sprat:";

/// The characters that are written as `%XX`: all but the unreserved characters of RFC 3986 §2.3,
/// `:` and `@`.
const ESCAPED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b':').remove(b'@');

/// A content, and super peers that may know its sources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uri {
    /// The content.
    pub root: Root,
    /// Its size in bytes. It is only a claim, like the size in a hit.
    pub size: Option<u64>,
    /// Super peers that may know a source, in order of preference.
    pub supers: Vec<SuperPeer>,
    /// A name for the content. It can be any text and must be sanitized before it reaches a disk.
    pub name: Option<String>,
}

/// A super peer in a URI: `HOST:PORT`, or `KEY@HOST:PORT` with the key that it must prove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SuperPeer {
    /// The key, as it is written.
    pub key: Option<String>,
    /// Where it listens.
    pub addr: HostPort,
}

/// Why a text is not the URI of a content, in a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UriError(String);

impl fmt::Display for UriError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UriError {}

impl Uri {
    /// Whether a text is meant as a URI: it begins with the scheme, in upper or lower case.
    #[must_use]
    pub fn is_meant(text: &str) -> bool {
        text.trim_start().get(..SCHEME.len()).is_some_and(|scheme| scheme.eq_ignore_ascii_case(SCHEME))
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Uri { root, size, supers, name } = self;
        write!(f, "{SCHEME}{root}")?;
        if let Some(size) = size {
            write!(f, ",size={size}")?;
        }
        for SuperPeer { key, addr } in supers {
            f.write_str(",super=")?;
            if let Some(key) = key {
                write!(f, "{}@", utf8_percent_encode(key, ESCAPED))?;
            }
            write!(f, "{}", utf8_percent_encode(&addr.to_string(), ESCAPED))?;
        }
        if let Some(name) = name {
            write!(f, ",name={}", utf8_percent_encode(name, ESCAPED))?;
        }
        Ok(())
    }
}

impl FromStr for Uri {
    type Err = UriError;

    /// Reads a URI. Space around it is ignored, because pasting may add it. Unknown fields are
    /// ignored.
    fn from_str(text: &str) -> Result<Uri, UriError> {
        let text = text.trim();
        if text.len() > URI_BYTES_MAX {
            return Err(UriError(format!("a URI of {} bytes; at most {URI_BYTES_MAX} are allowed", text.len())));
        }
        if !Uri::is_meant(text) {
            return Err(UriError(format!("a URI begins with {SCHEME}")));
        }
        let mut fields = text[SCHEME.len()..].split(',');
        let root = Root::from_hex(fields.next().unwrap_or_default());
        let root =
            root.ok_or_else(|| UriError(format!("after {SCHEME} a URI has a root: 64 hex digits; copy all of it")))?;
        let mut uri = Uri { root, size: None, supers: Vec::new(), name: None };
        for (key, value) in fields.filter_map(|field| field.split_once('=')) {
            match key {
                "size" if uri.size.is_none() => uri.size = Some(size(value)?),
                "name" if uri.name.is_none() => uri.name = Some(name(value)?),
                "super" if uri.supers.len() < URI_SUPERS_MAX => uri.supers.push(super_peer(value)?),
                "super" => return Err(UriError(format!("a URI names at most {URI_SUPERS_MAX} super peers"))),
                "size" | "name" => return Err(UriError(format!("the field {key} is in the URI twice"))),
                _ => {}
            }
        }
        Ok(uri)
    }
}

fn size(value: &str) -> Result<u64, UriError> {
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    let size = digits.then(|| value.parse().ok()).flatten();
    size.ok_or_else(|| UriError("the field size of the URI is not a number of bytes".to_owned()))
}

fn name(value: &str) -> Result<String, UriError> {
    let name = decoded("name", value)?;
    let fits = (1..=PATH_BYTES_MAX).contains(&name.len());
    fits.then_some(name)
        .ok_or_else(|| UriError(format!("the field name of the URI does not have 1 to {PATH_BYTES_MAX} bytes")))
}

fn super_peer(value: &str) -> Result<SuperPeer, UriError> {
    let pin = decoded("super", value)?;
    let (key, addr) = match pin.rsplit_once('@') {
        Some((key, addr)) => (Some(key.to_owned()), addr),
        None => (None, pin.as_str()),
    };
    let addr = addr.parse().map_err(|why| UriError(format!("the field super of the URI: {why}")))?;
    Ok(SuperPeer { key, addr })
}

/// A value without its escapes.
fn decoded(field: &str, value: &str) -> Result<String, UriError> {
    let wrong = |why: &str| UriError(format!("the field {field} of the URI {why}; copy all of it"));
    let hex = |digits: &[u8]| digits.get(..2).is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit));
    let escapes = value.as_bytes().split(|byte| *byte == b'%').skip(1);
    if !escapes.into_iter().all(hex) {
        return Err(wrong("has a % without two hex digits"));
    }
    let text = percent_decode_str(value).decode_utf8().map_err(|_| wrong("is not UTF-8"))?;
    Ok(text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(name: &str, supers: &[&str]) -> Uri {
        let supers = supers.iter().map(|addr| SuperPeer { key: None, addr: addr.parse().unwrap() });
        Uri { root: Root([0xab; 32]), size: Some(5), supers: supers.collect(), name: Some(name.to_owned()) }
    }

    #[test]
    fn a_uri_is_one_word_of_a_shell_and_reads_back() {
        let names =
            ["x", "a b,c=d&e;f", "100% [live] $HOME `id` 'q' \"q\" ~", "Señorita 上海 ไทย 🐟", "-rf", "a\nb", "x/y"];
        for name in names {
            let given = uri(name, &["192.0.2.1:4777", "[2001:db8::1]:4777"]);
            let text = given.to_string();
            let plain = |c: char| c.is_ascii_alphanumeric() || "-._~:@,=%".contains(c);
            assert!(text.chars().all(plain), "{text}");
            assert_eq!(text.parse(), Ok(given), "{text}");
        }
        let pinned = SuperPeer { key: Some("abc234".into()), addr: "h:1".parse().unwrap() };
        let pinned = Uri { supers: vec![pinned], ..uri("x", &[]) };
        assert_eq!(pinned.to_string(), format!("sprat:{},size=5,super=abc234@h:1,name=x", "ab".repeat(32)));
        assert_eq!(pinned.to_string().parse(), Ok(pinned));
    }

    #[test]
    fn only_the_root_is_required_and_unknown_fields_are_ignored() {
        let root = "ab".repeat(32);
        let bare = Uri { root: Root([0xab; 32]), size: None, supers: Vec::new(), name: None };
        for text in [
            format!("sprat:{root}"),
            format!("  SPRAT:{}\n", root.to_uppercase()),
            format!("sprat:{root},color=blue,,flag,=,size2=x"),
        ] {
            assert_eq!(text.parse(), Ok(bare.clone()), "{text}");
        }
        let spoken: Uri = format!("sprat:{root},name=Señor%20x").parse().unwrap();
        assert_eq!(spoken.name.as_deref(), Some("Señor x"), "a chat may show escapes as text");
    }

    #[test]
    fn a_damaged_uri_is_refused() {
        let root = "ab".repeat(32);
        for text in [
            "sprat:",
            "sprat:abc",
            "http://x",
            &root,
            &format!("sprat:{}", &root[1..]),
            &format!("sprat:{root} x"),
            &format!("sprat:{root},size="),
            &format!("sprat:{root},size=+5"),
            &format!("sprat:{root},size=18446744073709551616"),
            &format!("sprat:{root},size=1,size=1"),
            &format!("sprat:{root},name="),
            &format!("sprat:{root},name=a,name=b"),
            &format!("sprat:{root},name=%"),
            &format!("sprat:{root},name=%4"),
            &format!("sprat:{root},name=%zz"),
            &format!("sprat:{root},name=%ff"),
            &format!("sprat:{root},name={}", "x".repeat(PATH_BYTES_MAX + 1)),
            &format!("sprat:{root},super=h"),
            &format!("sprat:{root},super=k@"),
            &format!("sprat:{root}{}", ",super=h:1".repeat(URI_SUPERS_MAX + 1)),
            &format!("sprat:{root},x={}", "x".repeat(URI_BYTES_MAX)),
        ] {
            assert!(text.parse::<Uri>().is_err(), "{text}");
        }
    }
}
