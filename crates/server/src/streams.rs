//! The open event streams, counted by user, and watched for being cut.

mod cuts;

use std::sync::Arc;

use chat::ids::Subject;
use dashmap::DashMap;

use crate::error::Problem;
pub(crate) use cuts::Cuts;

/// Event streams of one user at once: each holds a connection and a task.
const PER_USER: usize = 20;

/// Counts the open streams of each user.
#[derive(Clone, Debug, Default)]
pub struct Streams {
    pub(crate) cuts: Cuts,
    open: Arc<DashMap<Subject, usize>>,
}

/// A place for one stream, given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    open: Arc<DashMap<Subject, usize>>,
    subject: Subject,
}

impl Streams {
    /// A place for one more stream of the user's, if they may have one.
    pub(crate) fn place(&self, subject: &Subject) -> Result<Place, Problem> {
        let mut count = self.open.entry(subject.clone()).or_default();
        if *count >= PER_USER {
            return Err(Problem::too_many_streams(PER_USER));
        }
        *count += 1;
        drop(count);
        Ok(Place {
            open: Arc::clone(&self.open),
            subject: subject.clone(),
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(mut count) = self.open.get_mut(&self.subject) {
            *count -= 1;
        }
        self.open.remove_if(&self.subject, |_, count| *count == 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_has_a_bounded_number_of_streams_and_gets_them_back() {
        let streams = Streams::default();
        let (ana, ben) = (Subject::from("ana"), Subject::from("ben"));
        let places: Vec<_> = (0..PER_USER)
            .map(|_| streams.place(&ana).unwrap())
            .collect();
        assert!(streams.place(&ana).is_err());
        assert!(
            streams.place(&ben).is_ok(),
            "another user's streams do not count"
        );
        drop(places);
        assert!(streams.place(&ana).is_ok());
        assert_eq!(streams.open.len(), 0);
    }
}
