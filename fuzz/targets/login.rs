//! The login of a super peer: connections that prove keys, and say and show anything. Whatever they
//! do, only the key of the account gets in, by its own credential; nothing else is answered before.
#![no_main]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use sprat::proto::super_peer::{LoginConfig, SuperPeer, SuperPeerConfig};
use sprat::proto::{CloseReason, ConnId, Input, Output, Role};
use sprat::sim::Random;
use sprat::time::Time;
use sprat::trust::accounts::CLASS_DEFAULT;
use sprat::trust::credential::Terms;
use sprat::trust::{Accounts, Credential, Rotation, SecretKey};
use sprat::wire::message::{Hello, Login};
use sprat::wire::{Message, NodeId};
use sprat_fuzz::{Dice, forge};

const UNIX: u64 = 1_700_000_000;
const EVENTS: usize = 200;
/// Keys that connections prove; the first one has the account.
const KEYS: u8 = 3;

fn secret(seed: u8) -> SecretKey {
    SecretKey::from_seed([seed; 32])
}

fn good() -> Vec<u8> {
    let (name, class, key) = ("ann".to_owned(), CLASS_DEFAULT.to_owned(), secret(0).public());
    let terms = Terms { name, class, key, issued: UNIX, not_before: None, not_after: None };
    Credential::sign(terms, &secret(100)).encode()
}

/// A connection: its key, the node of its first HELLO, whether it has shown the credential of the
/// account, and whether it got in.
#[derive(Default)]
struct Conn {
    key: u8,
    node: Option<NodeId>,
    showed: bool,
    is_open: bool,
}

fuzz_target!(|data: &[u8]| {
    let dice = &mut Dice::new(data);
    let (secret_key, good) = (secret(99), good());
    let login = LoginConfig {
        secret: secret_key,
        rotation: Rotation::default(),
        operators: vec![secret(100).public()],
        accounts: Accounts::default(),
        unix: UNIX,
    };
    let config = SuperPeerConfig { login: Some(Arc::new(login)), ..SuperPeerConfig::new(NodeId([9; 16]), 7) };
    let mut machine = SuperPeer::new(config, Box::new(Random::new(1)));
    let (mut now, mut conns, mut next) = (Time::ZERO, BTreeMap::<ConnId, Conn>::new(), 0);
    for _ in 0..EVENTS {
        if dice.is_spent() {
            break;
        }
        let some = conns.keys().nth(dice.below(conns.len())).copied();
        let message = match (dice.below(7), some) {
            (0, _) | (_, None) => {
                let (key, conn) = (dice.below(usize::from(KEYS)) as u8, ConnId { index: next, generation: 1 });
                next += 1;
                conns.insert(conn, Conn { key, ..Conn::default() });
                let (from, to) = (([198, 51, 100, 1], 5000).into(), [192, 0, 2, 1].into());
                let key = Some(secret(key).public());
                machine.handle_input(now, Input::Accepted { conn, from, to, since: now, key, unix: UNIX });
                None
            }
            (1, _) => {
                now = now + Duration::from_millis(dice.below(3000) as u64);
                machine.handle_timeout(now);
                None
            }
            (2, Some(conn)) => {
                let node = secret(dice.below(usize::from(KEYS)) as u8).public().node();
                Some((conn, Message::Hello(Hello::new(node, 1, String::new()))))
            }
            (3, Some(conn)) => {
                let mut credential = good.clone();
                for _ in 0..dice.below(3) {
                    let at = dice.below(credential.len());
                    credential[at] ^= dice.any::<u8>();
                }
                conns.get_mut(&conn).expect("it is there").showed |= credential == good;
                Some((conn, Message::Login(Login::with_credential(credential))))
            }
            (_, Some(conn)) => Some((conn, forge::message(dice, 1, 1))),
        };
        if let Some((conn, message)) = message {
            if let Message::Hello(hello) = &message {
                conns.get_mut(&conn).expect("it is there").node.get_or_insert(hello.node);
            }
            machine.handle_input(now, Input::Message { conn, message });
        }
        while let Some(output) = machine.poll_output() {
            match output {
                Output::Send { conn, message: Message::Ready(_) } => {
                    let conn = conns.get_mut(&conn).expect("it is there");
                    let is_own = conn.key == 0 && conn.node == Some(secret(0).public().node());
                    assert!(is_own && conn.showed, "only the account gets in");
                    conn.is_open = true;
                }
                Output::Send { message: Message::Welcome(_) | Message::Error(_) | Message::Bye(_), .. } => {}
                Output::Send { conn, message } => {
                    assert!(conns[&conn].is_open, "{} before the login", message.kind());
                }
                Output::SaveAccounts { .. } => machine.handle_input(now, Input::AccountsSaved { result: Ok(()) }),
                Output::Close { conn } => {
                    machine.handle_input(now, Input::Closed { conn, why: CloseReason::Asked });
                    conns.remove(&conn);
                }
                _ => {}
            }
        }
        let open = conns.values().any(|conn| conn.is_open);
        assert!(open || machine.index().records() == 0, "nothing is indexed for others");
    }
});
