//! A reader who applies every patch must have what a reader who comes late is sent whole.

mod document;

use chat::{
    event::{
        Answer, CallFinished, CallRequested, CancelBy, Delta, Event, Logged, ParkReason, Progress,
        ServerState, ServerStateChanged, Target, TurnStarted,
    },
    failure::{Failure, Layer, Retry, RoundFailure},
    ids::{CallId, QuestionId, RoundId},
    message::{AssistantMessage, RoundEnd, ToolChoice},
    outcome::{Outcome, TurnEnd},
    shape::{CallResult, ShapeStep},
};
use serde_json::json;

use self::document::Document;
use super::*;

/// Far more than any wait between two looks.
const LATER: Duration = Duration::from_mins(1);

/// A turn, how it is painted, and one reader who follows it.
struct Stage {
    live: Live,
    painted: Painted,
    page: Document,
    has: Has,
    now: Instant,
    seq: u64,
}

impl Stage {
    fn new() -> Self {
        Self {
            live: Live::new(&[]),
            painted: Painted::new("turn".into()),
            page: Document::parse("<div id=\"turns\"></div>"),
            has: Has::Nothing,
            now: Instant::now(),
            seq: 0,
        }
    }

    fn logged(&mut self, event: Event) {
        self.seq += 1;
        self.live.committed(&[Logged {
            seq: self.seq,
            at: 1_000 * i64::try_from(self.seq).unwrap(),
            event,
        }]);
    }

    fn text(&mut self, round: u32, offset: usize, text: &str) {
        self.live
            .uncommitted(&Event::TextDelta(delta(round, offset, text)));
    }

    /// Looks at the turn, and has the reader apply what is new.
    fn look(&mut self) -> (Option<Instant>, Vec<Patch>) {
        let changes = self.live.look(|view| self.painted.take(view));
        let due = self.painted.paint(changes, Vec::new, self.now);
        let patches = self.painted.news(self.has);
        self.has = Has::Version(self.painted.version);
        self.page.apply(&patches);
        (due, patches)
    }

    fn look_later(&mut self) -> Vec<Patch> {
        self.now += LATER;
        let (due, patches) = self.look();
        assert_eq!(due, None, "nothing is held back for so long");
        self.assert_same();
        patches
    }

    /// The page that was kept up to date is the page that is made anew.
    fn assert_same(&self) {
        let mut late = Document::parse("<div id=\"turns\"></div>");
        late.apply(&self.painted.news(Has::Nothing));
        assert_eq!(self.page.html(), late.html());
    }

    /// The page as somebody finds it who comes when all is over.
    fn history(&self) -> String {
        let transcript = self.live.look(|view| view.transcript.clone());
        Painted::whole("turn".into(), transcript, &[]).html()
    }
}

fn delta(round: u32, offset: usize, text: &str) -> Delta {
    Delta {
        round: RoundId(round),
        offset,
        text: text.to_owned(),
    }
}

fn started() -> Event {
    Event::TurnStarted(TurnStarted {
        conversation: "c".into(),
        parent: None,
        message: "<b>Sales</b> by \"year\"?".to_owned(),
        model: "scripted".to_owned(),
        sid: "s".into(),
    })
}

fn round_started(round: u32) -> Event {
    Event::RoundStarted {
        round: RoundId(round),
        attempt: 1,
        tool_choice: ToolChoice::Auto,
        catalogs: Vec::new(),
    }
}

fn round_finished(round: u32, text: &str, end: RoundEnd) -> Event {
    Event::RoundFinished {
        round: RoundId(round),
        end,
        usage: None,
        message: AssistantMessage {
            text: text.to_owned(),
            reasoning: if round == 1 { "Again & again" } else { "" }.to_owned(),
            ..AssistantMessage::default()
        },
    }
}

fn requested(call: u32) -> Event {
    Event::CallRequested(CallRequested {
        call: CallId(call),
        round: RoundId(1),
        model_id: format!("m{call}"),
        function: "db__write".to_owned(),
        target: Some(Target {
            server: "<db>".to_owned(),
            tool: "write</section>\u{202e}".to_owned(),
        }),
        arguments: "{\"query\": \"</code><script>alert(1)</script>\u{202e}\"}".to_owned(),
    })
}

fn finished(call: u32, outcome: Outcome) -> Event {
    let failure = (outcome != Outcome::Ok).then(|| {
        Failure::new(Layer::Pomerium, "<i>no</i>", "Ask.").with_request_id(Some("id-1".to_owned()))
    });
    let result = CallResult {
        raw: json!({}),
        shown: "<script>rows</script>".to_owned(),
        steps: vec![
            ShapeStep::Truncated { from: 9, to: 3 },
            ShapeStep::Structured,
        ],
        ..CallResult::default()
    };
    Event::CallFinished(CallFinished {
        call: CallId(call),
        outcome,
        result,
        failure,
    })
}

fn progress(done: f64) -> Event {
    Event::CallProgress(Progress {
        call: CallId(1),
        progress: done,
        total: Some(10.0),
        message: Some("<step>".to_owned()),
    })
}

fn turn_finished(end: TurnEnd) -> Event {
    let failure = (end == TurnEnd::Failed)
        .then(|| Failure::new(Layer::Model, "the model <broke>", "Try again."));
    Event::TurnFinished { end, failure }
}

/// A turn in which everything happens.
fn story() -> Vec<Event> {
    let unavailable = ServerStateChanged {
        server: "<down>".to_owned(),
        state: ServerState::Unavailable,
        failure: Some(Failure::new(Layer::Server, "refused", "Check it.")),
    };
    let retrying = Event::RoundRetrying {
        round: RoundId(1),
        failure: RoundFailure {
            failure: Failure::new(Layer::Model, "429", ""),
            retry: Retry::After(None),
        },
        after_ms: 1500,
    };
    let text = "I look.\n\n```sql\nSELECT 1\n```\n\n- a\n- b\n";
    vec![
        started(),
        Event::ServerState(unavailable),
        round_started(1),
        Event::ReasoningDelta(delta(1, 0, "Let me <think>")),
        Event::TextDelta(delta(1, 0, "Wrong ")),
        retrying,
        Event::RoundDiscarded { round: RoundId(1) },
        round_started(1),
        Event::ReasoningDelta(delta(1, 0, "Again & ")),
        Event::ReasoningDelta(delta(1, 8, "again")),
        Event::TextDelta(delta(1, 0, &text[..4])),
        Event::TextDelta(delta(1, 4, &text[4..20])),
        Event::TextDelta(delta(1, 20, &text[20..28])),
        Event::TextDelta(delta(1, 28, &text[28..])),
        round_finished(1, text, RoundEnd::Calls),
        requested(1),
        Event::QuestionAsked {
            question: QuestionId(1),
            call: CallId(1),
        },
        requested(2),
        Event::QuestionAnswered {
            question: QuestionId(1),
            answer: Answer::Approve,
        },
        Event::CallStarted {
            call: CallId(1),
            attempt: 1,
        },
        progress(1.0),
        progress(4.0),
        Event::CallParked {
            call: CallId(2),
            reason: ParkReason::StaleToken,
        },
        finished(1, Outcome::Ok),
        Event::CallResumed {
            call: CallId(2),
            sid: None,
        },
        Event::Notice {
            call: Some(CallId(2)),
            text: "<odd>".to_owned(),
        },
        finished(2, Outcome::Unknown),
        round_started(2),
        Event::TextDelta(delta(2, 0, "Done")),
        round_finished(2, "Done.", RoundEnd::Stop),
        turn_finished(TurnEnd::Answered),
    ]
}

#[test]
fn a_page_that_follows_is_the_page_made_anew() {
    let mut stage = Stage::new();
    for event in story() {
        stage.logged(event);
        stage.look_later();
    }
    let mut history = Document::parse("<div id=\"turns\"></div>");
    history.apply(&[Patch::append(TURNS, stage.history())]);
    assert_eq!(
        stage.page.html_without_code_ids(),
        history.html_without_code_ids()
    );
}

#[test]
fn a_reader_who_looks_rarely_misses_nothing() {
    for every in 2..8 {
        let mut stage = Stage::new();
        for (n, event) in story().into_iter().enumerate() {
            stage.logged(event);
            if n % every == 0 {
                stage.look_later();
            }
        }
        stage.look_later();
    }
}

#[test]
fn a_reader_who_comes_back_gets_what_was_committed_since_and_what_is_open() {
    let story = story();
    for left in 1..story.len() {
        let mut stage = Stage::new();
        for (n, event) in story.iter().enumerate() {
            stage.logged(event.clone());
            if n < left {
                stage.look_later();
            }
        }
        let seq = u64::try_from(left).unwrap();
        stage.now += LATER;
        stage.has = Has::Committed(seq);
        stage.look();
        stage.assert_same();
    }
}

#[test]
fn what_a_round_ended_with_counts_not_what_was_shown_of_it() {
    for (reasoning, text) in [("Other", "Text."), ("", "Text."), ("Thought", "Other.")] {
        let mut stage = Stage::new();
        for event in [started(), round_started(1)] {
            stage.logged(event);
        }
        stage
            .live
            .uncommitted(&Event::ReasoningDelta(delta(1, 0, "Thought")));
        stage.text(1, 0, "Text.");
        stage.look_later();
        let mut ended = round_finished(1, text, RoundEnd::Stop);
        if let Event::RoundFinished { message, .. } = &mut ended {
            message.reasoning = reasoning.to_owned();
        }
        stage.logged(ended);
        stage.look_later();
        assert!(stage.page.html().contains(&format!("<p>{text}</p>")));
        assert_eq!(
            stage.page.html().contains("Thought"),
            reasoning == "Thought"
        );
    }
}

#[test]
fn nothing_hostile_becomes_markup() {
    let mut stage = Stage::new();
    for event in story() {
        stage.logged(event);
        stage.look_later();
    }
    let html = stage.history();
    for forbidden in [
        "<script", "<b>Sales", "<odd>", "<step>", "<i>no", "<think>", "<down>", "<db>",
    ] {
        assert!(!html.contains(forbidden), "{forbidden}");
    }
    assert!(
        !html.contains('\u{202e}'),
        "bidirectional overrides are spelled out"
    );
    assert!(html.contains("\\u202e"));
}

#[test]
fn a_closed_block_is_sent_once() {
    let mut stage = Stage::new();
    for event in [started(), round_started(1)] {
        stage.logged(event);
    }
    stage.look_later();
    stage.text(1, 0, "First.\n\nSec");
    let sent = targets(&stage.look_later());
    assert_eq!(
        sent,
        ["t-turn-r1-blocks", "t-turn-r1-blocks", "t-turn-foot"]
    );
    stage.text(1, 11, "ond.");
    assert_eq!(targets(&stage.look_later()), ["t-turn-r1-b1"]);
    stage.text(1, 15, "\n\n```\ncode");
    assert_eq!(targets(&stage.look_later()), ["t-turn-r1-blocks"]);
    stage.text(1, 25, " & more\n");
    assert_eq!(
        stage.look_later(),
        [Patch::append(
            "t-turn-r1-b2-code",
            " &amp; more\n".to_owned()
        )]
    );
}

#[test]
fn the_longer_the_open_block_the_rarer_it_is_replaced() {
    for (bytes, apart) in [(100, 100), (8 * 1024, 250), (64 * 1024, 1000)] {
        let mut stage = Stage::new();
        stage.logged(started());
        stage.logged(round_started(1));
        let text = "word ".repeat(bytes / 5);
        stage.text(1, 0, &text);
        stage.look_later();
        stage.text(1, text.len(), "more");
        let (due, patches) = stage.look();
        assert_eq!(patches, [], "too soon");
        let due = due.unwrap();
        assert_eq!(due, stage.now + Duration::from_millis(apart));
        stage.now = due;
        assert_eq!(targets(&stage.look().1), ["t-turn-r1-b0"]);
    }
}

#[test]
fn progress_leaves_the_card_alone() {
    let mut stage = Stage::new();
    for event in story().into_iter().take(20) {
        stage.logged(event);
    }
    stage.look_later();
    stage.live.uncommitted(&progress(7.0));
    assert_eq!(targets(&stage.look_later()), ["t-turn-c1-progress"]);
}

#[test]
fn every_end_of_a_call_and_of_a_turn_has_its_words() {
    use Outcome as O;
    let outcomes = [
        O::Ok,
        O::ToolError,
        O::InvalidArguments,
        O::UnknownFunction,
        O::DeniedByUser,
        O::DeniedByPolicy,
        O::Timeout,
        O::Cancelled,
        O::TokenExpired,
        O::NeedsConnect,
        O::Unavailable,
        O::ProtocolError,
        O::Limit,
        O::Unknown,
    ];
    for outcome in outcomes {
        let mut stage = Stage::new();
        for event in [
            started(),
            round_started(1),
            requested(1),
            finished(1, outcome),
        ] {
            stage.logged(event);
        }
        let html = stage.history();
        let again = html.contains(">Run again</button>");
        assert_eq!(again, outcome == Outcome::Unknown, "{outcome:?}");
        let calm = matches!(outcome, O::Ok | O::DeniedByUser | O::Cancelled);
        assert_eq!(html.contains("id-1"), !calm, "{outcome:?}");
    }
    for (end, words) in [
        (TurnEnd::Answered, "data-standing=\"answered\""),
        (TurnEnd::Cancelled, "Stopped."),
        (TurnEnd::Limit, "limit"),
        (TurnEnd::Failed, ">Try again</button>"),
        (TurnEnd::Interrupted, ">Go on</button>"),
    ] {
        let mut stage = Stage::new();
        for event in [started(), round_started(1), turn_finished(end)] {
            stage.logged(event);
        }
        assert!(stage.history().contains(words), "{end:?}");
    }
}

#[test]
fn a_call_to_be_run_again_is_asked_for_exactly() {
    let mut stage = Stage::new();
    for event in [
        started(),
        round_started(1),
        requested(1),
        finished(1, Outcome::Unknown),
    ] {
        stage.logged(event);
    }
    let page = Document::parse(&stage.history());
    insta::assert_snapshot!(page.attribute("data-message"), @r#"
    Run `db__write` again with exactly these arguments:

    ```json
    {
      "query": "</code><script>alert(1)</script>\u202e"
    }
    ```
    "#);
}

#[test]
fn stopping_and_a_log_that_cannot_be_written_are_said() {
    let mut stage = Stage::new();
    stage.logged(started());
    stage.look_later();
    stage.logged(Event::TurnCancelling { by: CancelBy::User });
    stage.look_later();
    assert!(stage.page.html().contains("Stopping…"));
    stage.live.stuck();
    stage.look_later();
    assert!(stage.page.html().contains("cannot save"));
}

fn targets(patches: &[Patch]) -> Vec<String> {
    patches
        .iter()
        .map(|patch| patch.target().to_owned())
        .collect()
}
