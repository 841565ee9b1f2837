//! Super peers that answer as a test says.

use super::{LATENCY, World};
use crate::proto::ConnId;
use crate::wire::message::{Ack, Done, Error, ErrorCode, Hit, Info, Ping, Ready, Register, SourceRecord, Update};
use crate::wire::swarm::{FEATURE_SWARM, Gateway, Join, Member, Peers};
use crate::wire::{Cut, Message};

/// How a super peer answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::proto::weak_peer::tests) enum Super {
    Serves,
    /// Accepts connections and never answers.
    Silent,
    /// Answers only HELLO and LOGIN.
    NoAnswers,
    /// Serves, but has no memory for files and queries.
    NoRoom,
    Refuses(ErrorCode),
}

pub(in crate::proto::weak_peer::tests) struct SuperPeer {
    pub(in crate::proto::weak_peer::tests) manner: Super,
    pub(in crate::proto::weak_peer::tests) alive: bool,
    pub(in crate::proto::weak_peer::tests) conn: Option<ConnId>,
    pub(in crate::proto::weak_peer::tests) heard: Vec<Message>,
    pub(in crate::proto::weak_peer::tests) hits: Vec<SourceRecord>,
    pub(in crate::proto::weak_peer::tests) acks: bool,
    /// Members that the super peer names. If there are some, the super peer supports swarms.
    pub(in crate::proto::weak_peer::tests) members: Vec<Member>,
    /// The gateway number of this peer in its zone.
    pub(in crate::proto::weak_peer::tests) gateway: Option<Gateway>,
}

impl World {
    pub(super) fn super_hears(&mut self, index: usize, conn: ConnId, message: Message) {
        let mut welcome = self.welcome_of(&self.supers[index].0);
        let SuperPeer { manner, hits, acks, heard, members, gateway, .. } = &mut self.supers[index].1;
        heard.push(message.clone());
        let (manner, hits, acks, members, gateway) = (manner.clone(), hits.clone(), *acks, members.clone(), *gateway);
        let answers = match (manner, message) {
            (Super::Silent, _) => vec![],
            (Super::Refuses(code), Message::Hello(_)) => {
                vec![Message::Error(Error::new(code, "no", None))]
            }
            (Super::Refuses(_), _) => vec![],
            (_, Message::Hello(_)) => {
                welcome.features.extend((!members.is_empty()).then(|| FEATURE_SWARM.to_owned()));
                vec![Message::Welcome(welcome)]
            }
            (_, Message::Login(_)) => vec![Message::Ready(Ready::default())],
            (Super::NoRoom, Message::Update(Update { seq, .. })) => {
                vec![no_room(None), Message::Ack(Ack { seq, files: 1 })]
            }
            (Super::NoRoom, Message::Query(query)) => vec![no_room(Some(query.req))],
            (Super::NoRoom, Message::Ping(Ping { n })) => vec![Message::Pong(Ping { n })],
            (_, Message::Register(Register { seq, .. }) | Message::Update(Update { seq, .. })) if acks => {
                vec![Message::Ack(Ack { seq, files: 0 })]
            }
            (Super::NoAnswers | Super::NoRoom, _) => vec![],
            (Super::Serves, Message::Query(query)) => {
                let req = query.req;
                let hits: Vec<_> = hits.into_iter().filter(|hit| hit.member.is_none() || query.find.partial).collect();
                let done = Done { req, hits: 1, reached: 3, pruned: 0, complete: true, cut: Cut::NONE, ms: 1 };
                let hit = (!hits.is_empty()).then_some(Message::Hit(Hit { req, hits }));
                hit.into_iter().chain([Message::Done(done)]).collect()
            }
            (Super::Serves, Message::Join(Join { req, .. })) => {
                let n = 1 + u32::try_from(members.len()).unwrap();
                let full = members.iter().filter(|member| member.full).count() as u32;
                vec![Message::Peers(Peers { req, peers: members, n, full, gateway })]
            }
            (Super::Serves, Message::Ping(Ping { n })) => vec![Message::Pong(Ping { n })],
            (Super::Serves, Message::Status(status)) => {
                let counts = [("sessions".to_owned(), 1)].into();
                vec![Message::Info(Info { req: status.req, agent: "x".into(), counts, links: Vec::new() })]
            }
            (Super::Serves, _) => vec![],
        };
        for answer in answers {
            self.say(LATENCY, conn, answer);
        }
    }

    pub(in crate::proto::weak_peer::tests) fn super_says(&mut self, index: usize, message: Message) {
        let conn = self.supers[index].1.conn.unwrap();
        self.say(LATENCY, conn, message);
    }

    pub(in crate::proto::weak_peer::tests) fn kill_super(&mut self, index: usize) {
        self.supers[index].1.alive = false;
        if let Some(conn) = self.supers[index].1.conn.take() {
            self.hang_up(conn);
        }
    }
}

fn no_room(req: Option<u32>) -> Message {
    Message::Error(Error::new(ErrorCode::LIMIT, "short of memory", req))
}
