//! Conformance: the code reads and writes every vector in PROTOCOL.md, and keeps every limit in it.
//!
//! The text holds each vector as JSON and hex. After a change of the wire, `SPRAT_WRITE_VECTORS=1
//! cargo test --test protocol` writes the hex of the `frame`, `datagram`, `handshake`, `digest`,
//! `fold`, `cv`, `tree`, `collection` and `uri` vectors; review the difference before you commit
//! it.

mod handshake;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use blake3::hazmat::{self, HasherExt, Mode};
use serde::Deserialize;
use serde_json::Value;
use sprat::config;
use sprat::fold;
use sprat::proto::super_peer::digest;
use sprat::sim::builders;
use sprat::trust::credential::Terms;
use sprat::trust::{Credential, Invitation, Network, SecretKey, Token};
use sprat::wire::collection::{CollectionError, Item, Reader, Writer};
use sprat::wire::uri::SuperPeer;
use sprat::wire::{LinkMessage, Message, Root, SharePath, Uri, envelope, frame, link};

/// One fenced block with the tag `vector`: how to read it, the kinds of its messages, its JSON, its
/// bytes.
struct Vector {
    line: usize,
    how: String,
    tags: Vec<String>,
    json: Option<String>,
    hex: String,
    after_json: usize,
    end: usize,
}

impl Vector {
    fn bytes(&self) -> Vec<u8> {
        unhex(&self.hex).unwrap_or_else(|| panic!("PROTOCOL.md:{}: no hex", self.line))
    }

    fn value(&self) -> Value {
        let text = self.json.as_deref().unwrap_or_else(|| panic!("PROTOCOL.md:{}: no JSON", self.line));
        let value = serde_json::from_str(text).unwrap_or_else(|e| panic!("PROTOCOL.md:{}: {e}", self.line));
        plain_bytes(value)
    }

    fn message(&self) -> Message {
        serde_json::from_value(self.value()).unwrap_or_else(|e| panic!("PROTOCOL.md:{}: {e}", self.line))
    }

    fn datagram(&self) -> (u64, Vec<LinkMessage>) {
        #[derive(Deserialize)]
        struct Datagram {
            boot: u64,
            messages: Vec<LinkMessage>,
        }
        let Datagram { boot, messages } =
            serde_json::from_value(self.value()).unwrap_or_else(|e| panic!("PROTOCOL.md:{}: {e}", self.line));
        (boot, messages)
    }

    fn items(&self) -> Vec<Item> {
        #[derive(Deserialize)]
        struct File {
            path: SharePath,
            size: u64,
            root: Root,
            executable: bool,
        }
        let files: Vec<File> = serde_json::from_value(self.value()["files"].clone()).expect("files");
        let item = |File { path, size, root, executable }| Item { path, size, root, executable };
        files.into_iter().map(item).collect()
    }

    fn uri(&self) -> Uri {
        let value = self.value();
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let supers = value["supers"].as_array().expect("a list").iter();
        let supers = supers.map(|one| SuperPeer {
            key: text(&one["key"]),
            addr: one["addr"].as_str().and_then(|addr| addr.parse().ok()).expect("an address"),
        });
        Uri {
            root: Root::from_hex(value["root"].as_str().expect("a root")).expect("64 digits"),
            size: value["size"].as_u64(),
            supers: supers.collect(),
            name: text(&value["name"]),
        }
    }

    /// The secret key whose seed is in this field.
    fn secret(&self, field: &str) -> SecretKey {
        let seed = unhex(self.value()[field].as_str().expect("a seed")).expect("hex");
        SecretKey::from_seed(seed.try_into().expect("32 bytes"))
    }

    fn credential(&self) -> Credential {
        let value = self.value();
        let text = |field: &str| value[field].as_str().expect("a text").to_owned();
        let terms = Terms {
            name: text("name"),
            class: text("class"),
            key: self.secret("key").public(),
            issued: value["issued"].as_u64().expect("a time"),
            not_before: None,
            not_after: value["not_after"].as_u64(),
        };
        Credential::sign(terms, &self.secret("operator"))
    }

    fn invitation(&self) -> Invitation {
        // `token` was read as the bytes of a field.
        let value: Value = serde_json::from_str(self.json.as_deref().expect("JSON")).expect("JSON");
        let text = |field: &str| value[field].as_str().expect("a text").to_owned();
        Invitation {
            key: self.secret("key").public(),
            at: text("at").parse().expect("an address"),
            user: text("user"),
            token: Token::from_slice(&unhex(&text("token")).expect("hex")).expect("20 bytes"),
        }
    }

    /// The bytes that our encoder writes for the JSON.
    fn written(&self) -> Option<Vec<u8>> {
        match self.how.as_str() {
            "frame" => Some(framed(&self.message())),
            "datagram" => {
                let (boot, messages) = self.datagram();
                let mut packer = link::Packer::new(boot);
                for message in &messages {
                    assert_eq!(packer.push(message), None, "PROTOCOL.md:{}: more than one datagram", self.line);
                }
                let mut bytes = packer.finish().expect("a datagram has a message");
                envelope::set_number(&mut bytes, self.value()["number"].as_u64().expect("a number"));
                Some(bytes)
            }
            "handshake" => Some(handshake::datagrams(self.value())),
            "cv" => {
                let value = self.value();
                let piece = unhex(value["bytes"].as_str().expect("hex")).expect("hex");
                Some(chaining_value(value["piece"].as_u64().expect("a number"), &piece).to_vec())
            }
            "tree" => Some(tree_of(self.value()["size"].as_u64().expect("a size")).concat()),
            "digest" => {
                let value = self.value();
                let root = Root::from_hex(value["root"].as_str().expect("a root")).expect("64 digits");
                let size = value["size"].as_u64().and_then(|size| u8::try_from(size).ok()).expect("a size");
                let mut sample = digest::Sample::new(size);
                sample.add(value["path"].as_str().expect("a path"), &root);
                Some(sample.bytes().to_vec())
            }
            "fold" => Some(fold::folded(self.value()["text"].as_str().expect("a text")).into_bytes()),
            "collection" => Some(collected(&self.items())),
            "key" => {
                let key = self.secret("seed").public();
                assert_eq!(self.value()["text"], key.to_string(), "PROTOCOL.md:{}", self.line);
                Some([&key.as_bytes()[..], &key.node().0].concat())
            }
            "credential" => Some(self.credential().encode()),
            "invitation" => Some(self.invitation().text().into_bytes()),
            "uri" => Some(self.uri().to_string().into_bytes()),
            "decode" | "refuse" | "uncollection" => None,
            other => panic!("PROTOCOL.md:{}: vectors are no {other:?}", self.line),
        }
    }
}

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("PROTOCOL.md")
}

fn text() -> String {
    std::fs::read_to_string(path()).expect("PROTOCOL.md is there")
}

fn vectors(text: &str) -> Vec<Vector> {
    let mut vectors = Vec::new();
    let mut open: Option<Vector> = None;
    for (number, line) in text.lines().enumerate() {
        match &mut open {
            None => {
                if let Some(tags) = line.strip_prefix("```vector ") {
                    let mut tags = tags.split_whitespace().map(str::to_owned);
                    let how = tags.next().expect("a vector says how to read it");
                    let tags = tags.collect();
                    let line = number + 1;
                    open =
                        Some(Vector { line, how, tags, json: None, hex: String::new(), after_json: line, end: line });
                }
            }
            Some(vector) if line == "```" => {
                vector.end = number;
                vectors.extend(open.take());
            }
            Some(vector) if line.starts_with('{') => {
                vector.json = Some(line.to_owned());
                vector.after_json = number + 1;
            }
            Some(vector) => vector.hex.push_str(line),
        }
    }
    assert!(open.is_none(), "a vector's fence is not closed");
    vectors
}

/// The text writes fields that are `bin` of any length as hex; serde expects lists of numbers.
fn plain_bytes(value: Value) -> Value {
    match value {
        Value::Object(map) => map
            .into_iter()
            .map(|(key, value)| match (key.as_str(), &value) {
                ("cvs" | "cred" | "token" | "rot" | "bits" | "keys" | "tail" | "left", Value::String(digits)) => {
                    let bytes = unhex(digits).expect("hex");
                    (key, bytes.into())
                }
                _ => (key, plain_bytes(value)),
            })
            .collect::<serde_json::Map<_, _>>()
            .into(),
        Value::Array(list) => list.into_iter().map(plain_bytes).collect(),
        other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => other,
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u32> =
        text.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_digit(16)).collect::<Option<_>>()?;
    digits
        .len()
        .is_multiple_of(2)
        .then(|| digits.chunks_exact(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).expect("two digits")).collect())
}

fn hex_lines(bytes: &[u8]) -> Vec<String> {
    let line = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(" ");
    bytes.chunks(32).map(line).collect()
}

fn collected(items: &[Item]) -> Vec<u8> {
    let (mut bytes, mut writer) = (Vec::new(), Writer::default());
    items.iter().for_each(|item| writer.add(item, &mut bytes).expect("sorted"));
    writer.begin(&mut bytes);
    bytes
}

fn read_collection(bytes: &[u8]) -> Result<Vec<Item>, CollectionError> {
    let mut reader = Reader::default();
    let mut items = Vec::new();
    reader.feed(bytes);
    while let Some(item) = reader.item()? {
        items.push(item);
    }
    reader.finish().map(|()| items)
}

fn framed(message: &Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame::encode(message, &mut bytes);
    bytes
}

fn chaining_value(number: u64, piece: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.set_input_offset(number * config::PIECE_BYTES).update(piece);
    hasher.finalize_non_root()
}

/// The content of the tree vector: its root, then the chaining value of each piece.
fn tree_of(size: u64) -> Vec<[u8; 32]> {
    let content: Vec<u8> = (0..size).map(|k| u8::try_from(k % 251).expect("below 251")).collect();
    let pieces = content.chunks(usize::try_from(config::PIECE_BYTES).expect("fits"));
    let values = (0..).zip(pieces).map(|(number, piece)| chaining_value(number, piece));
    std::iter::once(*blake3::hash(&content).as_bytes()).chain(values).collect()
}

/// Merges as the text specifies: cut after the largest power of two below the length.
fn merged(values: &[[u8; 32]]) -> [u8; 32] {
    let (left, right) = values.split_at(values.len().next_power_of_two() / 2);
    let inner = |part: &[[u8; 32]]| inner_merged(part);
    *hazmat::merge_subtrees_root(&inner(left), &inner(right), Mode::Hash).as_bytes()
}

fn inner_merged(values: &[[u8; 32]]) -> [u8; 32] {
    if let [value] = values {
        return *value;
    }
    let (left, right) = values.split_at(values.len().next_power_of_two() / 2);
    hazmat::merge_subtrees_non_root(&inner_merged(left), &inner_merged(right), Mode::Hash)
}

fn write_vectors_if_asked() {
    if std::env::var_os("SPRAT_WRITE_VECTORS").is_none() {
        return;
    }
    let text = text();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for vector in vectors(&text).iter().rev() {
        if let Some(bytes) = vector.written() {
            lines.splice(vector.after_json..vector.end, hex_lines(&bytes));
        }
    }
    std::fs::write(path(), lines.join("\n") + "\n").expect("PROTOCOL.md can be written");
}

#[test]
fn every_vector_reads_and_writes_as_the_text_says() {
    write_vectors_if_asked();
    let mut read = 0;
    for vector in vectors(&text()) {
        let at = format!("PROTOCOL.md:{}", vector.line);
        let bytes = vector.bytes();
        if let Some(written) = vector.written() {
            assert_eq!(hex_lines(&written), hex_lines(&bytes), "{at}: what we write is not what the text says");
        }
        match vector.how.as_str() {
            "frame" | "decode" => {
                let message = vector.message();
                assert_eq!(vector.tags, [message.kind()], "{at}: tagged for another kind");
                let decoded = frame::decode(&bytes, config::FRAME_BYTES_OPEN).expect(&at);
                assert_eq!(decoded, Some((message, bytes.len())), "{at}");
            }
            "datagram" => {
                let (boot, messages) = vector.datagram();
                let kinds: Vec<_> = messages.iter().map(LinkMessage::kind).collect();
                assert_eq!(vector.tags, kinds, "{at}: tagged for other kinds");
                assert_eq!(link::decode(&bytes).expect(&at), (boot, messages), "{at}");
            }
            "refuse" => {
                let error = frame::decode(&bytes, config::FRAME_BYTES_OPEN).expect_err(&at);
                assert_eq!(vector.tags, [error.reason()], "{at}: {error}");
            }
            "fold" => {
                let value = vector.value();
                let wanted: Vec<String> = serde_json::from_value(value["words"].clone()).expect("words");
                assert_eq!(words(value["text"].as_str().expect("a text")), wanted.into_iter().collect(), "{at}");
            }
            "collection" => assert_eq!(read_collection(&bytes), Ok(vector.items()), "{at}"),
            "uncollection" => {
                let error = read_collection(&bytes).expect_err(&at);
                assert_eq!(vector.tags, [error.reason()], "{at}: {error}");
            }
            "key" => {}
            "credential" => {
                let credential = vector.credential();
                assert_eq!(Credential::decode(&bytes), Ok(credential.clone()), "{at}");
                let network = Network::new([credential.operator]);
                assert!(network.check(&bytes, credential.key, credential.issued).is_ok(), "{at}");
            }
            "invitation" => {
                assert_eq!(String::from_utf8(bytes).expect("ASCII").parse(), Ok(vector.invitation()), "{at}");
            }
            "uri" => assert_eq!(String::from_utf8(bytes).expect("ASCII").parse(), Ok(vector.uri()), "{at}"),
            // Both sides were written above.
            "handshake" => {}
            _ => continue,
        }
        read += 1;
    }
    assert!(read >= 40, "only {read} vectors were found");
}

fn words(text: &str) -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    fold::for_each_word(&fold::folded(text), |word| {
        words.insert(word.to_owned());
    });
    words
}

/// How many names are folded here and by `fold.py`, and the seed of these names.
const NAMES: usize = 100_000;
const NAMES_SEED: &str = "1";

/// Folds a second time, by the text of PROTOCOL.md alone: every code point that Python's version of
/// Unicode assigns, and generated names.
#[test]
fn the_fold_of_the_text_in_python_agrees() {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/protocol/fold.py");
    let mut python = Command::new("python3");
    python.arg(script).arg(path()).arg(NAMES_SEED).arg(NAMES.to_string());
    let Ok(output) = python.output() else {
        assert!(std::env::var_os("CI").is_none(), "CI needs python3");
        writeln!(std::io::stderr(), "skipped: there is no python3").ok();
        return;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut compared = 0;
    for line in String::from_utf8(output.stdout).expect("UTF-8").lines() {
        let (text, folded, theirs): (String, String, BTreeSet<String>) = serde_json::from_str(line).expect("JSON");
        assert_eq!(fold::folded(&text), folded, "{text:?}");
        assert_eq!(words(&text), theirs, "{text:?}");
        compared += 1;
    }
    assert!(compared > NAMES + 100_000, "only {compared} texts");
}

#[test]
fn the_tree_vector_merges_to_its_root() {
    let text = text();
    let vectors = vectors(&text);
    let tree: Vec<_> = vectors.iter().filter(|v| v.how == "tree").collect();
    assert_eq!(tree.len(), 1, "one tree vector");
    let values: Vec<[u8; 32]> = tree[0].bytes().chunks_exact(32).map(|v| v.try_into().expect("32")).collect();
    assert_eq!(values.len(), 4, "a root and three pieces");
    assert_eq!(merged(&values[1..]), values[0]);
}

/// The kinds that the sources know, by the names under which serde writes them.
fn kinds(module: &str, name: &str) -> BTreeSet<String> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/wire").join(module);
    let source = std::fs::read_to_string(path).expect("the source is there");
    let (_, body) = source.split_once(&format!("pub enum {name} {{")).expect("the enum is there");
    let (body, _) = body.split_once("\n}").expect("the enum ends");
    let variants = body.lines().filter_map(|line| line.trim().split_once('(')).map(|(variant, _)| variant.to_owned());
    variants.filter(|v| v.chars().all(char::is_alphanumeric) && v != "Unknown").map(|v| v.to_uppercase()).collect()
}

#[test]
fn every_kind_has_a_vector() {
    let mut missing = Vec::new();
    let text = text();
    let vectors = vectors(&text);
    for (how, kinds, least) in
        [("frame", kinds("message.rs", "Message"), 23), ("datagram", kinds("link.rs", "LinkMessage"), 6)]
    {
        assert!(kinds.len() >= least, "the test sees only {kinds:?}");
        let seen: BTreeSet<_> = vectors.iter().filter(|v| v.how == how).flat_map(|v| v.tags.clone()).collect();
        missing.extend(kinds.difference(&seen).map(|kind| format!("{how} {kind}")));
    }
    assert!(missing.is_empty(), "kinds without a vector in PROTOCOL.md: {missing:?}");
}

/// The tests of the messages that each state allows use these examples.
#[test]
fn every_kind_has_an_example() {
    let examples: BTreeSet<String> = builders::one_of_each().iter().map(|message| message.kind().to_owned()).collect();
    let missing: Vec<String> = kinds("message.rs", "Message").difference(&examples).cloned().collect();
    assert!(missing.is_empty(), "kinds that one_of_each in src/sim/builders.rs lacks: {missing:?}");
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).expect("short")
}

#[test]
fn the_table_of_limits_is_the_one_of_the_code() {
    macro_rules! numbers { ($($name:ident),*) => { vec![$((stringify!($name), config::$name as u64)),*] } }
    macro_rules! times { ($($name:ident),*) => { vec![$((stringify!($name), ms(config::$name))),*] } }
    let mut limits = numbers![
        SUPER_PORT,
        CHUNK_PORT,
        PIECE_BYTES,
        CHUNK_BYTES_MAX,
        PIECES_MAX,
        PATH_BYTES_MAX,
        PATTERN_BYTES_MAX,
        URI_BYTES_MAX,
        URI_SUPERS_MAX,
        HOST_BYTES_MAX,
        ZONE_BYTES_MAX,
        SWARM_MEMBERS_MAX,
        SWARM_DEGREE,
        SWARM_DEGREE_SMALL,
        SWARM_ZONES_MAX,
        SESSION_JOINS_MAX,
        SESSION_SUBSCRIPTIONS_MAX,
        SUBSCRIPTIONS_MAX,
        STANDING_SEARCHES_MAX,
        SUBSCRIPTION_HITS_PER_SECOND,
        EARLY_BYTES_MAX,
        ADDRESS_HANDSHAKES_BURST,
        ADDRESS_HANDSHAKES_PER_SECOND,
        FRAME_BYTES_HELLO,
        FRAME_BYTES_LOGIN,
        FRAME_BYTES_WELCOME,
        FRAME_BYTES_OPEN,
        DECODE_DEPTH_MAX,
        MANIFEST_PAGE_CVS,
        DATAGRAM_BYTES_MAX,
        LINK_REPLAY_WINDOW,
        LINK_REKEY_DATAGRAMS,
        HANDSHAKES_KNOWN_PER_SECOND,
        HANDSHAKES_STRANGE_PER_SECOND,
        UNAUTHENTICATED_MAX,
        SEND_QUEUE_BYTES_MAX,
        SESSION_FILES_MAX,
        INDEX_ENTRIES_MAX,
        ACKS_HELD_MAX,
        SESSION_QUERIES_MAX,
        TTL_DEFAULT,
        TTL_MAX,
        QUERY_HITS_MAX,
        ROOT_HITS_PER_HOLDER,
        LINK_QUERIES_WAITING_MAX,
        WAVES_MAX,
        HITS_HELD_MAX,
        HITS_KEPT_MAX,
        REACHED_MAX,
        REPEATED_BYTES_FIRST,
        VISITED_MAX,
        LINKS_MAX,
        INFO_LINKS_MAX,
        DIAL_ADDRESSES_MAX,
        DIGEST_LOG2_MAX,
        DIGEST_STEP_BYTES,
        DIGEST_WINDOW,
        SOURCE_RATE_MIN,
        SOURCES_KNOWN_MAX,
        DIALS_PER_ADDRESS,
        DIALS_AT_ONCE,
        DIAL_BACKS_AT_ONCE,
        HOST_DIALS_AT_ONCE,
        UPLOAD_REQUESTS_MAX,
        UPLOADS_MAX,
        UPLOAD_RATE_MIN,
        UPLOAD_PROVEN_BYTES
    ];
    limits.extend(times![
        LOGIN_DEADLINE,
        PING_INTERVAL,
        SESSION_SILENCE_MAX,
        ANSWER_DEADLINE,
        WRITE_STALL_MAX,
        FRAME_PROGRESS_MAX,
        QUERY_BUDGET,
        QUERY_BUDGET_MAX,
        VISITED_GENERATION,
        LINK_KEEPALIVE,
        LINK_ANSWER_MAX,
        LINK_REPEAT,
        LINK_SILENCE_MAX,
        LINK_REKEY_AFTER,
        LINK_REKEY_GRACE,
        LINK_KEYS_MAX,
        LINK_HANDSHAKE_RETRY,
        LINK_UNHEARD_MAX,
        LINK_RETRY,
        LINK_RESOLVE_MAX,
        QUERY_REPEAT_MIN,
        DIGEST_LEASE,
        DIGEST_LEASE_WAIT,
        TREE_SETTLE,
        TREE_GAP_MIN,
        TREE_GAP_MAX,
        TREE_GROWTH_MAX,
        TREE_ROOT_PATIENCE,
        STALL_AFTER,
        PROOF_HEDGE,
        PROOF_PATIENCE,
        HOST_DIAL_INTERVAL,
        DIAL_BACK_TIMEOUT,
        DIAL_BACK_EVERY,
        DIAL_BACK_EVERY_MAX,
        DIAL_BACK_HOST_EVERY,
        DOWNLOAD_TIMEOUT,
        CHUNK_IDLE_MAX
    ]);
    let ours: BTreeMap<String, u64> = limits.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let text = text();
    let (_, section) = text.split_once("\n## 11. Limits\n").expect("a section of limits");
    let (section, _) = section.split_once("\n## ").expect("a section after it");
    let theirs: BTreeMap<String, u64> = section
        .lines()
        .filter_map(|line| {
            let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
            let [_, value, _, name] = cells[..] else { return None };
            Some((name.to_owned(), value.parse().ok()?))
        })
        .collect();
    assert_eq!(theirs, ours);
    assert_eq!(config::PROTOCOL_VERSION, [1, 0]);
    assert!(text.starts_with("# The sprat protocol, version 1.0\n"));
}
