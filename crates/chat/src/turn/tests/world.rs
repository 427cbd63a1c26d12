//! A world around one turn: a model, servers, a person, a clock and a log, each of which may do
//! anything at any time. It performs the engine's effects and checks each against the contract.

use std::collections::BTreeSet;

use crate::{event::Logged, prompt, transcript::Transcript};

use super::*;

/// What may happen next. A number picks one of those that can.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Catalog(u8),
    /// What keeps a turn going: the model answers, or what has to come before that.
    Go {
        calls: Vec<u8>,
        end: RoundEnd,
    },
    RoundFails(Retry, Partial),
    Accept(u8),
    Refuse(u8, Refusal),
    End(u8, Outcome),
    Unpark(ParkReason, Option<u8>),
    Answer(u8, Answer),
    Time(u8),
    Cancel(CancelBy),
    /// Something that does not fit.
    Stale(Stale),
    /// The process dies now.
    Crash,
    /// It dies the next time it writes: before or after the append.
    CrashAt(Append),
    /// After a crash, the owner comes back.
    Back,
    LogLost,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Append {
    Lost,
    Done,
}

#[derive(Clone, Debug)]
pub(super) enum Stale {
    Start,
    RoundEnded(u8),
    RoundFailed(u8),
    Accepted(u8),
    Refused(u8, Refusal),
    Ended(u8),
    Answered(u8),
    Timer(u8),
}

const SERVERS: [&str; 3] = ["alpha", "beta", "gamma"];

/// The more usual ones more often.
const FUNCTIONS: [&str; 10] = [
    "alpha__free",
    "alpha__free",
    "alpha__free",
    "beta__free",
    "gamma__free",
    "alpha__asked",
    "beta__asked",
    "alpha__free!",
    "beta__free{",
    "nonsense",
];

pub(super) struct World {
    limits: TurnLimits,
    turn: Turn,
    pub(super) log: Vec<Event>,
    /// After how many events each append ended.
    pub(super) appends: Vec<usize>,
    /// The fold of the log, step by step.
    told: State,
    /// `LoadCatalog` waits for its answer.
    loading: bool,
    request: Option<RoundId>,
    /// The request that was told to end.
    aborted: Option<RoundId>,
    timers: Vec<TimerId>,
    running: Vec<CallId>,
    accepted: BTreeSet<CallId>,
    /// The calls that may be started (again): never started, or refused since.
    startable: BTreeSet<CallId>,
    approved: BTreeSet<CallId>,
    /// What is held back until the owner is there again.
    held: Option<Vec<Effect>>,
    crash_at: Option<Append>,
    pub(super) lost: bool,
}

impl World {
    pub(super) fn new(limits: TurnLimits, owner: Owner) -> Self {
        let started = started_by(owner);
        let mut world = Self::of(limits, vec![Event::TurnStarted(started.clone())]);
        world.turn = Turn::new(limits);
        world.on(Input::Start(started));
        world
    }

    /// A world in which all is gone but the log.
    pub(super) fn after_crash(limits: TurnLimits, log: Vec<Event>) -> Self {
        let mut world = Self::of(limits, log);
        world.crash();
        world
    }

    fn of(limits: TurnLimits, log: Vec<Event>) -> Self {
        let mut world = Self {
            limits,
            turn: Turn::new(limits),
            appends: vec![log.len()],
            log: vec![],
            told: State::default(),
            loading: false,
            request: None,
            aborted: None,
            timers: vec![],
            running: vec![],
            accepted: BTreeSet::new(),
            startable: BTreeSet::new(),
            approved: BTreeSet::new(),
            held: None,
            crash_at: None,
            lost: false,
        };
        for event in log {
            world.append(event);
        }
        world
    }

    pub(super) fn step(&mut self, step: &Step) {
        match step {
            // What the process itself does, or what only its running parts can cause.
            Step::Back => self.back(),
            Step::Crash => self.crash(),
            Step::CrashAt(append) => self.crash_at = Some(*append),
            Step::Go { calls, end } => self.go(calls, *end),
            Step::RoundFails(retry, partial) => {
                if let Some(round) = self.request.take() {
                    self.on(fails(round.0, *retry, *partial));
                }
            }
            Step::Catalog(servers) => self.catalog(*servers),
            Step::Accept(n) => {
                if let Some(call) = pick(&self.running, *n) {
                    self.accepted.insert(call);
                    self.on(accepted(call.0));
                }
            }
            Step::Refuse(n, refusal) => self.refuse(*n, *refusal),
            Step::End(n, outcome) => {
                if let Some(call) = pick(&self.running, *n) {
                    self.on(ended(call.0, *outcome));
                }
            }
            Step::Unpark(reason, server) => {
                let server = server.map(|n| SERVERS[usize::from(n) % SERVERS.len()]);
                self.on(unparked(*reason, server));
            }
            Step::Answer(n, answer) => {
                let open: Vec<_> = self.turn.open_questions().collect();
                if let Some((question, call)) = pick(&open, *n) {
                    if *answer == Answer::Approve {
                        self.approved.insert(call);
                    }
                    self.on(Input::Answered {
                        question,
                        answer: answer.clone(),
                    });
                }
            }
            Step::Time(n) => {
                if let Some(timer) = pick(&self.timers, *n) {
                    self.timers.retain(|set| *set != timer);
                    self.on(Input::Timer(timer));
                }
            }
            Step::Cancel(by) => self.on(Input::Cancel(*by)),
            Step::LogLost => {
                self.lost = true;
                self.on(Input::LogLost);
            }
            Step::Stale(stale) => self.stale(stale),
        }
    }

    /// The world does what it should, until the turn ends. Of a turn that is being stopped it
    /// takes no notice: that ends by time alone.
    pub(super) fn settle(&mut self) {
        self.crash_at = None;
        for _ in 0..2_000 {
            if self.turn.is_finished() {
                return;
            }
            let step = if self.held.is_some() {
                Step::Back
            } else if self.told.cancelling.is_some() {
                assert_eq!(self.timers, [TimerId::CancelGrace]);
                Step::Time(0)
            } else if self.loading {
                Step::Catalog(0)
            } else if self.request.is_some() {
                let (calls, end) = (vec![], RoundEnd::Stop);
                Step::Go { calls, end }
            } else if !self.running.is_empty() {
                Step::End(0, Outcome::Ok)
            } else if self.turn.open_questions().count() > 0 {
                Step::Answer(0, Answer::Approve)
            } else {
                assert!(!self.timers.is_empty(), "the turn waits for nothing");
                Step::Time(0)
            };
            self.step(&step);
        }
        panic!("the turn does not end");
    }

    /// What holds of every log whose turn has ended.
    pub(super) fn check_end(&self) {
        assert!(self.turn.is_finished());
        if self.lost {
            return;
        }
        let count = |name| self.log.iter().filter(|event| event.name() == name).count();
        assert_eq!(count("turn.finished"), 1);
        assert!(count("turn.cancelling") <= 1);
        assert!(matches!(self.log.last(), Some(Event::TurnFinished { .. })));
        assert_eq!(self.timers, [], "no timer outlives the turn");
        assert!(
            self.request.is_none() || self.request == self.aborted,
            "no request outlives the turn"
        );
        check_calls(&self.log);
        if self.told.owner == Owner::Connection {
            check_waits_for_nobody(&self.log);
        }
        self.check_sendable();
        let (_, effects) = Turn::replay(self.limits, &self.log);
        assert_eq!(effects, []);
    }

    fn go(&mut self, calls: &[u8], end: RoundEnd) {
        let retry = self
            .timers
            .iter()
            .position(|timer| matches!(timer, TimerId::Retry(_)));
        if self.held.is_some() {
            self.back();
        } else if self.loading {
            self.catalog(calls.first().copied().unwrap_or_default());
        } else if let Some(timer) = retry {
            let timer = self.timers.remove(timer);
            self.on(Input::Timer(timer));
        } else if let Some(round) = self.request.take() {
            let functions: Vec<&str> = calls
                .iter()
                .map(|n| FUNCTIONS[usize::from(*n) % FUNCTIONS.len()])
                .collect();
            let (usage, mut message) = (None, message_for(round.0, &functions));
            message.text = "So.".into();
            self.on(Input::RoundEnded {
                round,
                end,
                usage,
                message,
            });
        }
    }

    fn catalog(&mut self, servers: u8) {
        if self.held.is_none() {
            self.loading = false;
            let offered = [3, 3, 3, 3, 3, 2, 1, 0][usize::from(servers % 8)];
            self.on(Input::CatalogReady(offering(&SERVERS[..offered])));
        }
    }

    fn refuse(&mut self, n: u8, refusal: Refusal) {
        if let Some(call) = pick(&self.running, n) {
            // The last word of the call, also after its acceptance.
            self.running.retain(|running| *running != call);
            if !self.accepted.contains(&call) {
                self.startable.insert(call);
            }
            self.on(refused(call.0, refusal));
        }
    }

    fn stale(&mut self, stale: &Stale) {
        // Of those that there have been, or one that there has not.
        let of = |n: &u8, count: u32| u32::from(*n) % (count + 2);
        let round = |n: &u8| of(n, self.told.round.as_ref().map_or(0, |round| round.id.0));
        let call = |n: &u8| of(n, self.told.call_count());
        let input = match stale {
            Stale::Start => Input::Start(started()),
            Stale::RoundEnded(n) => calls_for(round(n), &["alpha__free"]),
            Stale::RoundFailed(n) => fails(round(n), Retry::After(None), Partial::Shown),
            Stale::Accepted(n) => accepted(call(n)),
            Stale::Refused(n, refusal) => refused(call(n), *refusal),
            Stale::Ended(n) => ended(call(n), Outcome::Ok),
            Stale::Answered(n) => approve(of(n, self.told.questions)),
            Stale::Timer(n) => match n % 4 {
                0 => Input::Timer(TimerId::CancelGrace),
                1 => Input::Timer(TimerId::Retry(RoundId(round(n)))),
                2 => Input::Timer(TimerId::Question(QuestionId(of(n, self.told.questions)))),
                _ => timer_parked(call(n)),
            },
        };
        let fits = match &input {
            Input::RoundEnded { round, .. } | Input::RoundFailed { round, .. } => {
                self.request == Some(*round)
            }
            Input::CallAccepted { call }
            | Input::CallEnded { call, .. }
            | Input::CallRefused { call, .. } => self.running.contains(call),
            Input::Answered { question, .. } => self
                .turn
                .open_questions()
                .any(|(open, _)| open == *question),
            Input::Timer(timer) => self.timers.contains(timer) || self.is_held(*timer),
            _ => false,
        };
        if !fits {
            let (before, crash_at) = (self.told.clone(), self.crash_at.take());
            self.on(input);
            self.crash_at = crash_at;
            assert!(self.told == before, "a stale input changed something");
        }
    }

    /// Whether the timer is set as soon as the owner is back: until then none can ring.
    fn is_held(&self, timer: TimerId) -> bool {
        let mut held = self.held.iter().flatten();
        held.any(|effect| matches!(effect, Effect::SetTimer(set, _) if *set == timer))
    }

    fn back(&mut self) {
        if let Some(effects) = self.held.take() {
            self.perform(effects);
        }
    }

    fn crash(&mut self) {
        if self.lost {
            return;
        }
        self.loading = false;
        self.request = None;
        self.crash_at = None;
        self.timers.clear();
        self.running.clear();
        let (turn, mut effects) = Turn::replay(self.limits, &self.log);
        self.turn = turn;
        // What the end of the process did is recorded at once; the rest is held.
        if matches!(effects.first(), Some(Effect::Record(_))) {
            let rest = effects.split_off(1);
            self.take(mem::replace(&mut effects, rest));
        }
        let begins = |effect: &Effect| {
            !matches!(
                effect,
                Effect::LoadCatalog
                    | Effect::SetTimer(TimerId::Parked(_) | TimerId::Question(_), _)
            )
        };
        assert!(
            !effects.iter().any(begins),
            "nothing is begun for nobody: {effects:?}"
        );
        self.held = Some(effects);
    }

    fn on(&mut self, input: Input) {
        let effects = self.turn.on(input);
        if self.turn.is_finished() {
            self.held = None;
        }
        self.take(effects);
    }

    /// Appends and performs, unless the process dies over it.
    fn take(&mut self, effects: Vec<Effect>) {
        let mut effects = effects.into_iter().peekable();
        let mut recorded = vec![];
        if let Some(Effect::Record(events)) =
            effects.next_if(|effect| matches!(effect, Effect::Record(_)))
        {
            assert!(!self.lost, "nothing is recorded after the log is lost");
            assert!(!events.is_empty());
            let crash = self.crash_at.take();
            if !matches!(crash, Some(Append::Lost)) {
                for event in &events {
                    self.append(event.clone());
                }
                self.appends.push(self.log.len());
            }
            if crash.is_some() {
                self.crash();
                return;
            }
            recorded = events;
        }
        let effects: Vec<Effect> = effects.collect();
        self.check_recorded(&recorded, &effects);
        self.perform(effects);
        if !self.lost {
            assert!(self.told == self.turn.state, "replaying is not living");
        }
    }

    /// What a model would be sent of the turn now, it takes.
    fn check_sendable(&self) {
        let logged: Vec<Logged> = (1..)
            .zip(&self.log)
            .map(|(seq, event)| Logged {
                seq,
                at: 0,
                event: event.clone(),
            })
            .collect();
        let transcript = Transcript::fold(&logged);
        assert_eq!(transcript.is_open(), !self.told.finished);
        let messages = prompt::messages("Be brief.", &[&transcript]);
        assert_eq!(prompt::is_sendable(&messages), Ok(()));
    }

    /// Each thing that is begun was recorded just before, and each that was recorded is begun.
    fn check_recorded(&self, recorded: &[Event], effects: &[Effect]) {
        let starts: Vec<CallId> = effects.iter().filter_map(start_of).collect();
        let said: Vec<CallId> = recorded.iter().filter_map(recorded_start_of).collect();
        assert_eq!(starts, said);
        let rounds = effects
            .iter()
            .filter(|effect| matches!(effect, Effect::SendRound { .. }));
        let said = recorded
            .iter()
            .filter(|event| matches!(event, Event::RoundStarted { .. }));
        assert_eq!(rounds.count(), said.count());
        let over = recorded
            .iter()
            .any(|event| matches!(event, Event::TurnFinished { .. }));
        if over || self.lost {
            assert!(starts.is_empty());
        }
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Record(_) => panic!("one record, and first"),
                Effect::LoadCatalog => self.loading = true,
                Effect::SendRound { round, .. } => {
                    assert_eq!(self.request.replace(round), None, "one request at a time");
                    assert!(self.running.is_empty(), "a round has all its results");
                    self.check_sendable();
                }
                Effect::AbortRound(round) => {
                    assert_eq!(self.request, Some(round));
                    self.aborted = Some(round);
                }
                Effect::StartCall { call, target, .. } => self.start(call, &target.server),
                Effect::CancelCall(call) => assert!(self.running.contains(&call)),
                Effect::SetTimer(timer, _) => {
                    assert!(!self.timers.contains(&timer));
                    self.timers.push(timer);
                }
                Effect::ClearTimer(timer) => self.clear(timer),
            }
        }
    }

    fn clear(&mut self, timer: TimerId) {
        let before = self.timers.len();
        self.timers.retain(|set| *set != timer);
        let mut cleared = before - self.timers.len();
        if let Some(held) = &mut self.held {
            let before = held.len();
            held.retain(|effect| !matches!(effect, Effect::SetTimer(set, _) if *set == timer));
            cleared += before - held.len();
        }
        // A turn that ends takes with it what is held.
        assert!(cleared == 1 || self.turn.is_finished(), "{timer:?}");
    }

    fn start(&mut self, call: CallId, server: &str) {
        assert!(
            self.startable.remove(&call),
            "call {call} is started a second time"
        );
        assert!(
            !self.accepted.contains(&call),
            "call {call} is started after its acceptance"
        );
        self.running.push(call);
        assert!(self.running.len() <= limits::CALLS_AT_ONCE);
        let here = self
            .running
            .iter()
            .filter(|running| self.server_of(**running) == server);
        assert!(here.count() <= limits::CALLS_AT_ONCE_PER_SERVER);
        let requested = self.requested(call);
        if requested.function.ends_with("asked") {
            assert!(
                self.approved.contains(&call),
                "call {call} was not approved"
            );
        }
    }

    fn requested(&self, call: CallId) -> &crate::event::CallRequested {
        let requested = self.log.iter().find_map(|event| match event {
            Event::CallRequested(requested) if requested.call == call => Some(requested),
            _ => None,
        });
        requested.unwrap()
    }

    fn server_of(&self, call: CallId) -> &str {
        &self.requested(call).target.as_ref().unwrap().server
    }

    fn append(&mut self, event: Event) {
        assert!(!self.told.finished, "turn.finished is the last event");
        match &event {
            Event::CallRequested(requested) => {
                self.startable.insert(requested.call);
            }
            Event::CallStarted { call, .. } if self.log_is_foreign() => {
                self.startable.remove(call);
            }
            Event::CallParked { call, .. } => {
                self.startable.insert(*call);
            }
            Event::QuestionAnswered {
                question,
                answer: Answer::Approve,
            } => {
                let asked = self.log.iter().find_map(|event| match event {
                    Event::QuestionAsked {
                        question: asked,
                        call,
                    } if asked == question => Some(*call),
                    _ => None,
                });
                self.approved.insert(asked.unwrap());
            }
            Event::CallFinished(finished) => {
                self.running.retain(|running| *running != finished.call);
            }
            _ => {}
        }
        self.told.apply(&event);
        self.log.push(event);
    }

    /// Whether the log is being read in, not written.
    fn log_is_foreign(&self) -> bool {
        self.log.len() < self.appends[0]
    }
}

fn pick<T: Clone>(from: &[T], n: u8) -> Option<T> {
    from.get(usize::from(n) % from.len().max(1)).cloned()
}

fn start_of(effect: &Effect) -> Option<CallId> {
    match effect {
        Effect::StartCall { call, .. } => Some(*call),
        _ => None,
    }
}

fn recorded_start_of(event: &Event) -> Option<CallId> {
    match event {
        Event::CallStarted { call, .. } => Some(*call),
        _ => None,
    }
}

/// An API turn never waits for a person.
fn check_waits_for_nobody(log: &[Event]) {
    for event in log {
        assert!(
            !matches!(
                event,
                Event::QuestionAsked { .. }
                    | Event::CallParked {
                        reason: ParkReason::NeedsConnect,
                        ..
                    }
            ),
            "{event:?}"
        );
    }
}

/// Each call of a message is numbered and has one outcome, before anything else is said.
fn check_calls(log: &[Event]) {
    let mut open: BTreeSet<CallId> = BTreeSet::new();
    let mut numbered = 0;
    let mut unnumbered: Vec<&ModelCall> = vec![];
    let mut last_choice = ToolChoice::Auto;
    let mut round_open = false;
    for event in log {
        match event {
            Event::RoundStarted { tool_choice, .. } => {
                assert!(
                    open.is_empty() && unnumbered.is_empty(),
                    "a call has no result"
                );
                assert!(!round_open);
                (last_choice, round_open) = (*tool_choice, true);
            }
            Event::RoundFinished { message, .. } => {
                assert!(round_open);
                round_open = false;
                unnumbered = message.calls.iter().rev().collect();
            }
            Event::RoundRetrying { .. } | Event::RoundDiscarded { .. } => round_open = false,
            Event::CallRequested(requested) => {
                numbered += 1;
                assert_eq!(requested.call, CallId(numbered));
                let asked = unnumbered.pop().expect("a call that the model asked for");
                assert_eq!(requested.model_id, asked.id);
                assert!(open.insert(requested.call));
            }
            Event::CallStarted { call, .. } => {
                assert!(open.contains(call));
                assert_eq!(last_choice, ToolChoice::Auto);
            }
            Event::CallParked { call, .. } | Event::CallResumed { call, .. } => {
                assert!(open.contains(call));
            }
            Event::CallFinished(finished) => {
                assert!(
                    open.remove(&finished.call),
                    "one outcome for {}",
                    finished.call
                );
                assert!(!finished.result.shown.is_empty());
            }
            _ => {}
        }
    }
    assert!(
        open.is_empty() && unnumbered.is_empty(),
        "a call has no result at the end"
    );
}
