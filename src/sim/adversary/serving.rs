//! A source that serves correctly, as an honest source does. Only its records are false.

use super::hands::Hands;
use super::source::{Goods, Way};
use crate::proto::ConnId;
use crate::wire::message::Get;

/// The source.
#[derive(Debug)]
pub(in crate::sim) struct Serving;

impl Way for Serving {
    fn name(&self) -> &'static str {
        "serving_source"
    }

    fn on_get(&mut self, conn: ConnId, get: &Get, goods: Goods, hands: &mut Hands<'_>) {
        hands.chunk(conn, get, goods.right, None);
    }
}
