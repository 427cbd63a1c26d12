//! What must hold after a trial.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fmt,
    time::{Duration, Instant},
};

use chat::{
    event::{Event, Logged},
    ids::{CallId, ConversationId, TurnId},
    outcome::{Outcome, TurnEnd},
    prompt,
    transcript::Transcript,
};
use demo::pomerium::DemoUser;
use serde_json::Value;
use tokio::time::sleep;

use super::{lane::Kept, plan};
use crate::{Journal, JournalCall, PATIENCE, World};

/// Conversations that a list holds: a longer one is cut.
const LISTED: usize = 100;

/// What a trial was made of.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// How many times the process was ended.
    pub kills: usize,
    /// How many of these before it was ready.
    pub in_start: usize,
    /// How long it took to end, at most.
    pub longest_end: Duration,
    /// How long the trial took.
    pub took: Duration,
    /// Conversations.
    pub conversations: usize,
    /// Turns, by how they ended.
    pub ends: BTreeMap<String, u32>,
    /// Calls, by their outcome.
    pub outcomes: BTreeMap<String, u32>,
    /// Events of all logs.
    pub events: usize,
    /// Rounds that were sent again.
    pub discarded: usize,
    /// Calls that were started a second time, which only a certain refusal allows.
    pub second_starts: usize,
    /// Calls that northwind saw.
    pub witnessed: usize,
}

impl Summary {
    /// All turns.
    pub fn turns(&self) -> u32 {
        self.ends.values().sum()
    }

    /// All calls.
    pub fn calls(&self) -> u32 {
        self.outcomes.values().sum()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "kills          {} ({} of them before it was ready), in {:.1} s",
            self.kills,
            self.in_start,
            self.took.as_secs_f64()
        )?;
        writeln!(f, "longest end    {:.2} s", self.longest_end.as_secs_f64())?;
        writeln!(f, "conversations  {}", self.conversations)?;
        writeln!(f, "turns          {} {:?}", self.turns(), self.ends)?;
        writeln!(f, "calls          {} {:?}", self.calls(), self.outcomes)?;
        writeln!(f, "second starts  {}", self.second_starts)?;
        writeln!(f, "witnessed      {} calls, by northwind", self.witnessed)?;
        writeln!(f, "rounds again   {}", self.discarded)?;
        write!(f, "events         {}", self.events)
    }
}

/// Holds everything that users know against the logs, and the logs against the witness.
pub(super) async fn judge(world: &World, kept: &[Kept]) -> Summary {
    let mut summary = Summary::default();
    let journal = settled_journal(world).await;
    summary.witnessed = journal.calls.len();
    let mut witness = Witness::of(&journal);
    for kept in kept {
        let log = kept.user.log(&kept.posted.turn).await;
        let transcript = kept.user.turn(&kept.posted.turn).await;
        judge_log(&kept.posted.turn, &kept.seen, &log);
        assert_eq!(
            Transcript::fold(&log),
            transcript,
            "not the fold of its log"
        );
        judge_end(kept, &transcript, &mut summary);
        judge_calls(&log, &mut witness, &mut summary);
        summary.events += log.len();
        assert_eq!(kept.forgotten_stops, 0, "a stop was taken and lost");
    }
    witness.nothing_is_left();
    judge_conversations(kept, &mut summary).await;
    summary
}

/// The journal once every call in it has ended.
async fn settled_journal(world: &World) -> Journal {
    let until = Instant::now() + PATIENCE;
    loop {
        let journal = world.journal();
        if journal.calls.iter().all(|call| call.outcome.is_some()) {
            return journal;
        }
        assert!(Instant::now() < until, "calls do not end: {journal:#?}");
        sleep(Duration::from_millis(50)).await;
    }
}

/// Numbered without gaps, ended once, and in it all that its reader saw.
fn judge_log(turn: &TurnId, seen: &[Logged], log: &[Logged]) {
    for (expected, logged) in (1..).zip(log) {
        assert_eq!(logged.seq, expected, "a gap in the log of {turn}");
    }
    let ends = log
        .iter()
        .filter(|logged| matches!(logged.event, Event::TurnFinished { .. }));
    assert_eq!(ends.count(), 1, "{turn} has to end once");
    let last = log.last().map(|logged| logged.event.name());
    assert_eq!(last, Some("turn.finished"), "{turn}");
    let numbered: HashMap<u64, &Logged> = log.iter().map(|logged| (logged.seq, logged)).collect();
    for event in seen {
        assert_eq!(
            numbered.get(&event.seq),
            Some(&event),
            "{turn}: a reader saw what is not in the log"
        );
    }
    let structural = log
        .iter()
        .filter(|logged| logged.event.is_structural())
        .count();
    assert_eq!(seen.len(), structural, "{turn}: a reader missed events");
}

fn judge_end(kept: &Kept, transcript: &Transcript, summary: &mut Summary) {
    let turn = &kept.posted.turn;
    let end = transcript.end.as_ref().map(|end| end.end);
    match end {
        Some(TurnEnd::Answered) => {
            let text = transcript.items.iter().rev().find_map(|item| match item {
                chat::transcript::Item::Round(round) => Some(round.text.as_str()),
                chat::transcript::Item::Call(_) | chat::transcript::Item::Notice { .. } => None,
            });
            assert_eq!(
                text,
                Some(kept.plan.answer().as_str()),
                "{turn}: the answer is not whole"
            );
        }
        Some(TurnEnd::Cancelled) if kept.stops > 0 => {}
        Some(TurnEnd::Cancelled | TurnEnd::Limit | TurnEnd::Failed | TurnEnd::Interrupted)
        | None => panic!("{turn} ended as nobody wanted: {transcript:#?}"),
    }
    *summary.ends.entry(name(&end)).or_default() += 1;
    let sendable = prompt::is_sendable(&prompt::messages("system", &[transcript]));
    assert_eq!(sendable, Ok(()), "{turn}: {transcript:#?}");
}

/// Each call has one outcome, and the witness agrees with it.
fn judge_calls(log: &[Logged], witness: &mut Witness<'_>, summary: &mut Summary) {
    let mut requested: HashMap<CallId, &str> = HashMap::new();
    let mut starts: HashMap<CallId, usize> = HashMap::new();
    let mut finished: HashSet<CallId> = HashSet::new();
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the other events are not about calls"
    )]
    for logged in log {
        match &logged.event {
            Event::CallRequested(call) => {
                let before = requested.insert(call.call, plan::mark(&call.arguments));
                assert_eq!(before, None, "a call was asked for twice");
            }
            Event::CallStarted { call, .. } => {
                *starts.entry(*call).or_default() += 1;
            }
            Event::CallFinished(call) => {
                assert!(finished.insert(call.call), "a second outcome: {logged:?}");
                let mark = requested.get(&call.call).copied();
                let mark = mark.unwrap_or_else(|| panic!("never asked for: {logged:?}"));
                let starts = starts.get(&call.call).copied().unwrap_or_default();
                witness.hears(mark, call.outcome, starts);
                summary.second_starts += starts.saturating_sub(1);
                *summary.outcomes.entry(name(&call.outcome)).or_default() += 1;
            }
            Event::RoundDiscarded { .. } => summary.discarded += 1,
            _ => {}
        }
    }
    assert_eq!(
        finished.len(),
        requested.len(),
        "calls without outcome: {log:#?}"
    );
}

/// Every accepted message is there exactly once, and nothing else.
async fn judge_conversations(kept: &[Kept], summary: &mut Summary) {
    let mut conversations: HashMap<&ConversationId, Vec<&Kept>> = HashMap::new();
    for kept in kept {
        let turns = conversations.entry(&kept.posted.conversation).or_default();
        turns.push(kept);
    }
    summary.conversations = conversations.len();
    for who in DemoUser::ALL {
        let mut own = kept.iter().filter(|kept| kept.user.who == who).peekable();
        let Some(user) = own.peek().map(|kept| &kept.user) else {
            continue;
        };
        let listed: Vec<Value> = user.get_json("/api/conversations").await;
        let listed: BTreeSet<_> = listed
            .iter()
            .filter_map(|row| row.get("id")?.as_str())
            .collect();
        let known: BTreeSet<_> = own.map(|kept| kept.posted.conversation.as_str()).collect();
        assert!(
            listed.len() == LISTED || listed == known,
            "{who:?} has {listed:?}, and began {known:?}"
        );
    }
    for (id, known) in conversations {
        let Some(first) = known.first() else { continue };
        let whole = first.user.conversation(id).await;
        assert_eq!(whole.running, None, "{id}");
        let there: Vec<_> = whole
            .turns
            .iter()
            .map(|turn| {
                (
                    turn.id.clone(),
                    turn.transcript.started.as_ref().map(|s| s.message.clone()),
                )
            })
            .collect();
        let posted: Vec<_> = known
            .iter()
            .map(|kept| (kept.posted.turn.clone(), Some(kept.plan.message())))
            .collect();
        assert_eq!(there, posted, "{id}: not the messages that were accepted");
        let transcripts: Vec<_> = whole.turns.iter().map(|turn| &turn.transcript).collect();
        let messages = prompt::messages("system", &transcripts);
        assert_eq!(prompt::is_sendable(&messages), Ok(()), "{id}");
    }
}

/// northwind's journal by the marks of the calls.
struct Witness<'a> {
    /// Calls that no log has spoken of yet.
    left: HashMap<String, &'a JournalCall>,
}

impl<'a> Witness<'a> {
    fn of(journal: &'a Journal) -> Self {
        let mut left = HashMap::new();
        for call in &journal.calls {
            let arguments = call.arguments.to_string();
            let before = left.insert(plan::mark(&arguments).to_owned(), call);
            assert!(before.is_none(), "started twice: {before:?} and {call:?}");
        }
        Self { left }
    }

    /// Toolgate's log says this about the call, and how many times it was started: what does the
    /// witness say?
    fn hears(&mut self, mark: &str, outcome: Outcome, starts: usize) {
        let saw = self.left.remove(mark);
        let started = starts > 0;
        let ended = saw.and_then(|call| call.outcome.as_deref());
        let fits = match outcome {
            Outcome::Ok => ended == Some("ok"),
            Outcome::ToolError => ended == Some("error"),
            Outcome::Unknown | Outcome::Cancelled => saw.is_none() || started,
            Outcome::InvalidArguments
            | Outcome::UnknownFunction
            | Outcome::DeniedByUser
            | Outcome::SwitchedOff => saw.is_none() && !started,
            Outcome::DeniedByPolicy
            | Outcome::ApprovalRequired
            | Outcome::Timeout
            | Outcome::TokenExpired
            | Outcome::NeedsConnect
            | Outcome::Unavailable
            | Outcome::ProtocolError
            | Outcome::Limit => false,
        };
        assert!(
            fits,
            "{mark}: the log says {outcome:?} ({starts} starts), the server saw {saw:?}"
        );
    }

    /// Every call that the server saw is in a log.
    fn nothing_is_left(&self) {
        assert!(self.left.is_empty(), "in no log: {:#?}", self.left);
    }
}

/// The word of the log for it.
fn name(value: &impl serde::Serialize) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().unwrap_or("none").to_owned()
}

#[cfg(test)]
mod tests {
    use chat::{event::CallFinished, shape::CallResult};
    use serde_json::json;

    use super::*;

    const MARK: &str = "[kill-0-0-0]";

    fn log(events: Vec<Event>) -> Vec<Logged> {
        (1..)
            .zip(events)
            .map(|(seq, event)| Logged { seq, at: 0, event })
            .collect()
    }

    fn finished() -> Event {
        Event::TurnFinished {
            end: TurnEnd::Answered,
            failure: None,
        }
    }

    fn discarded() -> Event {
        Event::RoundDiscarded {
            round: chat::ids::RoundId(1),
        }
    }

    fn judge_alone(seen: &[Logged], log: &[Logged]) {
        judge_log(&TurnId::from("t"), seen, log);
    }

    fn saw(outcomes: &[&str]) -> Journal {
        let calls = outcomes.iter().map(|outcome| JournalCall {
            id: String::new(),
            tool: "read_query".to_owned(),
            arguments: json!({ "query": MARK }),
            outcome: Some((*outcome).to_owned()),
        });
        Journal {
            calls: calls.collect(),
        }
    }

    #[test]
    #[should_panic(expected = "a gap in the log")]
    fn a_gap_is_found() {
        let mut log = log(vec![discarded(), finished()]);
        log[1].seq = 3;
        judge_alone(&[], &log);
    }

    #[test]
    #[should_panic(expected = "has to end once")]
    fn a_second_end_is_found() {
        let log = log(vec![finished(), finished()]);
        judge_alone(&log, &log);
    }

    #[test]
    #[should_panic(expected = "a reader saw what is not in the log")]
    fn an_event_that_was_shown_and_lost_is_found() {
        let shown = log(vec![discarded(), finished()]);
        judge_alone(&shown, &log(vec![finished()]));
    }

    #[test]
    #[should_panic(expected = "a reader missed events")]
    fn an_event_that_was_never_shown_is_found() {
        let log = log(vec![discarded(), finished()]);
        judge_alone(&log[1..], &log);
    }

    #[test]
    #[should_panic(expected = "started twice")]
    fn a_call_that_ran_twice_is_found() {
        Witness::of(&saw(&["ok", "ok"]));
    }

    #[test]
    #[should_panic(expected = "in no log")]
    fn a_call_that_nobody_logged_is_found() {
        Witness::of(&saw(&["ok"])).nothing_is_left();
    }

    #[test]
    fn an_outcome_that_the_witness_contradicts_is_found() {
        let (ran, failed, idle) = (saw(&["ok"]), saw(&["error"]), saw(&[]));
        let fits = |journal, outcome, starts| {
            std::panic::catch_unwind(|| Witness::of(journal).hears(MARK, outcome, starts)).is_ok()
        };
        assert!(fits(&ran, Outcome::Ok, 1) && !fits(&failed, Outcome::Ok, 1));
        assert!(!fits(&idle, Outcome::Ok, 1));
        assert!(fits(&failed, Outcome::ToolError, 1) && !fits(&ran, Outcome::ToolError, 1));
        assert!(fits(&ran, Outcome::Unknown, 1) && fits(&idle, Outcome::Unknown, 1));
        assert!(fits(&idle, Outcome::DeniedByUser, 0) && !fits(&ran, Outcome::DeniedByUser, 0));
        assert!(!fits(&idle, Outcome::UnknownFunction, 1));
        assert!(!fits(&ran, Outcome::Cancelled, 0));
        assert!(!fits(&idle, Outcome::Unavailable, 1));
    }

    #[test]
    #[should_panic(expected = "calls without outcome")]
    fn a_call_without_outcome_is_found() {
        let requested = json!({
            "type": "call.requested", "call": 1, "round": 1, "model_id": "a", "function": "f",
            "arguments": MARK,
        });
        let requested = serde_json::from_value(requested).unwrap();
        let (journal, mut summary) = (saw(&[]), Summary::default());
        judge_calls(
            &log(vec![requested]),
            &mut Witness::of(&journal),
            &mut summary,
        );
    }

    #[test]
    #[should_panic(expected = "never asked for")]
    fn an_outcome_of_no_call_is_found() {
        let finished = Event::CallFinished(CallFinished {
            call: CallId(1),
            outcome: Outcome::Ok,
            result: CallResult::text("done"),
            failure: None,
        });
        let (journal, mut summary) = (saw(&[]), Summary::default());
        judge_calls(
            &log(vec![finished]),
            &mut Witness::of(&journal),
            &mut summary,
        );
    }
}
