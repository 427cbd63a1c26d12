//! What of the user's waits for them: told to every open page of theirs, whatever it shows, for the
//! tab's title and for notifications.

use askama::Template;
use chat::{
    event::ParkReason,
    ids::{CallId, ConversationId, Subject, TurnId},
    transcript::{CallState, Transcript},
};

use super::{fingerprint, render, visible};
use crate::{app::App, clock};

/// The id of the element that says it.
pub(super) const NEEDS: &str = "needs";

/// How long a call waits for a token before that is its user's business: an open page of the same
/// session brings one within seconds. Milliseconds.
const TOKEN_PATIENCE_MS: i64 = 5_000;

#[derive(Template)]
#[template(path = "needs.html")]
struct Needs {
    /// Names the user in the browser's storage, without saying who it is.
    user: String,
    needs: Vec<Need>,
}

/// A turn that waits for its user.
struct Need {
    conversation: ConversationId,
    title: String,
    turn: TurnId,
    call: CallId,
    what: What,
}

/// What a turn waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// Whether a call may run.
    Approval,
    /// An account to be connected.
    Account,
    /// The user, whose session brings a token.
    Token,
}

impl What {
    /// Its name in the page.
    const fn name(self) -> &'static str {
        match self {
            Self::Approval => "approval",
            Self::Account => "account",
            Self::Token => "token",
        }
    }

    /// What the first call of a running turn that needs its user waits for.
    pub(super) fn of(transcript: &Transcript) -> Option<(CallId, Self)> {
        if transcript.end.is_some() {
            return None;
        }
        let patience = clock::now() - TOKEN_PATIENCE_MS;
        transcript.calls().find_map(|call| {
            let what = match call.state {
                CallState::Asking { .. } => Self::Approval,
                CallState::Parked {
                    reason: ParkReason::NeedsConnect,
                } => Self::Account,
                CallState::Parked {
                    reason: ParkReason::StaleToken,
                } if call.waits_since.is_some_and(|since| since < patience) => Self::Token,
                CallState::Requested
                | CallState::Running
                | CallState::Parked { .. }
                | CallState::Finished { .. } => return None,
            };
            Some((call.call, what))
        })
    }
}

/// What of the user's waits for them, oldest first; `title` knows the conversations.
pub(super) fn html(
    app: &App,
    subject: &Subject,
    title: impl Fn(&ConversationId) -> Option<String>,
) -> String {
    let running = app.turns.of(subject).into_iter();
    let mut needs: Vec<_> = running
        .filter_map(|running| {
            let conversation = running.conversation.clone()?;
            let (call, what) = running.live.look(|view| What::of(&view.transcript))?;
            Some(Need {
                title: title(&conversation).map_or_else(String::new, |title| visible(&title)),
                conversation,
                turn: running.turn.clone(),
                call,
                what,
            })
        })
        .collect();
    needs.sort_by(|a, b| a.turn.cmp(&b.turn));
    render(&Needs {
        user: fingerprint(subject.as_str()),
        needs,
    })
}

#[cfg(test)]
mod tests {
    use chat::{
        event::{CallRequested, Event, Logged},
        ids::{QuestionId, RoundId},
        outcome::TurnEnd,
    };

    use super::*;

    /// What a turn needs with one call, and then this, so long ago.
    fn needs(then: Vec<Event>, ago_ms: i64) -> Option<What> {
        let call = CallRequested {
            call: CallId(1),
            round: RoundId(1),
            model_id: "a".to_owned(),
            function: "s__t".to_owned(),
            target: None,
            arguments: "{}".to_owned(),
        };
        let events = [Event::CallRequested(call)].into_iter().chain(then);
        let log: Vec<_> = (1..)
            .zip(events)
            .map(|(seq, event)| Logged {
                seq,
                at: clock::now() - ago_ms,
                event,
            })
            .collect();
        What::of(&Transcript::fold(&log)).map(|(_, what)| what)
    }

    fn parked(reason: ParkReason) -> Event {
        let call = CallId(1);
        Event::CallParked { call, reason }
    }

    fn asked() -> Event {
        Event::QuestionAsked {
            question: QuestionId(1),
            call: CallId(1),
        }
    }

    #[test]
    fn a_token_is_its_users_business_only_when_no_page_brings_one() {
        assert_eq!(needs(vec![parked(ParkReason::StaleToken)], 0), None);
        let late = needs(vec![parked(ParkReason::StaleToken)], 60_000);
        assert_eq!(late, Some(What::Token));
    }

    #[test]
    fn a_question_and_an_account_are_at_once_until_the_turn_ends() {
        assert_eq!(needs(Vec::new(), 0), None);
        assert_eq!(needs(vec![asked()], 0), Some(What::Approval));
        let account = needs(vec![parked(ParkReason::NeedsConnect)], 0);
        assert_eq!(account, Some(What::Account));
        let ended = Event::TurnFinished {
            end: TurnEnd::Cancelled,
            failure: None,
        };
        assert_eq!(needs(vec![asked(), ended], 0), None);
    }
}
