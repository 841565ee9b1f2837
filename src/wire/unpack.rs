//! Converts MessagePack to types in one pass. It accepts only what PROTOCOL.md allows: a struct is
//! a map, a kind is a text, bytes are `bin`, and an array of fixed length has this length.
//! `rmp-serde` would also accept a struct as an array, a variant or a field by its number, and
//! bytes as a list of numbers. It limits neither the depth nor the memory that a list reserves.
//!
//! If the value of a field is `nil`, this means the same as an absent field. An element of an array
//! cannot be absent.

use std::fmt;

use serde::de::value::BorrowedStrDeserializer;
use serde::de::{self, Deserialize, DeserializeSeed, Unexpected, Visitor};
use serde::forward_to_deserialize_any;

use crate::config::DECODE_DEPTH_MAX;

/// An error. It is a pointer, so that the `Result` of each read is small.
#[derive(Debug)]
pub(super) struct Refused(Box<Why>);

/// Why bytes are not a value of the expected type.
#[derive(Debug)]
pub(super) enum Why {
    /// The nesting is deeper than [`DECODE_DEPTH_MAX`].
    TooDeep,
    /// The only key of a message is not a known kind.
    UnknownKind,
    /// Any other reason, for people.
    Wrong(String),
}

impl Refused {
    pub(super) fn why(self) -> Why {
        *self.0
    }

    #[cold]
    fn too_deep() -> Refused {
        Refused(Box::new(Why::TooDeep))
    }

    #[cold]
    fn wrong(why: &str) -> Refused {
        Refused(Box::new(Why::Wrong(why.to_owned())))
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Why::TooDeep => write!(f, "values nested deeper than {DECODE_DEPTH_MAX}"),
            Why::UnknownKind => f.write_str("an unknown kind"),
            Why::Wrong(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Refused {}

impl de::Error for Refused {
    #[cold]
    fn custom<T: fmt::Display>(why: T) -> Refused {
        Refused::wrong(&why.to_string())
    }

    #[cold]
    fn unknown_variant(_: &str, _: &'static [&'static str]) -> Refused {
        Refused(Box::new(Why::UnknownKind))
    }
}

/// The byte of `nil`.
const NIL: u8 = 0xc0;

#[cold]
fn not_utf8() -> Refused {
    Refused::wrong("a text that is not UTF-8")
}

#[cold]
fn too_many(elements: usize) -> Refused {
    Refused::wrong(&format!("{elements} elements too many"))
}

#[cold]
fn ended() -> Refused {
    Refused::wrong("the bytes end in the middle of a value")
}

/// Whether the first `count` of these bytes are ASCII. `count` is 1 to 8. One comparison replaces a
/// loop.
#[inline]
fn begins_with_ascii(bytes: [u8; 8], count: usize) -> bool {
    const HIGH_BITS: u64 = 0x8080_8080_8080_8080;
    u64::from_le_bytes(bytes) & (HIGH_BITS >> (64 - 8 * count)) == 0
}

/// Whether these bytes are ASCII. The name at the end of a message mostly has four to eight bytes.
#[inline]
fn is_ascii(bytes: &[u8]) -> bool {
    match (bytes.first_chunk(), bytes.last_chunk()) {
        (Some(first), Some(last)) if bytes.len() <= 8 => {
            (u32::from_le_bytes(*first) | u32::from_le_bytes(*last)) & 0x8080_8080 == 0
        }
        (_, _) => bytes.iter().fold(0, |all, byte| all | byte) < 0x80,
    }
}

/// Texts of at most this many bytes are checked in a buffer.
const ALIGNED_BYTES: usize = 64;

#[repr(align(16))]
struct Aligned([u8; ALIGNED_BYTES]);

/// The head of a value. The rest of the value is still unread.
#[derive(Clone, Copy)]
enum Head {
    Nil,
    Bool(bool),
    Unsigned(u64),
    Negative(i64),
    Float(f64),
    Text(usize),
    Bytes(usize),
    Array(usize),
    Map(usize),
    /// The length includes the type byte.
    Extension(usize),
}

impl Head {
    #[cold]
    fn unexpected(&self) -> Unexpected<'static> {
        match *self {
            Head::Nil => Unexpected::Unit,
            Head::Bool(value) => Unexpected::Bool(value),
            Head::Unsigned(value) => Unexpected::Unsigned(value),
            Head::Negative(value) => Unexpected::Signed(value),
            Head::Float(value) => Unexpected::Float(value),
            Head::Text(_) => Unexpected::Other("a text"),
            Head::Bytes(_) => Unexpected::Other("bytes"),
            Head::Array(_) => Unexpected::Seq,
            Head::Map(_) => Unexpected::Map,
            Head::Extension(_) => Unexpected::Other("an extension"),
        }
    }

    #[cold]
    fn is_no(&self, expected: &dyn de::Expected) -> Refused {
        de::Error::invalid_type(self.unexpected(), expected)
    }
}

/// Reads values from the front of a slice. Memory is allocated for values that have been read, and
/// not in advance for a length that the bytes state.
pub(super) struct Unpack<'de> {
    rest: &'de [u8],
    /// How many more containers may be nested.
    depth: u16,
}

impl<'de> Unpack<'de> {
    pub(super) fn new(bytes: &'de [u8]) -> Unpack<'de> {
        Unpack { rest: bytes, depth: DECODE_DEPTH_MAX }
    }

    /// The bytes that were not read yet.
    pub(super) fn rest(&self) -> &'de [u8] {
        self.rest
    }

    /// Reads the head of a map. Returns the number of its entries.
    pub(super) fn open_map(&mut self) -> Option<usize> {
        let Ok(Head::Map(entries)) = self.head() else { return None };
        self.depth = self.depth.checked_sub(1)?;
        Some(entries)
    }

    /// Reads a text.
    pub(super) fn text(&mut self) -> Option<&'de str> {
        let Ok(Head::Text(length)) = self.head() else { return None };
        std::str::from_utf8(self.take(length).ok()?).ok()
    }

    /// Reads the first element of an array of numbers.
    pub(super) fn first_number(&mut self) -> Option<u64> {
        let (Ok(Head::Array(1..)), Ok(Head::Unsigned(number))) = (self.head(), self.head()) else { return None };
        Some(number)
    }

    /// Skips one value of any type.
    pub(super) fn skip(&mut self) -> Result<(), Refused> {
        let within = match self.head()? {
            Head::Nil | Head::Bool(_) | Head::Unsigned(_) | Head::Negative(_) | Head::Float(_) => return Ok(()),
            Head::Text(length) | Head::Bytes(length) => return self.take(length).map(drop),
            Head::Extension(_) if self.depth == 0 => return Err(Refused::too_deep()),
            Head::Extension(length) => return self.take(length).map(drop),
            Head::Array(elements) => elements,
            Head::Map(entries) => entries.saturating_mul(2),
        };
        self.depth = self.depth.checked_sub(1).ok_or_else(Refused::too_deep)?;
        for _ in 0..within {
            self.skip()?;
        }
        self.depth += 1;
        Ok(())
    }

    /// Reads a name that is short and ASCII, as all known names are. The name need not be checked
    /// for UTF-8, because derived code compares its bytes.
    #[inline]
    fn short_name(&mut self) -> Option<Name<'de>> {
        let [short @ 0xa0..=0xbf, rest @ ..] = self.rest else { return None };
        let (name, after) = rest.split_at_checked(usize::from(short & 0x1f))?;
        let is_ascii = match rest.first_chunk() {
            Some(eight) if (1..=8).contains(&name.len()) => begins_with_ascii(*eight, name.len()),
            Some(_) | None => is_ascii(name),
        };
        is_ascii.then(|| {
            self.rest = after;
            Name(name)
        })
    }

    /// Skips a value if it is `nil`. Returns whether it was.
    #[inline]
    fn pass_nil(&mut self) -> bool {
        let [NIL, rest @ ..] = self.rest else { return false };
        self.rest = rest;
        true
    }

    /// Skips a name and its value if the value is `nil`. Returns whether it was.
    #[cold]
    fn pass_absent(&mut self) -> bool {
        let mut ahead = Unpack { ..*self };
        let is_name = match ahead.short(0xa0, 0x1f) {
            Some(length) => ahead.take(length).is_ok(),
            None => ahead.text().is_some(),
        };
        let is_absent = is_name && ahead.pass_nil();
        if is_absent {
            self.rest = ahead.rest;
        }
        is_absent
    }

    /// Reads a head of a single byte, as most heads are. The bits outside of `low` are `tag`, and
    /// the bits of `low` are the length or the number. [`Unpack::head`] reads all other heads.
    #[inline(always)]
    fn short(&mut self, tag: u8, low: u8) -> Option<usize> {
        let (first, rest) = self.rest.split_first()?;
        (first & !low == tag).then(|| {
            self.rest = rest;
            usize::from(first & low)
        })
    }

    /// Reads a number of one to three bytes that is not negative, as most numbers are.
    /// [`Unpack::head`] reads all others.
    #[inline(always)]
    fn short_number(&mut self) -> Option<u64> {
        let (number, rest) = match self.rest {
            [small @ 0..0x80, rest @ ..] => (u16::from(*small), rest),
            [0xcc, byte, rest @ ..] => (u16::from(*byte), rest),
            [0xcd, high, low, rest @ ..] => (u16::from_be_bytes([*high, *low]), rest),
            [..] => return None,
        };
        self.rest = rest;
        Some(number.into())
    }

    /// The bytes of a text.
    #[inline(always)]
    fn text_bytes(&mut self, expected: &dyn de::Expected) -> Result<&'de [u8], Refused> {
        let length = if let Some(length) = self.short(0xa0, 0x1f) {
            length
        } else if let [0xd9, length, rest @ ..] = self.rest {
            self.rest = rest;
            usize::from(*length)
        } else {
            let head = self.head()?;
            let Head::Text(length) = head else { return Err(head.is_no(expected)) };
            length
        };
        self.take(length)
    }

    #[inline]
    fn map_length(&mut self, expected: &dyn de::Expected) -> Result<usize, Refused> {
        if let Some(entries) = self.short(0x80, 0x0f) {
            return Ok(entries);
        }
        let head = self.head()?;
        let Head::Map(entries) = head else { return Err(head.is_no(expected)) };
        Ok(entries)
    }

    #[inline]
    fn take(&mut self, length: usize) -> Result<&'de [u8], Refused> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or_else(ended)?;
        self.rest = rest;
        Ok(taken)
    }

    #[inline(always)]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Refused> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or_else(ended)?;
        self.rest = rest;
        Ok(*taken)
    }

    #[inline(always)]
    fn u8(&mut self) -> Result<u8, Refused> {
        self.array().map(u8::from_be_bytes)
    }

    #[inline(always)]
    fn u16(&mut self) -> Result<u16, Refused> {
        self.array().map(u16::from_be_bytes)
    }

    #[inline(always)]
    fn u32(&mut self) -> Result<u32, Refused> {
        self.array().map(u32::from_be_bytes)
    }

    fn length32(&mut self) -> Result<usize, Refused> {
        Ok(usize::try_from(self.u32()?).unwrap_or(usize::MAX))
    }

    #[inline]
    fn head(&mut self) -> Result<Head, Refused> {
        let signed = |value: i64| match u64::try_from(value) {
            Ok(value) => Head::Unsigned(value),
            Err(_) => Head::Negative(value),
        };
        Ok(match self.u8()? {
            small @ 0x00..=0x7f => Head::Unsigned(u64::from(small)),
            map @ 0x80..=0x8f => Head::Map(usize::from(map & 0x0f)),
            array @ 0x90..=0x9f => Head::Array(usize::from(array & 0x0f)),
            text @ 0xa0..=0xbf => Head::Text(usize::from(text & 0x1f)),
            NIL => Head::Nil,
            0xc1 => return Err(Refused::wrong("the byte c1 begins no value")),
            0xc2 => Head::Bool(false),
            0xc3 => Head::Bool(true),
            0xc4 => Head::Bytes(usize::from(self.u8()?)),
            0xc5 => Head::Bytes(usize::from(self.u16()?)),
            0xc6 => Head::Bytes(self.length32()?),
            0xc7 => Head::Extension(usize::from(self.u8()?) + 1),
            0xc8 => Head::Extension(usize::from(self.u16()?) + 1),
            0xc9 => Head::Extension(self.length32()?.saturating_add(1)),
            0xca => Head::Float(f64::from(f32::from_be_bytes(self.array()?))),
            0xcb => Head::Float(f64::from_be_bytes(self.array()?)),
            0xcc => Head::Unsigned(u64::from(self.u8()?)),
            0xcd => Head::Unsigned(u64::from(self.u16()?)),
            0xce => Head::Unsigned(u64::from(self.u32()?)),
            0xcf => Head::Unsigned(u64::from_be_bytes(self.array()?)),
            0xd0 => signed(i64::from(i8::from_be_bytes(self.array()?))),
            0xd1 => signed(i64::from(i16::from_be_bytes(self.array()?))),
            0xd2 => signed(i64::from(i32::from_be_bytes(self.array()?))),
            0xd3 => signed(i64::from_be_bytes(self.array()?)),
            fixed @ 0xd4..=0xd8 => Head::Extension((1 << (fixed - 0xd4)) + 1),
            0xd9 => Head::Text(usize::from(self.u8()?)),
            0xda => Head::Text(usize::from(self.u16()?)),
            0xdb => Head::Text(self.length32()?),
            0xdc => Head::Array(usize::from(self.u16()?)),
            0xdd => Head::Array(self.length32()?),
            0xde => Head::Map(usize::from(self.u16()?)),
            0xdf => Head::Map(self.length32()?),
            negative @ 0xe0..=0xff => Head::Negative(i64::from(negative.cast_signed())),
        })
    }

    /// Reads the content of a container whose head was read. `read` must read all of it.
    #[inline]
    fn within<T>(
        &mut self,
        count: usize,
        nil_is_absent: bool,
        read: impl FnOnce(&mut Within<'_, 'de>) -> Result<T, Refused>,
    ) -> Result<T, Refused> {
        self.depth = self.depth.checked_sub(1).ok_or_else(Refused::too_deep)?;
        let mut within = Within { unpack: self, left: count, nil_is_absent };
        let value = read(&mut within)?;
        if within.left > 0 {
            return Err(too_many(within.left));
        }
        self.depth += 1;
        Ok(value)
    }
}

macro_rules! numbers {
    ($($method:ident)*) => {
        $(
            #[inline]
            fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
                if let Some(short) = self.short_number() {
                    return visitor.visit_u64(short);
                }
                let head = self.head()?;
                if let Head::Unsigned(value) = head {
                    visitor.visit_u64(value)
                } else if let Head::Negative(value) = head {
                    visitor.visit_i64(value)
                } else {
                    Err(head.is_no(&visitor))
                }
            }
        )*
    };
}

impl<'de> de::Deserializer<'de> for &mut Unpack<'de> {
    type Error = Refused;

    fn is_human_readable(&self) -> bool {
        false
    }

    /// None of our types accepts a value of any type.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        Err(self.head()?.is_no(&visitor))
    }

    numbers! { deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_i64 }

    #[inline]
    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        let head = self.head()?;
        let Head::Bool(value) = head else { return Err(head.is_no(&visitor)) };
        visitor.visit_bool(value)
    }

    #[inline]
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        match std::str::from_utf8(self.text_bytes(&visitor)?) {
            Ok(text) => visitor.visit_borrowed_str(text),
            Err(_) => Err(not_utf8()),
        }
    }

    /// A text that the visitor copies. The standard library checks 16 bytes at a time from an
    /// aligned address on, and the rest byte by byte. So a short text is checked in a buffer, with
    /// zeros after it.
    #[inline]
    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        let bytes = self.text_bytes(&visitor)?;
        let mut buffer = Aligned([0; ALIGNED_BYTES]);
        let checked = match buffer.0.get_mut(..bytes.len()) {
            Some(place) => {
                place.copy_from_slice(bytes);
                let checked = std::str::from_utf8(&buffer.0[..bytes.len().next_multiple_of(16)]);
                checked.ok().and_then(|text| text.get(..bytes.len()))
            }
            None => std::str::from_utf8(bytes).ok(),
        };
        match checked {
            Some(text) => visitor.visit_str(text),
            None => Err(not_utf8()),
        }
    }

    /// The name of a kind or of a field.
    #[inline]
    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        match self.short_name() {
            Some(name) => name.deserialize_identifier(visitor),
            None => self.deserialize_str(visitor),
        }
    }

    #[inline]
    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        let head = self.head()?;
        let Head::Bytes(length) = head else { return Err(head.is_no(&visitor)) };
        visitor.visit_borrowed_bytes(self.take(length)?)
    }

    #[inline]
    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        self.deserialize_bytes(visitor)
    }

    /// An absent field does not come here: see [`Within::nil_is_absent`].
    #[inline]
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_some(self)
    }

    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_newtype_struct(self)
    }

    #[inline]
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        let head = self.head()?;
        let Head::Array(elements) = head else { return Err(head.is_no(&visitor)) };
        self.within(elements, false, |within| visitor.visit_seq(within))
    }

    #[inline]
    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Refused> {
        self.deserialize_seq(visitor)
    }

    #[inline]
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        let entries = self.map_length(&visitor)?;
        self.within(entries, false, |within| visitor.visit_map(within))
    }

    #[inline]
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        let entries = self.map_length(&visitor)?;
        self.within(entries, true, |within| visitor.visit_map(within))
    }

    /// A kind with its fields is a map with one entry. A kind without fields is a text.
    #[inline]
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        if let Some(name) = self.short_name() {
            return visitor.visit_enum(name);
        }
        if let Some(0xa0..=0xbf | 0xd9..=0xdb) = self.rest.first() {
            return visitor.visit_enum(BorrowedStrDeserializer::new(<&str>::deserialize(self)?));
        }
        let entries = self.map_length(&visitor)?;
        if entries != 1 {
            return Err(Refused::wrong(&format!("a map of {entries} entries where one names the kind")));
        }
        self.depth = self.depth.checked_sub(1).ok_or_else(Refused::too_deep)?;
        // The result is returned as it is: taken out of its `Ok` and put into another one, a
        // message would be moved twice.
        let value = visitor.visit_enum(&mut *self);
        self.depth += 1;
        value
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        self.skip()?;
        visitor.visit_unit()
    }

    forward_to_deserialize_any! { i8 i16 i32 i128 u128 f32 f64 char unit unit_struct tuple_struct }
}

impl<'de> de::EnumAccess<'de> for &mut Unpack<'de> {
    type Error = Refused;
    type Variant = Self;

    #[inline]
    fn variant_seed<K: DeserializeSeed<'de>>(self, seed: K) -> Result<(K::Value, Self), Refused> {
        Ok((seed.deserialize(&mut *self)?, self))
    }
}

impl<'de> de::VariantAccess<'de> for &mut Unpack<'de> {
    type Error = Refused;

    fn unit_variant(self) -> Result<(), Refused> {
        Err(Refused::wrong("a kind without fields"))
    }

    #[inline]
    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Refused> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Refused> {
        Err(self.head()?.is_no(&visitor))
    }

    fn struct_variant<V: Visitor<'de>>(self, fields: &'static [&'static str], visitor: V) -> Result<V::Value, Refused> {
        de::Deserializer::deserialize_struct(self, "", fields, visitor)
    }
}

/// A name that was read.
struct Name<'de>(&'de [u8]);

impl<'de> de::Deserializer<'de> for Name<'de> {
    type Error = Refused;

    #[inline]
    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_bytes(self.0)
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        // The name is ASCII.
        visitor.visit_borrowed_str(std::str::from_utf8(self.0).unwrap_or_default())
    }

    forward_to_deserialize_any! {
        bool u8 u16 u32 u64 i8 i16 i32 i64 i128 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum ignored_any
    }
}

impl<'de> de::EnumAccess<'de> for Name<'de> {
    type Error = Refused;
    type Variant = NameOnly;

    #[inline]
    fn variant_seed<K: DeserializeSeed<'de>>(self, seed: K) -> Result<(K::Value, NameOnly), Refused> {
        Ok((seed.deserialize(self)?, NameOnly))
    }
}

/// A kind without fields, which is only a name.
struct NameOnly;

impl<'de> de::VariantAccess<'de> for NameOnly {
    type Error = Refused;

    #[inline]
    fn unit_variant(self) -> Result<(), Refused> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, _: T) -> Result<T::Value, Refused> {
        Err(Refused::wrong("a kind without its fields"))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, Refused> {
        Err(Refused::wrong("a kind without its fields"))
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], _: V) -> Result<V::Value, Refused> {
        Err(Refused::wrong("a kind without its fields"))
    }
}

/// The elements of an array, or the entries of a map, one after the other.
struct Within<'a, 'de> {
    unpack: &'a mut Unpack<'de>,
    left: usize,
    /// Whether this is a struct. In a struct, an entry whose value is `nil` is skipped.
    nil_is_absent: bool,
}

impl<'de> de::SeqAccess<'de> for &mut Within<'_, 'de> {
    type Error = Refused;

    #[inline]
    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Refused> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        seed.deserialize(&mut *self.unpack).map(Some)
    }
}

impl<'de> de::MapAccess<'de> for &mut Within<'_, 'de> {
    type Error = Refused;

    #[inline]
    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Refused> {
        while self.left > 0 {
            self.left -= 1;
            if !self.nil_is_absent {
                return seed.deserialize(&mut *self.unpack).map(Some);
            }
            if let Some(name) = self.unpack.short_name() {
                if !self.unpack.pass_nil() {
                    return seed.deserialize(name).map(Some);
                }
            } else if !self.unpack.pass_absent() {
                return seed.deserialize(&mut *self.unpack).map(Some);
            }
        }
        Ok(None)
    }

    #[inline]
    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Refused> {
        seed.deserialize(&mut *self.unpack)
    }
}
