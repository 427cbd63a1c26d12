//! Hands what the tap sees to the traffic file. Nothing here waits.

use std::{sync::Arc, time::Duration};

use chat::exchange::End;
use store::traffic::{
    self, Bodies, ExchangeHead, ExchangeId, ExchangeState, OpenExchange, Repeats, Side,
    TrafficStore,
};
use uuid::Uuid;
use wire::tap::{Exchange, Part, Piece, Record, Tap, TraceTap, Wants};

use crate::{
    clock,
    config::{TrafficMode, TrafficSettings},
};

/// Records the exchanges that are made for a person. Those without one (Pomerium's keys, the
/// endpoint's list of models at the start) nobody could look at.
pub(super) struct Recorder {
    store: TrafficStore,
    settings: Arc<TrafficSettings>,
}

impl Recorder {
    pub(super) fn new(store: TrafficStore, settings: Arc<TrafficSettings>) -> Self {
        Self { store, settings }
    }
}

impl Tap for Recorder {
    fn begin(&self, exchange: &Exchange) -> Option<Box<dyn Record>> {
        let context = &exchange.context;
        let subject = context.subject.clone()?;
        // What a server answered is in the requests to the model that follow, too.
        let is_less = |server: &String| self.settings.mode_of(Some(server)) != TrafficMode::Full;
        let bodies = match self.settings.mode_of(context.server.as_deref()) {
            TrafficMode::Full if context.called.iter().any(is_less) => Bodies::Left,
            TrafficMode::Full => Bodies::Kept,
            TrafficMode::Metadata => Bodies::Left,
            TrafficMode::Off => return None,
        };
        let exchange = self.store.begin(ExchangeHead {
            id: ExchangeId(Uuid::now_v7().to_string()),
            subject,
            turn: context.turn.clone(),
            round: context.round,
            call: context.call,
            peer: context.peer,
            server: context.server.clone(),
            method: exchange.method.to_string(),
            url: exchange.url.to_string(),
            request_headers: exchange.request_headers.clone(),
            started_at: clock::now(),
            bodies,
        })?;
        Some(Box::new(Recording { exchange, bodies }))
    }

    fn finished(&self, exchange: &Exchange) {
        TraceTap.finished(exchange);
    }
}

/// One exchange.
struct Recording {
    exchange: OpenExchange,
    bodies: Bodies,
}

impl Record for Recording {
    fn wants(&self) -> Wants {
        match self.bodies {
            Bodies::Kept => Wants::Bodies,
            Bodies::Left => Wants::Beginning,
        }
    }

    fn piece(&mut self, piece: Piece) {
        if self.bodies == Bodies::Left {
            return self.exchange.label(piece.bytes);
        }
        let (side, repeats) = match piece.part {
            Part::Request => (Side::Request, Repeats::Often),
            Part::Answer => (Side::Response, Repeats::Often),
            Part::Stream => (Side::Response, Repeats::Seldom),
        };
        self.exchange.piece(traffic::Piece {
            side,
            start: piece.start,
            bytes: piece.bytes,
            frames: piece.frames,
            arrivals: piece.arrivals,
            repeats,
        });
    }

    fn answered(&mut self, exchange: &Exchange) {
        self.exchange.state(state(exchange, None));
    }

    fn finished(&mut self, exchange: &Exchange) {
        self.exchange
            .state(state(exchange, Some(exchange.end.clone())));
    }
}

fn state(exchange: &Exchange, end: Option<End>) -> ExchangeState {
    ExchangeState {
        status: exchange.status.map(|status| status.as_u16()),
        request_id: exchange.request_id().map(str::to_owned),
        response_headers: exchange.response_headers.clone(),
        headers_after_us: exchange.headers_after.map(micros),
        ended_after_us: exchange.ended_after.map(micros),
        bytes_out: exchange.bytes_out,
        bytes_in: exchange.bytes_in,
        frames_in: exchange.frames_in,
        end,
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
