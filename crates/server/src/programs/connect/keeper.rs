//! Keeps the session's External Token fresh while requests are open.
//!
//! Each request brings Toolgate a token that lives five minutes; a turn can take longer. Any other
//! request of the same session brings it a newer one.

use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    error::Problem,
    programs::{
        logins::Logins,
        site::{Site, Standing, Who},
        terminal::note,
    },
};

/// How long a token lives unless Toolgate says otherwise.
const TOKEN_LIFE: Duration = Duration::from_mins(5);

/// The shortest pause between two new tokens: Toolgate counts their life in whole seconds.
const SHORTEST_PAUSE: Duration = Duration::from_millis(500);

/// Requests open at once: each may hold a body and a stream's buffer.
const OPEN: usize = 64;

/// Asks for new tokens, but only while a request is open. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Keeper {
    site: Site,
    logins: Logins,
    pause: Duration,
    open: watch::Sender<usize>,
}

/// An open request.
#[derive(Debug)]
pub(super) struct Open(watch::Sender<usize>);

impl Keeper {
    /// `who` came with a new token.
    pub(super) fn new(site: Site, logins: Logins, who: &Who) -> Self {
        Self {
            site,
            logins,
            pause: pause(who),
            open: watch::Sender::new(0),
        }
    }

    /// Counts a request until the result is dropped, if there is room for one more.
    pub(super) fn open(&self) -> Result<Open, Problem> {
        let opened = self.open.send_if_modified(|count| {
            let room = *count < OPEN;
            *count += usize::from(room);
            room
        });
        let open = opened.then(|| Open(self.open.clone()));
        open.ok_or_else(|| Problem::too_many_forwarded(OPEN))
    }

    /// Runs until `stop`.
    pub(super) async fn keep(mut self, stop: CancellationToken) {
        stop.run_until_cancelled(async {
            let mut open = self.open.subscribe();
            while open.wait_for(|count| *count > 0).await.is_ok() {
                tokio::time::sleep(self.pause).await;
                if *open.borrow() > 0 {
                    self.refresh().await;
                }
            }
        })
        .await;
    }

    /// What goes wrong here is met again, and answered, by the requests themselves.
    async fn refresh(&mut self) {
        let origin = self.site.origin();
        let Ok(Some(login)) = self.logins.get(origin) else {
            return;
        };
        match self.site.standing(&login.token).await {
            Standing::SignedIn(who) => self.pause = pause(&who),
            Standing::Ended => note(&format!(
                "The session has ended while a request was open; run: toolgate login {origin}"
            )),
            Standing::Unknown(why) => note(&format!("The session was not kept fresh: {why}")),
        }
    }
}

#[cfg(test)]
impl Open {
    /// One that nobody counts.
    pub(super) fn alone() -> Self {
        Self(watch::Sender::new(1))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// As often as the page brings a new token: 110 s of 300.
fn pause(who: &Who) -> Duration {
    let life = who.token_life().unwrap_or(TOKEN_LIFE);
    (life * 110 / 300).max(SHORTEST_PAUSE)
}

#[cfg(test)]
mod tests {
    use tokio_util::task::TaskTracker;
    use wire::{
        http::{Http, HttpOptions},
        tap::TraceTap,
    };

    use super::*;

    #[test]
    fn a_bounded_number_of_requests_is_open_and_places_are_given_back() {
        let http = Http::new(HttpOptions {
            pomerium_addr: None,
            ca_pem: None,
            tap: std::sync::Arc::new(TraceTap),
            tasks: TaskTracker::new(),
            shutdown: CancellationToken::new(),
        });
        let origin = "https://chat.example.com".parse().unwrap();
        let who = serde_json::from_str(r#"{"name":"Ana","token_seconds":300}"#).unwrap();
        let logins = Logins::of("/nowhere".into());
        let keeper = Keeper::new(Site::new(http.unwrap(), origin), logins, &who);
        assert_eq!(keeper.pause, Duration::from_secs(110));
        let open: Vec<_> = (0..OPEN).map(|_| keeper.open().unwrap()).collect();
        assert_eq!(keeper.open().unwrap_err().status, 429);
        drop(open);
        assert!(keeper.open().is_ok());
        assert_eq!(*keeper.open.borrow(), 0);
    }
}
