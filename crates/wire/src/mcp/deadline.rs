//! How long a call may take, in silence and in all.

use std::time::{Duration, Instant};

/// How long a call may take.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    pub(super) idle: Duration,
    pub(super) total: Duration,
}

/// When a call has taken too long. The clock of its silence starts when it is sent: before, it
/// waits in our own queue.
pub(super) struct Deadline {
    limits: Limits,
    end: Instant,
    silent_at: Option<Instant>,
    heard_first: Option<Instant>,
}

impl Deadline {
    pub(super) fn start(limits: Limits) -> Self {
        Self {
            limits,
            end: Instant::now() + limits.total,
            silent_at: None,
            heard_first: None,
        }
    }

    pub(super) fn heard(&mut self, at: Instant) {
        let sent = *self.heard_first.get_or_insert(at);
        self.end = sent + self.limits.total;
        self.silent_at = Some(at + self.limits.idle);
    }

    pub(super) async fn passed(&self) {
        let next = self
            .silent_at
            .map_or(self.end, |silent| silent.min(self.end));
        tokio::time::sleep_until(next.into()).await;
    }

    pub(super) fn message(&self) -> String {
        if self.silent_at.is_some_and(|silent| silent < self.end) {
            format!(
                "the server was silent for {} s",
                self.limits.idle.as_secs_f64()
            )
        } else {
            format!(
                "the call took longer than {} s",
                self.limits.total.as_secs_f64()
            )
        }
    }
}
