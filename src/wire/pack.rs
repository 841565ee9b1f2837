//! Our own messages as MessagePack: structs as maps with their names, numbers in their shortest form.
//!
//! A serializer of serde that appends to a `Vec` and allocates nothing of its own. Its bytes are those of rmp-serde with
//! `with_struct_map` (a test compares them); it takes what our messages are made of, and no floats or negative numbers.

use std::fmt::{self, Display, Write};

use serde::ser::{self, Impossible, Serialize};

/// Longest text whose length fits the first byte.
const SHORT_TEXT_MAX: usize = 31;

/// Appends what is serialized with it.
pub(super) struct Pack<'a>(pub(super) &'a mut Vec<u8>);

/// A value that no message of ours has.
#[derive(Debug)]
pub(super) struct Unpackable(String);

impl Display for Unpackable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unpackable {}

impl ser::Error for Unpackable {
    fn custom<T: Display>(why: T) -> Unpackable {
        Unpackable(why.to_string())
    }
}

impl Pack<'_> {
    pub(super) fn number(&mut self, n: u64) {
        let [.., a, b, c, d] = n.to_be_bytes();
        match n {
            0..=0x7f => self.0.push(d),
            0x80..=0xff => self.0.extend_from_slice(&[0xcc, d]),
            0x100..=0xffff => self.0.extend_from_slice(&[0xcd, c, d]),
            0x1_0000..=0xffff_ffff => self.0.extend_from_slice(&[0xce, a, b, c, d]),
            0x1_0000_0000.. => {
                self.0.push(0xcf);
                self.0.extend_from_slice(&n.to_be_bytes());
            }
        }
    }

    /// The head of something with a length: in the first byte itself if it is short, else behind one of the markers for
    /// 8 (if there is one), 16 and 32 bits.
    fn head(&mut self, length: usize, short: (u8, usize), markers: [u8; 3]) {
        let length_u32 = u32::try_from(length).unwrap_or(u32::MAX);
        let [a, b, c, d] = length_u32.to_be_bytes();
        if length < short.1 {
            self.0.push(short.0 | d);
        } else if length <= 0xff && markers[0] != 0 {
            self.0.extend_from_slice(&[markers[0], d]);
        } else if length <= 0xffff {
            self.0.extend_from_slice(&[markers[1], c, d]);
        } else {
            self.0.extend_from_slice(&[markers[2], a, b, c, d]);
        }
    }

    pub(super) fn text(&mut self, text: &str) {
        self.text_head(text.len());
        self.0.extend_from_slice(text.as_bytes());
    }

    pub(super) fn text_head(&mut self, length: usize) {
        self.head(length, (0xa0, SHORT_TEXT_MAX + 1), [0xd9, 0xda, 0xdb]);
    }

    pub(super) fn array(&mut self, length: usize) {
        self.head(length, (0x90, 16), [0, 0xdc, 0xdd]);
    }

    fn map(&mut self, length: usize) {
        self.head(length, (0x80, 16), [0, 0xde, 0xdf]);
    }
}

/// What the lists and maps of a value are written with.
pub(super) struct Inner<'a, 'b>(&'b mut Pack<'a>);

type Packed = Result<(), Unpackable>;

fn refuse<T>(what: &str) -> Result<T, Unpackable> {
    Err(Unpackable(format!("no message has {what}")))
}

fn unsigned(n: i64) -> Result<u64, Unpackable> {
    u64::try_from(n).or_else(|_| refuse("negative numbers"))
}

/// Text that is written where it will stand.
struct Tail<'a>(&'a mut Vec<u8>);

impl Write for Tail<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

impl<'a, 'b> ser::Serializer for &'b mut Pack<'a> {
    type Ok = ();
    type Error = Unpackable;
    type SerializeSeq = Inner<'a, 'b>;
    type SerializeTuple = Inner<'a, 'b>;
    type SerializeTupleStruct = Inner<'a, 'b>;
    type SerializeTupleVariant = Impossible<(), Unpackable>;
    type SerializeMap = Inner<'a, 'b>;
    type SerializeStruct = Inner<'a, 'b>;
    type SerializeStructVariant = Impossible<(), Unpackable>;

    fn is_human_readable(&self) -> bool {
        false
    }

    fn serialize_bool(self, value: bool) -> Packed {
        self.0.push(0xc2 | u8::from(value));
        Ok(())
    }

    fn serialize_i8(self, n: i8) -> Packed {
        self.serialize_i64(n.into())
    }

    fn serialize_i16(self, n: i16) -> Packed {
        self.serialize_i64(n.into())
    }

    fn serialize_i32(self, n: i32) -> Packed {
        self.serialize_i64(n.into())
    }

    fn serialize_i64(self, n: i64) -> Packed {
        self.number(unsigned(n)?);
        Ok(())
    }

    fn serialize_u8(self, n: u8) -> Packed {
        self.serialize_u64(n.into())
    }

    fn serialize_u16(self, n: u16) -> Packed {
        self.serialize_u64(n.into())
    }

    fn serialize_u32(self, n: u32) -> Packed {
        self.serialize_u64(n.into())
    }

    fn serialize_u64(self, n: u64) -> Packed {
        self.number(n);
        Ok(())
    }

    fn serialize_f32(self, _: f32) -> Packed {
        refuse("floats")
    }

    fn serialize_f64(self, _: f64) -> Packed {
        refuse("floats")
    }

    fn serialize_char(self, c: char) -> Packed {
        self.text(c.encode_utf8(&mut [0; 4]));
        Ok(())
    }

    fn serialize_str(self, text: &str) -> Packed {
        self.text(text);
        Ok(())
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Packed {
        self.head(bytes.len(), (0, 0), [0xc4, 0xc5, 0xc6]);
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn serialize_none(self) -> Packed {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Packed {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Packed {
        self.0.push(0xc0);
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Packed {
        refuse("structs without a form")
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Packed {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Packed {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Packed {
        self.map(1);
        self.text(variant);
        value.serialize(self)
    }

    fn serialize_seq(self, length: Option<usize>) -> Result<Inner<'a, 'b>, Unpackable> {
        let Some(length) = length else { return refuse("lists of unknown length") };
        self.array(length);
        Ok(Inner(self))
    }

    fn serialize_tuple(self, length: usize) -> Result<Inner<'a, 'b>, Unpackable> {
        self.array(length);
        Ok(Inner(self))
    }

    fn serialize_tuple_struct(self, _: &'static str, length: usize) -> Result<Inner<'a, 'b>, Unpackable> {
        self.serialize_tuple(length)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Impossible<(), Unpackable>, Unpackable> {
        refuse("variants with several values")
    }

    fn serialize_map(self, length: Option<usize>) -> Result<Inner<'a, 'b>, Unpackable> {
        let Some(length) = length else { return refuse("maps of unknown length") };
        self.map(length);
        Ok(Inner(self))
    }

    fn serialize_struct(self, _: &'static str, length: usize) -> Result<Inner<'a, 'b>, Unpackable> {
        self.map(length);
        Ok(Inner(self))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Impossible<(), Unpackable>, Unpackable> {
        refuse("variants with fields")
    }

    /// Without a `String` in between: room for the length is made in front of the text once that is known.
    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Packed {
        let start = self.0.len();
        self.0.push(0);
        if write!(Tail(self.0), "{value}").is_err() {
            return refuse("texts that cannot be written");
        }
        let length = self.0.len() - start - 1;
        if length <= SHORT_TEXT_MAX {
            self.0[start] = 0xa0 | u8::try_from(length).expect("at most 31");
            return Ok(());
        }
        let text = self.0.split_off(start + 1);
        self.0.pop();
        self.serialize_str(std::str::from_utf8(&text).expect("it was written as text"))
    }
}

impl ser::SerializeSeq for Inner<'_, '_> {
    type Ok = ();
    type Error = Unpackable;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Packed {
        value.serialize(&mut *self.0)
    }

    fn end(self) -> Packed {
        Ok(())
    }
}

impl ser::SerializeTuple for Inner<'_, '_> {
    type Ok = ();
    type Error = Unpackable;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Packed {
        value.serialize(&mut *self.0)
    }

    fn end(self) -> Packed {
        Ok(())
    }
}

impl ser::SerializeTupleStruct for Inner<'_, '_> {
    type Ok = ();
    type Error = Unpackable;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Packed {
        value.serialize(&mut *self.0)
    }

    fn end(self) -> Packed {
        Ok(())
    }
}

impl ser::SerializeMap for Inner<'_, '_> {
    type Ok = ();
    type Error = Unpackable;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Packed {
        key.serialize(&mut *self.0)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Packed {
        value.serialize(&mut *self.0)
    }

    fn end(self) -> Packed {
        Ok(())
    }
}

impl ser::SerializeStruct for Inner<'_, '_> {
    type Ok = ();
    type Error = Unpackable;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Packed {
        self.0.text(name);
        value.serialize(&mut *self.0)
    }

    fn end(self) -> Packed {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Serialize;

    use super::Pack;
    use crate::wire::HostPort;

    #[derive(Serialize)]
    struct Everything {
        yes: bool,
        none: Option<u8>,
        some: Option<u32>,
        numbers: Vec<u64>,
        pair: (u8, u32),
        text: String,
        long: String,
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
        host: HostPort,
        counts: BTreeMap<String, u64>,
        inner: Inner,
    }

    #[derive(Serialize)]
    enum Inner {
        One,
        Two(Empty),
    }

    #[derive(Serialize)]
    struct Empty {}

    fn check_same(value: &impl Serialize) {
        let mut ours = Vec::new();
        value.serialize(&mut Pack(&mut ours)).unwrap();
        let mut theirs = Vec::new();
        value.serialize(&mut rmp_serde::Serializer::new(&mut theirs).with_struct_map()).unwrap();
        assert_eq!(ours, theirs);
    }

    #[test]
    fn the_bytes_are_those_of_rmp_serde() {
        let edges = [0, 1, 15, 16, 31, 32, 127, 128, 255, 256, 65_535, 65_536, 70_000];
        for (n, length) in edges.into_iter().enumerate() {
            check_same(&Everything {
                yes: n % 2 == 0,
                none: None,
                some: Some(u32::try_from(length).unwrap()),
                numbers: (0..length as u64).chain([u64::from(u32::MAX), u64::from(u32::MAX) + 1, u64::MAX]).collect(),
                pair: (255, 65_536),
                text: "ä".repeat(length / 2),
                long: "x".repeat(length),
                bytes: vec![7; length],
                host: HostPort::new(&"h".repeat(length.clamp(1, 100)), 4777).unwrap(),
                counts: (0..length.min(300)).map(|n| (n.to_string(), n as u64)).collect(),
                inner: if n % 2 == 0 { Inner::One } else { Inner::Two(Empty {}) },
            });
        }
    }

    #[test]
    fn what_no_message_has_is_refused() {
        assert!((-1_i8).serialize(&mut Pack(&mut Vec::new())).is_err());
        assert!(0.5_f64.serialize(&mut Pack(&mut Vec::new())).is_err());
    }
}
