//! A reader who applies every patch must have what a reader who comes late is sent whole.

mod document;
mod story;

use chat::{
    event::{CancelBy, Event, Logged},
    ids::TurnId,
    message::{RoundEnd, Usage},
    outcome::{Outcome, TurnEnd},
};

use self::{
    document::Document,
    story::{
        delta, finished, progress, requested, round_finished, round_started, started, story,
        turn_finished,
    },
};
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
            painted: Painted::new(placed()),
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
        assert_eq!(
            self.page.html_without_code_ids(),
            late.html_without_code_ids()
        );
    }

    /// The page as somebody finds it who comes when all is over.
    fn history(&self) -> String {
        let transcript = self.live.look(|view| view.transcript.clone());
        let row = TurnRow {
            turn: "turn".into(),
            parent: None,
            siblings: siblings(),
            transcript,
        };
        Painted::whole(row, &[]).html()
    }
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
fn a_reader_who_comes_back_to_a_turn_read_from_its_log_misses_nothing() {
    let story = story();
    for left in 1..story.len() {
        let mut stage = Stage::new();
        for event in &story[..left] {
            stage.logged(event.clone());
            stage.look_later();
        }
        let log: Vec<_> = (1..)
            .zip(&story)
            .map(|(seq, event)| Logged {
                seq,
                at: 1_000 * i64::try_from(seq).unwrap(),
                event: event.clone(),
            })
            .collect();
        stage.live = Live::new(&log);
        stage.painted = Painted::new(placed());
        stage.has = Has::Committed(u64::try_from(left).unwrap());
        stage.look();
        stage.assert_same();
        assert!(stage.page.html().contains("<p>Done.</p>"));
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
        O::SwitchedOff,
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
        let calm = matches!(
            outcome,
            O::Ok | O::DeniedByUser | O::SwitchedOff | O::Cancelled
        );
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
        let html = stage.history();
        assert!(html.contains(words), "{end:?}");
        let again = matches!(end, TurnEnd::Limit | TurnEnd::Failed | TurnEnd::Interrupted);
        assert_eq!(html.contains("data-do=\"try-again\""), again, "{end:?}");
        assert_eq!(html.contains("data-do=\"regenerate\""), !again, "{end:?}");
        assert!(
            !html.contains("copy-answer"),
            "there is nothing to be copied"
        );
        assert!(html.contains("href=\"/traffic/turn\""), "{end:?}");
    }
}

#[test]
fn what_cut_an_answer_is_said_once() {
    for (end, words) in [(RoundEnd::Length, false), (RoundEnd::Calls, true)] {
        let mut stage = Stage::new();
        let text = "The endpoint's limit cut it.".to_owned();
        for event in [
            started(),
            round_started(1),
            round_finished(1, "Text.", end),
            Event::Notice { call: None, text },
            turn_finished(TurnEnd::Limit),
        ] {
            stage.logged(event);
        }
        let html = stage.history();
        assert_eq!(html.matches("cut").count(), 1, "{html}");
        assert_eq!(html.contains("limit of model rounds"), words, "{html}");
    }
}

#[test]
fn what_would_turn_text_around_is_spelled_out_in_answers_too() {
    let text = "A \u{202e}gnp.exe [link\u{2066}](https://a.test/)\n\n```sh\nrm-\u{202e}x\n```\n";
    let mut stage = Stage::new();
    stage.logged(started());
    stage.logged(round_started(1));
    let mut offset = 0;
    for piece in text.split_inclusive('\u{202e}') {
        stage.text(1, offset, piece);
        offset += piece.len();
        stage.look_later();
    }
    let open = stage.page.html_without_code_ids();
    stage.logged(round_finished(1, text, RoundEnd::Stop));
    stage.look_later();
    for html in [open, stage.history()] {
        assert!(!html.contains(['\u{202e}', '\u{2066}']), "{html}");
        assert_eq!(html.matches("\\u202e").count(), 2, "{html}");
        assert!(html.contains("link\\u2066"), "{html}");
    }
}

#[test]
fn an_answer_tells_what_was_counted_and_how_long_it_took() {
    let mut stage = Stage::new();
    let mut rounds = [1, 2].map(|round| round_finished(round, "Text.", RoundEnd::Stop));
    let mut uncounted = round_finished(3, "", RoundEnd::Stop);
    for (event, tokens) in rounds.iter_mut().zip([900, 300]) {
        if let Event::RoundFinished { usage, .. } = event {
            *usage = Some(Usage {
                prompt_tokens: tokens,
                completion_tokens: 7,
            });
        }
    }
    if let Event::RoundFinished { usage, .. } = &mut uncounted {
        *usage = None;
    }
    stage.logged(started());
    for (round, event) in (1..).zip(rounds.into_iter().chain([uncounted])) {
        stage.logged(round_started(round));
        stage.logged(event);
    }
    stage.logged(turn_finished(TurnEnd::Answered));
    let html = stage.history();
    let facts = "<bdi>scripted</bdi> · 1,200 tokens in, 14 out · 7 s<";
    assert!(html.contains(facts), "{html}");
    assert!(html.contains("copy-answer"), "{html}");

    let mut stage = Stage::new();
    stage.logged(started());
    stage.logged(turn_finished(TurnEnd::Answered));
    assert!(stage.history().contains("<bdi>scripted</bdi> · 1 s<"));
}

#[test]
fn the_versions_of_a_question_lead_to_each_other() {
    let mut stage = Stage::new();
    stage.logged(started());
    let html = stage.history();
    for words in [
        "href=\"/c/c?turn=before#t-before\" aria-label=\"Previous version\"",
        "2 of 3",
        "href=\"/c/c?turn=after#t-after\" aria-label=\"Next version\"",
    ] {
        assert!(html.contains(words), "{html}");
    }
    stage.painted = Painted::new(Placed {
        turn: "turn".into(),
        siblings: vec!["turn".into()],
    });
    stage.look();
    assert!(!stage.painted.html().contains("Versions of this question"));
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

fn siblings() -> Vec<TurnId> {
    vec!["before".into(), "turn".into(), "after".into()]
}

fn placed() -> Placed {
    Placed {
        turn: "turn".into(),
        siblings: siblings(),
    }
}

fn targets(patches: &[Patch]) -> Vec<String> {
    patches
        .iter()
        .map(|patch| patch.target().to_owned())
        .collect()
}
