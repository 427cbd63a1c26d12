//! How many turns may run at once.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chat::ids::Subject;

use super::Turns;
use crate::error::Problem;

/// The users of the turns that are just being opened; as many as may run.
#[derive(Clone, Debug, Default)]
pub(super) struct Opening(Arc<Mutex<Vec<Subject>>>);

/// The place of a turn that is being opened: it counts as one that runs until this is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    opening: Opening,
    subject: Subject,
}

impl Turns {
    /// Keeps a place for one turn more, if it may run beside the others.
    ///
    /// # Errors
    /// As [`Turns::room_for`].
    pub(super) fn seat(&self, subject: &Subject) -> Result<Seat, Problem> {
        let mut opening = self.opening.users();
        self.room_beside(&opening, subject)?;
        opening.push(subject.clone());
        Ok(Seat {
            opening: self.opening.clone(),
            subject: subject.clone(),
        })
    }

    /// Refuses one turn more than may run at once.
    ///
    /// # Errors
    /// Why it may not: the limits, the disk, the end of the program.
    pub(crate) fn room_for(&self, subject: &Subject) -> Result<(), Problem> {
        self.room_beside(&self.opening.users(), subject)
    }

    fn room_beside(&self, opening: &[Subject], subject: &Subject) -> Result<(), Problem> {
        let settings = &self.context.settings;
        if self.context.draining.is_cancelled() {
            return Err(Problem::shutting_down());
        }
        if !self.context.store.has_room() {
            return Err(Problem::disk_full());
        }
        let own_opening = opening.iter().filter(|of| *of == subject).count();
        let (mut all, mut own) = (opening.len(), own_opening);
        for running in self.running.iter().filter(|running| running.is_working()) {
            all += 1;
            own += usize::from(running.subject == *subject);
        }
        if all >= settings.max_turns {
            return Err(Problem::too_many_turns(format!(
                "Toolgate is answering {} questions at once, which is all it may.",
                settings.max_turns
            )));
        }
        if own >= settings.max_turns_per_user {
            return Err(Problem::too_many_turns(format!(
                "{own} of your conversations are being answered, which is all you may have at once."
            )));
        }
        Ok(())
    }
}

impl Opening {
    fn users(&self) -> MutexGuard<'_, Vec<Subject>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut opening = self.opening.users();
        if let Some(at) = opening.iter().position(|of| *of == self.subject) {
            opening.swap_remove(at);
        }
    }
}
