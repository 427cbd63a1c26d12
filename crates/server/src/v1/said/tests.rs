use chat::{
    event::{Delta, Event, Logged},
    failure::{Failure, Layer, Retry, RoundFailure},
    ids::RoundId,
    message::{AssistantMessage, RoundEnd, ToolChoice},
};

use super::*;

/// A turn that is told step by step.
#[derive(Default)]
struct Told {
    transcript: Transcript,
    said: Said,
}

impl Told {
    fn log(&mut self, event: Event) {
        let seq = self.transcript.seq + 1;
        let logged = Logged { seq, at: 0, event };
        self.transcript.apply(&logged);
    }

    fn begin(&mut self, round: u32, attempt: u32) {
        self.log(Event::RoundStarted {
            round: RoundId(round),
            attempt,
            tool_choice: ToolChoice::Auto,
            catalogs: Vec::new(),
        });
    }

    fn says(&mut self, round: u32, offset: usize, text: &str) {
        self.log(Event::TextDelta(Delta {
            round: RoundId(round),
            offset,
            text: text.to_owned(),
        }));
    }

    fn ends(&mut self, round: u32, text: &str) {
        self.log(Event::RoundFinished {
            round: RoundId(round),
            end: RoundEnd::Stop,
            usage: None,
            message: AssistantMessage {
                text: text.to_owned(),
                ..AssistantMessage::default()
            },
        });
    }

    fn fails(&mut self, round: u32) {
        let round = RoundId(round);
        self.log(Event::RoundDiscarded { round });
        self.log(Event::RoundRetrying {
            round,
            failure: RoundFailure {
                failure: Failure::new(Layer::Model, "cut", ""),
                retry: Retry::After(None),
            },
            after_ms: 1,
        });
    }

    fn take(&mut self) -> Result<String, TakenBack> {
        self.said.take(&self.transcript)
    }
}

#[test]
fn the_texts_of_rounds_are_joined_by_a_blank_line() {
    let mut told = Told::default();
    assert_eq!(told.take().unwrap(), "");
    told.begin(1, 1);
    told.says(1, 0, "I look");
    assert_eq!(told.take().unwrap(), "I look");
    assert_eq!(told.take().unwrap(), "");
    told.says(1, 6, " it up.");
    told.ends(1, "I look it up.");
    assert_eq!(told.take().unwrap(), " it up.");
    // A round that says nothing leaves no blank line.
    told.begin(2, 1);
    told.ends(2, "");
    told.begin(3, 1);
    assert_eq!(told.take().unwrap(), "");
    told.says(3, 0, "It is");
    assert_eq!(told.take().unwrap(), "\n\nIt is");
    told.ends(3, "It is so.");
    assert_eq!(told.take().unwrap(), " so.");
    assert_eq!(all(&told.transcript), "I look it up.\n\nIt is so.");
}

#[test]
fn whoever_reads_slowly_gets_it_in_one_piece() {
    let mut told = Told::default();
    told.begin(1, 1);
    told.ends(1, "One.");
    told.begin(2, 1);
    told.says(2, 0, "Two");
    assert_eq!(told.take().unwrap(), "One.\n\nTwo");
}

#[test]
fn text_that_was_taken_cannot_be_taken_back() {
    let mut told = Told::default();
    told.begin(1, 1);
    told.says(1, 0, "Hel");
    told.take().unwrap();
    told.fails(1);
    assert_eq!(told.take(), Err(TakenBack));

    // Nor is it overlooked when the new text is longer already.
    let mut told = Told::default();
    told.begin(1, 1);
    told.says(1, 0, "Hel");
    told.take().unwrap();
    told.fails(1);
    told.begin(1, 2);
    told.says(1, 0, "Hello again");
    assert_eq!(told.take(), Err(TakenBack));
}

#[test]
fn text_that_was_not_taken_can_be() {
    let mut told = Told::default();
    told.begin(1, 1);
    told.ends(1, "First.");
    told.begin(2, 1);
    assert_eq!(told.take().unwrap(), "First.");
    told.says(2, 0, "Hel");
    told.fails(2);
    told.begin(2, 2);
    told.says(2, 0, "Hello");
    assert_eq!(told.take().unwrap(), "\n\nHello");
}
