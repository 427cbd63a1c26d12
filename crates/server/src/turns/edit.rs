//! Conversations renamed, deleted, restored, their tools switched off and on: what follows for the
//! turn that runs in one, and for the pages that show it.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use chat::ids::{ConversationId, Subject};
use store::{ConversationChange, ConversationRow};

use super::{Running, Turns};
use crate::{clock, error::Problem};

/// How long a deleted conversation can be brought back: long after anybody would have noticed.
pub(crate) const RESTORABLE: Duration = Duration::from_hours(1);

impl Turns {
    /// Changes a conversation. What is switched off counts from the next round of the turn that
    /// runs in it.
    pub async fn change(
        self: &Arc<Self>,
        subject: &Subject,
        id: &ConversationId,
        change: ConversationChange,
    ) -> Result<ConversationRow, Problem> {
        let (turns, subject, id) = (Arc::clone(self), subject.clone(), id.clone());
        let changing = async move {
            let _held = turns.order.hold(&subject).await;
            let off = change.off.clone();
            let store = &turns.context.store;
            let row = store.change_conversation(&subject, &id, change).await?;
            let row = row.ok_or_else(|| Problem::not_found("conversation"))?;
            if let Some(off) = off {
                for running in turns.all_in(&subject, &id) {
                    running.off.send_replace(off.clone());
                }
            }
            turns.changed(&subject);
            Ok(row)
        };
        self.whole(changing).await
    }

    /// Deletes a conversation; the turn that runs in it is cancelled, which is not waited for.
    pub async fn delete(
        self: &Arc<Self>,
        subject: &Subject,
        id: &ConversationId,
    ) -> Result<(), Problem> {
        let (turns, subject, id) = (Arc::clone(self), subject.clone(), id.clone());
        let deleting = async move {
            let _held = turns.order.hold(&subject).await;
            let store = &turns.context.store;
            if !store
                .delete_conversation(&subject, &id, clock::now())
                .await?
            {
                return Err(Problem::not_found("conversation"));
            }
            for running in turns.all_in(&subject, &id) {
                running.deleted.store(true, Ordering::Relaxed);
                turns.context.tasks.spawn(async move {
                    // It may have ended by itself, or is cancelled when it can be written again.
                    let _ended = running.cancel().await;
                });
            }
            turns.changed(&subject);
            Ok(())
        };
        self.whole(deleting).await
    }

    /// Brings back a conversation that was deleted less than an hour ago.
    pub async fn restore(
        self: &Arc<Self>,
        subject: &Subject,
        id: &ConversationId,
    ) -> Result<ConversationRow, Problem> {
        let (turns, subject, id) = (Arc::clone(self), subject.clone(), id.clone());
        let restoring = async move {
            let _held = turns.order.hold(&subject).await;
            let since = clock::before(RESTORABLE);
            let store = &turns.context.store;
            let row = store.restore_conversation(&subject, &id, since).await?;
            let row = row.ok_or_else(|| Problem::not_found("conversation"))?;
            for running in turns.all_in(&subject, &id) {
                running.deleted.store(false, Ordering::Relaxed);
            }
            turns.changed(&subject);
            Ok(row)
        };
        self.whole(restoring).await
    }

    /// Does all of it or nothing, also when the browser that asked for it goes away in the middle.
    async fn whole<T: Send + 'static>(
        &self,
        doing: impl Future<Output = Result<T, Problem>> + Send + 'static,
    ) -> Result<T, Problem> {
        let done = self.context.tasks.spawn(doing).await;
        done.unwrap_or_else(|error| Err(Problem::internal(&error)))
    }

    /// The user's turns that run in the conversation, deleted or not.
    fn all_in(&self, subject: &Subject, id: &ConversationId) -> Vec<Arc<Running>> {
        let running = self.running.iter();
        running
            .filter(|it| it.conversation.as_ref() == Some(id) && it.subject == *subject)
            .map(|it| Arc::clone(&it))
            .collect()
    }
}
